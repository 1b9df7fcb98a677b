"""The life of the whole service. Everything that decides what follows stands here; supervisor/loop.py carries it out.

The rules:

1. READY is said once every worker serves and a real question was answered on each listen address, not before: what is
   ordered after us then finds DNS. It is not taken back when a worker dies: the others and the sockets go on.
2. A start has a limit. A worker that dies is forked again meanwhile (slots.py); a service that has not become ready by
   then ends with exit code 1, keeps its run files (the cache may be warm) and leaves the next try to whoever started
   it.
3. One reload at a time. A reload asked for during a start or a reload is kept (once: the second would read the same
   file) and begins afterwards. Its end, good or bad, is READY: a bad reload keeps the old config and its service.
4. Rules last, and first: packets are steered to us once everything answers, and elsewhere before the first worker
   leaves.
5. A stop is final and is never refused: it also ends a start or a reload. It is over when the kernel has returned
   every child. A service that was ready is a lame duck first, for as long as the config says: it answers everything and
   says over HTTP that it is about to leave. A second SIGTERM ends that.
6. An event that a state does not list raises LookupError and changes nothing.
"""

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple


class State(Enum):
    STARTING = "starting"  # workers are forked, nobody was told yet
    STEERING = "steering"  # everything answers; rules are being made
    READY = "ready"
    RELOADING = "reloading"  # old and new workers serve side by side
    LAMEDUCK = "lameduck"  # a stop has begun; everything still answers
    RELEASING = "releasing"  # rules are being taken away, or left to the fallback
    STOPPING = "stopping"  # children were asked to leave
    FAILING = "failing"  # the same, after a start that did not come to its end
    STOPPED = "stopped"


class Event(Enum):
    OPENED = "opened"  # sockets and shared memory are there
    SERVING = "serving"  # every worker said that it serves
    ANSWERED = "answered"  # every listen address answered the probe
    STEERED = "steered"  # the rules are in place
    FAILED = "failed"  # they cannot be had
    RELEASED = "released"  # no packet is steered to us any more, or a restart keeps all as it is
    HUP = "hup"
    RELOADED = "reloaded"
    REFUSED = "refused"  # the reload failed, the old config is in force again
    TERM = "term"
    GONE = "gone"  # no child is left
    TIMEOUT = "timeout"


class Action(Enum):
    START_WORKERS = "start workers"
    PROBE = "probe"
    STEER = "steer"
    SAY_READY = "say ready"
    FEEL_PULSE = "feel pulse"  # our code is put by, hangs are looked for, and systemd's watchdog hears of us
    ANNOUNCE = "announce"  # for the person who started it
    KEEP_HUP = "keep hup"
    TAKE_HUP = "take hup"  # begin what was kept
    RELOAD = "reload"
    ADOPT = "adopt"  # the new config is in force
    REPORT = "report"  # why it is not
    SAY_STOPPING = "say stopping"
    RELEASE = "release"
    FAIL = "fail"  # say what is missing; the exit code becomes 1
    STOP_WORKERS = "stop workers"
    CLEAN_UP = "clean up"
    UNDO = "undo"  # what this start has made, and nothing else


class Step(NamedTuple):
    """What an event leads to: the next state, and what is to be done, in this order."""

    state: State
    actions: tuple[Action, ...] = ()


_STOP = Step(State.RELEASING, (Action.SAY_STOPPING, Action.RELEASE))
_WARN = Step(State.LAMEDUCK, (Action.SAY_STOPPING,))
_RELEASE = Step(State.RELEASING, (Action.RELEASE,))
_GIVE_UP = Step(State.FAILING, (Action.FAIL, Action.SAY_STOPPING, Action.STOP_WORKERS))

TABLE: dict[State, dict[Event, Step]] = {
    State.STARTING: {
        Event.OPENED: Step(State.STARTING, (Action.START_WORKERS,)),
        Event.SERVING: Step(State.STARTING, (Action.PROBE,)),
        Event.ANSWERED: Step(State.STEERING, (Action.STEER,)),
        Event.HUP: Step(State.STARTING, (Action.KEEP_HUP,)),
        Event.TERM: _STOP,
        Event.TIMEOUT: _GIVE_UP,
    },
    State.STEERING: {
        Event.STEERED: Step(State.READY, (Action.SAY_READY, Action.FEEL_PULSE, Action.ANNOUNCE, Action.TAKE_HUP)),
        Event.FAILED: _GIVE_UP,
        Event.HUP: Step(State.STEERING, (Action.KEEP_HUP,)),
        Event.TERM: _STOP,
        Event.TIMEOUT: _GIVE_UP,
    },
    State.READY: {
        Event.HUP: Step(State.RELOADING, (Action.RELOAD,)),
        Event.TERM: _WARN,
    },
    State.RELOADING: {
        Event.HUP: Step(State.RELOADING, (Action.KEEP_HUP,)),
        Event.RELOADED: Step(State.READY, (Action.ADOPT, Action.SAY_READY, Action.TAKE_HUP)),
        Event.REFUSED: Step(State.READY, (Action.REPORT, Action.SAY_READY, Action.TAKE_HUP)),
        Event.TERM: _WARN,
    },
    State.LAMEDUCK: {
        Event.RELOADED: Step(State.LAMEDUCK),  # too late for it to matter
        Event.REFUSED: Step(State.LAMEDUCK),
        Event.HUP: Step(State.LAMEDUCK),
        Event.TERM: _RELEASE,
        Event.TIMEOUT: _RELEASE,
    },
    State.RELEASING: {
        Event.STEERED: Step(State.RELEASING),  # what was under way when the stop came has ended
        Event.FAILED: Step(State.RELEASING),
        Event.RELOADED: Step(State.RELEASING),
        Event.REFUSED: Step(State.RELEASING),
        Event.RELEASED: Step(State.STOPPING, (Action.STOP_WORKERS,)),
        Event.HUP: Step(State.RELEASING),
        Event.TERM: Step(State.RELEASING),
    },
    State.STOPPING: {
        Event.HUP: Step(State.STOPPING),
        Event.TERM: Step(State.STOPPING),
        Event.GONE: Step(State.STOPPED, (Action.CLEAN_UP,)),
    },
    State.FAILING: {
        Event.STEERED: Step(State.FAILING),
        Event.FAILED: Step(State.FAILING),
        Event.HUP: Step(State.FAILING),
        Event.TERM: Step(State.FAILING),
        Event.GONE: Step(State.STOPPED, (Action.UNDO,)),
    },
    State.STOPPED: {},
}

START_LIMIT = 60.0
"""Seconds from OPENED to STEERED: six ready limits of a worker, and twice the 15 s that the xtables lock is waited for;
two thirds of systemd's own limit (DefaultTimeoutStartSec, 90 s)."""


@dataclass(slots=True)
class Service:
    """Where the service stands. `deadline` is in seconds of the caller's clock, None where there is no limit; so many
    seconds it is a `lameduck`."""

    state: State = State.STARTING
    deadline: float | None = None
    lameduck: float = 0.0

    def fire(self, event: Event, now: float) -> tuple[Action, ...]:
        """Moves on and returns what to do, in order. LookupError, and nothing changed, when the state does not list
        the event."""
        step = TABLE[self.state].get(event)
        if step is None:
            raise LookupError(f"a service in state {self.state.name} knows no event {event.name}")
        if event is Event.OPENED:
            self.deadline = now + START_LIMIT
        elif step.state is not self.state:
            starts = step.state in (State.STARTING, State.STEERING)
            ends = now + self.lameduck if step.state is State.LAMEDUCK else None
            self.deadline = self.deadline if starts else ends
        self.state = step.state
        return step.actions
