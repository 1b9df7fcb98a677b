"""One worker slot and the processes in it: carries out what core/slots.py decides."""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

from nodedns.config import Config
from nodedns.core.slots import Action, Event, Slot, State
from nodedns.journal import log
from nodedns.supervisor.poller import Poller
from nodedns.supervisor.sockets import SlotSockets
from nodedns.supervisor.spawn import Child, Death, fork

# What a child writes to its ready pipe (worker/job.py).
_SAYS = {ord("w"): Event.WARM, ord("s"): Event.SERVES}
_ASKED = {State.HANDING, State.LEAVING, State.STOPPING}

MAX_AUTO_WORKERS = 4
"""Of `workers = "auto"`: at 5 us a hit, four answer more than all pods of a node ask, and each costs memory."""


def worker_count(config: Config) -> int:
    """The number of worker slots, at least one."""
    return config.node.workers or min(MAX_AUTO_WORKERS, len(os.sched_getaffinity(0)))


@dataclass(frozen=True, slots=True)
class Role:
    """What a slot is for: `body(worker, ready_fd, go_fd)` is what its children do, `raise_epoch` follows each holder's
    end; `tell` hears of "hangs" and "restarts"."""

    name: str
    body: Callable[["Worker", int, int], int]
    raise_epoch: Callable[[], None] = lambda: None
    tell: Callable[[str], None] = lambda _what: None


class Worker:
    """A slot's holder and successor. `config` is what the next fork runs on; children inherit `sockets` and `keep`."""

    def __init__(self, role: Role, config: Config, sockets: SlotSockets, poller: Poller, keep: tuple[int, ...]) -> None:
        self.role = role
        self.name = role.name
        self.config = config
        self.sockets = sockets
        self.slot = Slot()
        self.holder: Child | None = None
        self.successor: Child | None = None
        self.restarts = 0
        self.last_death = "none"
        self._fallen = False
        self.changed_at = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        self.changed = time.monotonic()
        self._poller = poller
        self._keep = keep
        self._actions: dict[Action, Callable[[], None]] = {
            Action.FORK: self._fork,
            Action.FORK_SUCCESSOR: self._fork_successor,
            Action.PROMOTE: self._promote,
            Action.RAISE_EPOCH: role.raise_epoch,
            Action.TERM: self._term,
            Action.KILL: self._kill,
            Action.KILL_SUCCESSOR: self._kill_successor,
        }

    @property
    def state(self) -> State:
        return self.slot.state

    @property
    def settled(self) -> bool:
        """No change is under way: it serves, or waits after a death."""
        return self.state in (State.SERVING, State.COOLING, State.PAUSED)

    @property
    def gone(self) -> bool:
        return self.holder is None and self.successor is None

    def fire(self, event: Event) -> None:
        """Hands the event to the slot's table and does what follows. LookupError as Slot.fire()."""
        before = self.state
        actions = self.slot.fire(event, time.monotonic())
        if self.state is not before:
            self.changed_at = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
            self.changed = time.monotonic()
        for action in actions:
            self._actions[action]()

    def _fork(self) -> None:
        self.holder = self._new(go=True)
        if self.holder is None:
            self.fire(Event.EXITED)

    def _fork_successor(self) -> None:
        self.successor = self._new(go=False)
        if self.successor is None:
            self.fire(Event.SUCCESSOR_DIED)

    def _new(self, go: bool) -> Child | None:
        try:
            keep = (*self.sockets.udp, *self.sockets.tcp, *self._keep)
            child = fork(self.name, lambda ready_fd, go_fd: self.role.body(self, ready_fd, go_fd), keep, go)
        except OSError as error:
            self.last_death = f"fork: {error.strerror}"
            log("fork_error", f"{self.name}: cannot fork: {error.strerror}; tried again soon", worker=self.name)
            return None
        self._poller.watch(child.pidfd, lambda: self._reap(child))
        self._poller.watch(child.ready_fd, lambda: self._hear(child))
        return child

    def _promote(self) -> None:
        self.holder, self.successor = self.successor, None
        if self.holder:
            self.holder.go()

    def _term(self) -> None:
        if self.holder:
            self.holder.send(signal.SIGTERM)

    def _kill(self) -> None:
        if self.holder:
            event, why = "worker_late", "did not leave in time" if self.state in _ASKED else "was not ready in time"
            if self.state is State.SERVING:
                event, why = "worker_hung", "hangs"
                self.role.tell(why)
            self._log(event, self.holder.pid, f"{why}: SIGKILL")
            self.holder.send(signal.SIGKILL)

    def _kill_successor(self) -> None:
        if self.successor:
            self.successor.send(signal.SIGKILL)

    def _hear(self, child: Child) -> None:
        try:
            said = os.read(child.ready_fd, 16)
        except BlockingIOError:
            return
        if not said:  # it is dying: the pidfd follows
            self._poller.unwatch(child.ready_fd)
        for octet in said:
            event = _SAYS.get(octet)
            if event is None or not self.slot.knows(event):
                self._log("worker_refused", child.pid, f"said {octet:#04x} in state {self.state.value}: SIGKILL")
                child.send(signal.SIGKILL)
                return
            self.fire(event)
            if event is Event.SERVES and self._fallen:
                self._fallen = False
                self._log("worker_serves", child.pid, "serves again")

    def _reap(self, child: Child) -> None:
        death = child.reap()
        if death is None:
            return
        for fd in (child.pidfd, child.ready_fd, child.go_fd):
            self._poller.close(fd)
        self._note(child, death)
        if child is self.successor:
            self.successor = None
            self.fire(Event.SUCCESSOR_DIED)
            return
        self.holder = None
        self.fire(Event.KILLED if death.killed else Event.EXITED)

    def _note(self, child: Child, death: Death) -> None:
        asked = child is self.holder and self.state in _ASKED
        if not asked or not death.clean:
            self.last_death = death.text
            event, text = "worker_left" if asked else "worker_died", f"ended in state {self.state.value}: {death.text}"
            self._log(event, child.pid, text, death=death.text)
        if child is self.holder and not asked:
            self.restarts += 1
            self.role.tell("restarts")
            self._fallen = True

    def _log(self, event: str, pid: int, text: str, **fields: object) -> None:
        log(event, f"{self.name} (pid {pid}) {text}", worker=self.name, pid=pid, **fields)
