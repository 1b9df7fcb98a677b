"""The parent's loop: what is heard goes to the tables of core/, and what they say is done here."""

import gc
import os
import signal
import time
from collections.abc import Callable
from functools import partial

from nodedns import native
from nodedns.config import Config, Endpoint
from nodedns.core import slots
from nodedns.core.beats import Watch
from nodedns.core.service import Action, Event, Service, State
from nodedns.supervisor import machine, memory, sockets, systemd
from nodedns.supervisor.errors import HostError
from nodedns.supervisor.fdstore import Store
from nodedns.supervisor.log import ERROR, INFO, NOTICE, WARNING, log
from nodedns.supervisor.poller import Poller, Signals
from nodedns.supervisor.probe import Probe
from nodedns.supervisor.pulse import Pulse
from nodedns.supervisor.reload import Outcome, Steps, reload
from nodedns.supervisor.spawn import SIGNALS, run_example, run_worker
from nodedns.supervisor.status import Status
from nodedns.supervisor.workers import Role, Worker
from nodedns.worker.job import Job

MAX_AUTO_WORKERS = 4
"""Of `workers = "auto"`: at 5 us a hit, four answer more than all pods of a node ask, and each costs memory."""

_NO_SOCKETS = sockets.SlotSockets((), ())
_MEANING = {signal.SIGHUP: Event.HUP, signal.SIGINT: Event.TERM, signal.SIGTERM: Event.TERM}


def serve(
    load: Callable[[], Config],
    config: Config,
    example: bool = False,
    announce: Callable[[], None] = lambda: None,
    worker_main: Callable[[Job], int] = run_worker,
) -> int:
    """Runs the service until SIGTERM or SIGINT. Returns the exit code: 0, or 1 when it could not start (logged).

    `load` reads the config anew for each SIGHUP, `announce` is called once everything answers, `worker_main` is what a
    worker does. With `example`, one more child serves the example cluster where the root zone forwards to.
    """
    heard = Signals(SIGNALS)
    try:
        return Supervisor(load, config, example=example, announce=announce, worker_main=worker_main, heard=heard).run()
    except HostError as error:
        log(ERROR, str(error))
        return 1
    finally:
        heard.close()


def worker_count(config: Config) -> int:
    """The number of worker slots, at least one."""
    return config.node.workers or min(MAX_AUTO_WORKERS, len(os.sched_getaffinity(0)))


class Supervisor:
    """The service of one run directory. Opens all it needs when built (HostError), serves in run()."""

    def __init__(
        self,
        load: Callable[[], Config],
        config: Config,
        *,
        example: bool,
        announce: Callable[[], None],
        worker_main: Callable[[Job], int],
        heard: Signals,
    ) -> None:
        self.load, self.config, self.announce, self.worker_main, self.heard = load, config, announce, worker_main, heard
        count = worker_count(config)
        self.lock_fd = memory.lock(config.node.run_dir)
        store = Store()
        self.alive_fd = memory.await_orphans(config.node.run_dir, slots.LEAVE_LIMIT)
        machine.set_up(config)
        if example:
            sockets.check_free(config.zones[0].forward[0], "the example cluster")
        listening = sockets.open_slots(config.node.listen, count, store)
        store.remove_rest()
        self.shared = memory.map_all(config.node.run_dir, config.cache.size, count + 1)
        self.table = native.Table(self.shared.table)
        # No worker of a former parent is left, and nobody was there to raise their epochs.
        for number in range(count + 1):
            self.table.raise_epoch(number)
        # Nobody ever writes to it: its write end is closed when the kernel has ended this process, however that came.
        self.life_fd, self._life = os.pipe2(os.O_CLOEXEC)
        self.poller = Poller()
        self.poller.watch(heard.fd, self._hear)
        self.workers = [self._worker(f"worker {number}", number, group) for number, group in enumerate(listening)]
        self.canary = self._worker("canary", count, _NO_SOCKETS)
        self.children = [*self.workers, self.canary, *([self._example()] if example else [])]
        self.service = Service()
        self.status = Status(config.node.run_dir)
        self.probe: Probe | None = None
        self.pulse: Pulse | None = None
        self.watch: Watch | None = None
        self.steps: Steps | None = None
        self.outcome = Outcome(None)
        self.hup_kept, self.code = False, 0

    def _worker(self, name: str, number: int, group: sockets.SlotSockets) -> Worker:
        def body(worker: Worker, ready_fd: int, go_fd: int) -> int:
            shared, pipes = self.shared, (ready_fd, go_fd, self.life_fd)
            job = Job(number, worker.config, shared.table, shared.counters, shared.slots, *worker.sockets, *pipes)
            return self.worker_main(job)

        role = Role(name, body, partial(self.table.raise_epoch, number))
        return Worker(role, self.config, group, self.poller, (self.life_fd, self.alive_fd))

    def _example(self) -> Worker:
        server = self.config.zones[0].forward[0]

        def body(_worker: Worker, ready_fd: int, _go_fd: int) -> int:
            return run_example(server.address, server.port, ready_fd, self.life_fd)

        return Worker(Role("example", body), self.config, _NO_SOCKETS, self.poller, (self.life_fd, self.alive_fd))

    def run(self) -> int:
        """Serves until it is stopped. Returns the exit code."""
        # What exists now lives for ever: children need not touch it when they collect, so its pages stay shared.
        gc.freeze()
        self._fire(Event.OPENED)
        while self.service.state is not State.STOPPED:
            self._write_status()
            self.poller.wait(self._patience())
            self._resume()
            self._take_time()
            self._look()
        return self.code

    def _patience(self) -> float | None:
        """Seconds until the next deadline, None when there is none."""
        deadlines = [child.slot.deadline for child in self.children]
        deadlines += [self.service.deadline, *(timed.deadline for timed in (self.probe, self.pulse) if timed)]
        deadlines.append(self.watch.due if self.watch else None)
        due = [deadline for deadline in deadlines if deadline is not None]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _hear(self) -> None:
        for number in self.heard.take():
            self._fire(_MEANING[signal.Signals(number)])

    def _resume(self) -> None:
        """Lets a reload go on as far as it can."""
        if self.steps is None:
            return
        try:
            next(self.steps)
        except StopIteration as end:
            self.steps, self.probe, self.outcome = None, None, end.value
            self._fire(Event.REFUSED if self.outcome.config is None else Event.RELOADED)

    def _take_time(self) -> None:
        now = time.monotonic()
        for child in self.children:
            if child.slot.deadline is not None and child.slot.deadline <= now:
                child.fire(slots.Event.TIMEOUT)
        if self.probe and self.probe.deadline <= now:
            self.probe.ask(now)
        if self.pulse and self.pulse.deadline <= now:
            self.pulse.beat(now)
        if self.watch and self.watch.due <= now:
            self._look_at_beats(self.watch, now)
        if self.service.deadline is not None and self.service.deadline <= now:
            self._fire(Event.TIMEOUT)

    def _look(self) -> None:
        """Events that are a state of several things at once."""
        if self.service.state is State.STARTING:
            if self.probe is None:
                if all(child.state is slots.State.SERVING for child in self.children if child is not self.canary):
                    self._fire(Event.SERVING)
            elif self.probe.answered:
                self.probe = None
                self._fire(Event.ANSWERED)
        if self.service.state in (State.STOPPING, State.FAILING) and all(child.gone for child in self.children):
            self._fire(Event.GONE)

    def _fire(self, event: Event) -> None:
        for action in self.service.fire(event, time.monotonic()):
            _ACTIONS[action](self)

    def _write_status(self) -> None:
        try:
            self.status.write(self.service.state, self.config, self.workers)
        except OSError as error:
            log(WARNING, f"{self.status.run_dir}/status.json: {error.strerror}")

    def _start_workers(self) -> None:
        for child in self.children:
            if child is not self.canary:
                child.fire(slots.Event.START)

    def _stop_workers(self) -> None:
        if self.steps:
            self.steps.close()
        self.steps = None
        if self.probe:
            self.probe.close()
        self.probe = None
        if self.pulse:
            self.pulse.close()
        self.pulse = self.watch = None
        for child in self.children:
            child.fire(slots.Event.STOP)

    def _ask(self, *endpoints: Endpoint) -> Probe:
        self.probe = Probe(self.poller, endpoints, time.monotonic())
        return self.probe

    def _say_ready(self) -> None:
        self._write_status()  # who is told READY may read it at once
        listen = ", ".join(map(str, self.config.node.listen))
        systemd.notify(systemd.READY, f"STATUS={len(self.workers)} workers serve {listen}")
        log(INFO, f"{len(self.workers)} workers serve {listen}")

    def _look_at_beats(self, watch: Watch, now: float) -> None:
        pairs = native.read_beats(self.shared.counters, len(self.workers))
        beats = {slot: min(pair) / 1000 for slot, pair in enumerate(pairs)}
        serving = {s: w.changed for s, w in enumerate(self.workers) if w.state is slots.State.SERVING}
        hung = watch.look(now, beats, serving)
        if hung is not None:
            self.workers[hung].fire(slots.Event.HUNG)

    def _feel_pulse(self) -> None:
        self.watch = Watch(time.monotonic())
        if systemd.watchdog() and self.pulse is None:
            good = partial(systemd.notify, systemd.WATCHDOG)
            self.pulse = Pulse(self.poller, self.config.node.listen, good, time.monotonic())

    def _keep_hup(self) -> None:
        self.hup_kept = True

    def _take_hup(self) -> None:
        if self.hup_kept:
            self.hup_kept = False
            self._fire(Event.HUP)

    def _reload(self) -> None:
        systemd.notify(systemd.reloading())
        log(NOTICE, "reload")
        self.steps = reload(self.load, self.config, self.workers, self.canary, self._ask)
        self._resume()

    def _adopt(self) -> None:
        self.config = self.outcome.config or self.config
        self.status.note_reload(())

    def _report(self) -> None:
        self.status.note_reload(self.outcome.problems)
        for problem in self.outcome.problems:
            log(ERROR, f"reload refused, the old config stays: {problem}")

    def _clean_up(self) -> None:
        """A restart keeps link and run files: the cache is warm, and what the workers had in hand is answered."""
        if not systemd.restarting():
            machine.tear_down(self.config)
            memory.remove(self.config.node.run_dir)

    def _fail(self) -> None:
        self.code = 1
        silent = [child.name for child in self.children if child.state is not slots.State.SERVING]
        who = self.probe.silent if self.probe else ", ".join(silent)
        log(ERROR, f"not ready in time: no answer from {who}; the lines above say why")


_ACTIONS: dict[Action, Callable[[Supervisor], object]] = {
    Action.START_WORKERS: Supervisor._start_workers,
    Action.PROBE: lambda service: service._ask(*service.config.node.listen),
    Action.SAY_READY: Supervisor._say_ready,
    Action.FEEL_PULSE: Supervisor._feel_pulse,
    Action.ANNOUNCE: lambda service: service.announce(),
    Action.KEEP_HUP: Supervisor._keep_hup,
    Action.TAKE_HUP: Supervisor._take_hup,
    Action.RELOAD: Supervisor._reload,
    Action.ADOPT: Supervisor._adopt,
    Action.REPORT: Supervisor._report,
    Action.SAY_STOPPING: lambda _: systemd.notify(systemd.STOPPING),
    Action.FAIL: Supervisor._fail,
    Action.STOP_WORKERS: Supervisor._stop_workers,
    Action.CLEAN_UP: Supervisor._clean_up,
}
