"""The life of one worker slot. Everything that decides what follows in a slot stands here; supervisor/workers.py
carries it out.

A slot is a number with sockets, a shared page and a block of counters; processes come and go in it. At any time it has
at most two: the one that holds the slot (the only one to touch sockets and page) and, during a reload, a successor
that is being readied and touches nothing yet. The rules:

1. A slot is handed on only when its holder has been reaped and its epoch raised: RAISE_EPOCH comes before FORK and
   PROMOTE. Before that, what the dead holder had claimed in the table could not be told from what the next one claims.
2. A child says ready itself, by the octets "w" (WARM: imports done) and "s" (SERVES), within the limit of its state.
   One that is late gets SIGKILL; its death is then learnt like any other.
3. Death is an event of the kernel (pidfd). EXITED: it left or crashed, which may be its own fault, so the slot backs
   off. KILLED: SIGKILL that was not ours, from an operator's drill or the OOM killer. It says nothing about the
   worker: one that had served follows at once however often it happens, or a series of kills would cost queries.
4. A successor that dies, whatever the reason, leaves the holder as it was: reload.py sees the old process in the slot
   and gives up. Only a holder that had already been asked to leave cannot be kept: then the slot is forked anew
   (LEAVING).
5. An event that a state does not list raises LookupError and changes nothing: it is a defect of the caller.

A state's limit runs from the moment it is entered, and again after each TIMEOUT.
"""

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple


class State(Enum):
    EMPTY = "empty"  # no process, none wanted
    STARTING = "starting"  # the holder is forked and may take the slot over
    SERVING = "serving"  # the holder said so
    LATE = "late"  # it did not say so in time: SIGKILL was sent
    COOLING = "cooling"  # it died by itself: the next one waits for the back-off
    PAUSED = "paused"  # it was killed before it served: the next one waits a moment
    WARMING = "warming"  # the holder serves, a successor is being readied
    HANDING = "handing"  # the successor is warm, the holder was asked to leave
    LEAVING = "leaving"  # the holder was asked to leave and the successor is dead
    STOPPING = "stopping"  # everyone was asked to leave, nobody follows


class Event(Enum):
    START = "start"  # from the service
    REPLACE = "replace"
    STOP = "stop"
    WARM = "warm"  # from a child: the newest one, which is the successor if there is one
    SERVES = "serves"
    EXITED = "exited"  # from the kernel, about the holder
    KILLED = "killed"
    SUCCESSOR_DIED = "successor died"
    TIMEOUT = "timeout"  # the state's limit has passed
    HUNG = "hung"  # it serves and shows no sign of life (beats.py)


class Action(Enum):
    FORK = "fork"  # a holder that may go at once
    FORK_SUCCESSOR = "fork successor"  # one that waits for the go octet
    PROMOTE = "promote"  # the successor becomes the holder and gets its go octet
    RAISE_EPOCH = "raise epoch"
    TERM = "term"  # SIGTERM to the holder
    KILL = "kill"  # SIGKILL to the holder
    KILL_SUCCESSOR = "kill successor"


class Step(NamedTuple):
    """What an event leads to: the next state, and what is to be done, in this order."""

    state: State
    actions: tuple[Action, ...] = ()


_STOP = Step(State.STOPPING, (Action.TERM,))
_STOP_BOTH = Step(State.STOPPING, (Action.KILL_SUCCESSOR, Action.TERM))
_COOL = Step(State.COOLING, (Action.RAISE_EPOCH,))
_REFORK = Step(State.STARTING, (Action.RAISE_EPOCH, Action.FORK))
_HAND_OVER = Step(State.STARTING, (Action.RAISE_EPOCH, Action.PROMOTE))
_FORK = Step(State.STARTING, (Action.FORK,))
_REAP = Step(State.EMPTY, (Action.RAISE_EPOCH,))

TABLE: dict[State, dict[Event, Step]] = {
    State.EMPTY: {
        Event.START: _FORK,
        Event.STOP: Step(State.EMPTY),
        Event.SUCCESSOR_DIED: Step(State.EMPTY),
    },
    State.STARTING: {
        Event.WARM: Step(State.STARTING),
        Event.SERVES: Step(State.SERVING),
        Event.EXITED: _COOL,
        Event.KILLED: Step(State.PAUSED, (Action.RAISE_EPOCH,)),
        Event.TIMEOUT: Step(State.LATE, (Action.KILL,)),
        Event.STOP: _STOP,
    },
    State.LATE: {
        Event.WARM: Step(State.LATE),
        Event.SERVES: Step(State.LATE),
        Event.EXITED: _COOL,
        Event.KILLED: _COOL,
        Event.TIMEOUT: Step(State.LATE, (Action.KILL,)),
        Event.STOP: _STOP,
    },
    State.COOLING: {
        Event.TIMEOUT: _FORK,
        Event.REPLACE: _FORK,
        Event.STOP: Step(State.EMPTY),
    },
    State.PAUSED: {
        Event.TIMEOUT: _FORK,
        Event.REPLACE: _FORK,
        Event.STOP: Step(State.EMPTY),
    },
    State.SERVING: {
        Event.EXITED: _COOL,
        Event.KILLED: _REFORK,
        Event.HUNG: Step(State.SERVING, (Action.KILL,)),
        Event.REPLACE: Step(State.WARMING, (Action.FORK_SUCCESSOR,)),
        Event.STOP: _STOP,
    },
    State.WARMING: {
        Event.WARM: Step(State.HANDING, (Action.TERM,)),
        Event.EXITED: _HAND_OVER,
        Event.KILLED: _HAND_OVER,
        Event.SUCCESSOR_DIED: Step(State.SERVING),
        Event.TIMEOUT: Step(State.WARMING, (Action.KILL_SUCCESSOR,)),
        Event.STOP: _STOP_BOTH,
    },
    State.HANDING: {
        Event.EXITED: _HAND_OVER,
        Event.KILLED: _HAND_OVER,
        Event.SUCCESSOR_DIED: Step(State.LEAVING),
        Event.TIMEOUT: Step(State.HANDING, (Action.KILL,)),
        Event.STOP: _STOP_BOTH,
    },
    State.LEAVING: {
        Event.EXITED: _REFORK,
        Event.KILLED: _REFORK,
        Event.TIMEOUT: Step(State.LEAVING, (Action.KILL,)),
        Event.STOP: _STOP,
    },
    State.STOPPING: {
        Event.WARM: Step(State.STOPPING),
        Event.SERVES: Step(State.STOPPING),
        Event.EXITED: _REAP,
        Event.KILLED: _REAP,
        Event.SUCCESSOR_DIED: Step(State.STOPPING),
        Event.TIMEOUT: Step(State.STOPPING, (Action.KILL,)),
        Event.STOP: Step(State.STOPPING),
    },
}

READY_LIMIT = 5.0
"""Seconds from fork to SERVES: a start takes 0.2 s here, and 25 times that on a node that is booting everything at
once."""

LEAVE_LIMIT = 2.0
"""Seconds from SIGTERM to SIGKILL: a worker promises 1 s. What it had in hand its successor answers anyway."""

PAUSE = 0.02
"""Seconds after a kill that hit a starting worker: enough that a slot whose children are killed at birth costs 5 % of a
core (a fork takes 1 ms), and 400 queries wait in the socket at 20,000/s.
"""

LIMITS = {
    State.STARTING: READY_LIMIT,
    State.LATE: LEAVE_LIMIT,
    State.PAUSED: PAUSE,
    State.WARMING: READY_LIMIT,
    State.HANDING: LEAVE_LIMIT,
    State.LEAVING: LEAVE_LIMIT,
    State.STOPPING: LEAVE_LIMIT,
}

GOOD_LIFE = 10.0
"""Seconds of serving that clear the record: twice the longest back-off, so that a worker dying every 5 s is still a
loop."""


def back_off(failures: int) -> float:
    """Seconds to wait before the next fork, after `failures` failures without a good life between them.

    The first is taken for an accident and costs nothing. Then 0.1 s (a tenth of what a client waits before it asks
    again), doubling to 5 s (resolv.conf(5)'s timeout: each client's second try meets a fork), where the fork loop
    costs 1 % of a core.
    """
    return 0.0 if failures <= 1 else min(5.0, 0.1 * 2.0 ** min(failures - 2, 10))


@dataclass(slots=True)
class Slot:
    """Where one slot stands. `since` and `deadline` are seconds of the caller's clock; `deadline` is None where there
    is no limit."""

    state: State = State.EMPTY
    since: float = 0.0
    deadline: float | None = None
    failures: int = 0

    def knows(self, event: Event) -> bool:
        """Does the present state list the event?"""
        return event in TABLE[self.state]

    def fire(self, event: Event, now: float) -> tuple[Action, ...]:
        """Moves on and returns what to do, in order. LookupError, and nothing changed, when the state does not list
        the event."""
        if not self.knows(event):
            raise LookupError(f"a slot in state {self.state.name} knows no event {event.name}")
        step = TABLE[self.state][event]
        served = now - self.since if self.state is State.SERVING else 0.0
        if served >= GOOD_LIFE:
            self.failures = 0
        if step.state is State.COOLING:
            self.failures += 1
            self.deadline = now + back_off(self.failures)
        elif step.state is not self.state or event is Event.TIMEOUT:
            limit = LIMITS.get(step.state)
            self.deadline = None if limit is None else now + limit
        if step.state is not self.state:
            self.state, self.since = step.state, now
        return step.actions
