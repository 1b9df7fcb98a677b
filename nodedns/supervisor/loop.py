"""The parent's loop: what is heard goes to the tables of core/, and what they say is done here."""

import gc
import math
import os
import signal
import socket
import time
from collections.abc import Callable

from nodedns import journal, native
from nodedns.config import Config, Endpoint
from nodedns.config_values import ConfigMapError
from nodedns.core import slots
from nodedns.core.service import Action, Event, Service, State
from nodedns.journal import log
from nodedns.supervisor import memory, systemd
from nodedns.supervisor.errors import HostError
from nodedns.supervisor.fdstore import Store
from nodedns.supervisor.health import Health
from nodedns.supervisor.kit import NO_SOCKETS, Kit
from nodedns.supervisor.machine import Machine
from nodedns.supervisor.monitor import Monitor
from nodedns.supervisor.named_files import NamedFiles
from nodedns.supervisor.opening import open_all
from nodedns.supervisor.poller import Poller, Signals
from nodedns.supervisor.probe import Probe
from nodedns.supervisor.reload import Outcome, Steps, reload
from nodedns.supervisor.snapshot import Snapshot
from nodedns.supervisor.spawn import SIGNALS, run_worker
from nodedns.supervisor.status import Status
from nodedns.supervisor.tally import Tally
from nodedns.supervisor.vitals import Vitals
from nodedns.supervisor.workers import worker_count
from nodedns.worker.job import Job

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
        log("setup_error", str(error))
        return 1
    finally:
        heard.close()
        journal.take_time(math.inf)


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
        self.load, self.config, self.announce, self.heard = load, config, announce, heard
        count = worker_count(config)
        self.poller = Poller()
        self.tally = Tally()
        self.machine = Machine(config, self.poller, self._fire, self.tally)
        self.lock_fd = memory.lock(config.node.run_dir)
        store = Store()
        self.alive_fd = memory.await_orphans(config.node.run_dir, slots.LEAVE_LIMIT)
        opened = open_all(config, self.machine, self.tally, store, count=count, example=example)
        self.rows = opened.rows
        # Nobody ever writes to it: its write end is closed when the kernel has ended this process, however that came.
        self.life_fd, self._life = os.pipe2(os.O_CLOEXEC)
        self.poller.watch(heard.fd, self._hear)
        keep = (self.life_fd, self.alive_fd)
        kit = Kit(self.poller, opened.shared, opened.table, self.rows, self.tally, keep, worker_main)
        self.workers = [kit.worker(f"worker {n}", n, config, group) for n, group in enumerate(opened.listening)]
        self.canary = kit.worker("canary", count, config, NO_SOCKETS, counted=False)
        self.needed = [*self.workers, *([kit.example(config)] if example else [])]
        steered = bool(self.machine.plan.steered)
        self.monitor = Monitor(config, kit, self.machine.know, opened.scraped, count=count + 1, steered=steered)
        self.children = [*self.needed, self.canary, self.monitor.worker]
        self.service = Service(lameduck=config.metrics.lameduck)
        self.status = Status(config.node.run_dir, store.adopted, opened.scraped is not None)
        self.probe: Probe | None = None
        self.health = Health(self.poller, opened.shared.counters, self.workers, self.machine, self.monitor)
        self.vitals = Vitals(opened.shared.counters, self.workers, self.children)
        self.steps: Steps | None = None
        self.outcome = Outcome(None)
        self.files, self.snapshot = NamedFiles(config), Snapshot(self.poller, config.node.run_dir)
        self.hup_kept, self.code = False, 0

    def run(self) -> int:
        """Serves until it is stopped. Returns the exit code."""
        # What exists now lives for ever: children need not touch it when they collect, so its pages stay shared.
        native.trim()
        gc.freeze()
        self._fire(Event.OPENED)
        while self.service.state is not State.STOPPED:
            self._write_status()
            self.vitals.take_time(time.monotonic())
            self.poller.wait(self._patience())
            self._resume()
            self._take_time()
            self._look()
        return self.code

    def _patience(self) -> float | None:
        """Seconds until the next deadline, None when there is none."""
        deadlines = [child.slot.deadline for child in self.children]
        deadlines += [self.service.deadline, self.machine.deadline, self.health.deadline, self.files.due, journal.due()]
        deadlines.append(self.probe.deadline if self.probe else None)
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
        self.machine.take_time(now)
        self.health.take_time(now)
        journal.take_time(now)
        if self.files.changed(now):
            self._fire(Event.HUP)
        if self.service.deadline is not None and self.service.deadline <= now:
            self._fire(Event.TIMEOUT)

    def _look(self) -> None:
        """Events that are a state of several things at once."""
        if self.service.state is State.STARTING:
            if self.probe is None:
                if all(child.state is slots.State.SERVING for child in self.needed):
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
        self.vitals.note(self.service.state, reload_failed=not self.status.reload_ok, **self.machine.gauges())
        try:
            more = self.machine.report() | {"monitor": self.monitor.report()}
            self.status.write(self.service.state, self.config, self.workers, more)
        except OSError as error:
            log("file_error", f"{self.status.run_dir}/status.json: {error.strerror}", file="status.json")

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
        self.snapshot.end()
        self.health.close()
        for child in self.children:
            child.fire(slots.Event.STOP)

    def _ask(self, *endpoints: Endpoint) -> Probe:
        self.probe = Probe(self.poller, endpoints, time.monotonic())
        return self.probe

    def _ask_canary(self, endpoint: Endpoint) -> Probe:
        """Which has one socket."""
        self.probe = Probe(self.poller, [endpoint], time.monotonic(), (socket.SOCK_DGRAM,))
        return self.probe

    def _say_ready(self) -> None:
        self._write_status()  # who is told READY may read it at once
        listen = ", ".join(map(str, self.config.node.listen))
        systemd.notify(systemd.READY, f"STATUS={len(self.workers)} workers serve {listen}")
        log("serving", f"{len(self.workers)} workers serve {listen}")

    def _feel_pulse(self) -> None:
        self.health.start(self.config.node.listen)
        self.snapshot.take()

    def _keep_hup(self) -> None:
        self.hup_kept = True

    def _take_hup(self) -> None:
        if self.hup_kept:
            self.hup_kept = False
            self._fire(Event.HUP)

    def _reload(self) -> None:
        systemd.notify(systemd.reloading())
        log("reload", "reload")
        self.steps = reload(self._load_placed, self.config, self.workers, self.canary, self._ask_canary)
        self._resume()

    def _load_placed(self) -> Config:
        """The config anew, its rows ready for whoever counts there."""
        try:
            config = self.load()
        except ConfigMapError:
            self.tally.add("error_configmap")
            raise
        self.rows.place(config, self.config)
        return config

    def _adopt(self) -> None:
        self.config = self.outcome.config or self.config
        self.service.lameduck = self.config.metrics.lameduck
        self.machine.follow(self.config)
        self.files.follow(self.config)
        self.monitor.follow(self.config)
        self.status.note_reload(())
        self.tally.add("reloads_taken")
        log("reload_taken", "the new config is in force")

    def _report(self) -> None:
        self.status.note_reload(self.outcome.problems)
        self.tally.add("reloads_refused")
        log("reload_refused", *(f"reload refused, the old config stays: {why}" for why in self.outcome.problems))

    def _clean_up(self) -> None:
        """A restart keeps link and run files: the cache is warm, and what the workers had in hand is answered."""
        if not self.machine.tear_down():
            memory.remove(self.config.node.run_dir)

    def _fail(self) -> None:
        self.code = 1
        silent = [child.name for child in self.needed if child.state is not slots.State.SERVING]
        who = self.probe.silent if self.probe else ", ".join(silent)
        what = f"not ready in time: no answer from {who}" if who else "not ready: the rules cannot be had"
        log("setup_error", f"{what}; the lines above say why")


_ACTIONS: dict[Action, Callable[[Supervisor], object]] = {
    Action.START_WORKERS: Supervisor._start_workers,
    Action.PROBE: lambda service: service._ask(*service.config.node.listen),
    Action.STEER: lambda service: service.machine.steer(),
    Action.SAY_READY: Supervisor._say_ready,
    Action.FEEL_PULSE: Supervisor._feel_pulse,
    Action.ANNOUNCE: lambda service: service.announce(),
    Action.KEEP_HUP: Supervisor._keep_hup,
    Action.TAKE_HUP: Supervisor._take_hup,
    Action.RELOAD: Supervisor._reload,
    Action.ADOPT: Supervisor._adopt,
    Action.REPORT: Supervisor._report,
    Action.SAY_STOPPING: lambda _: systemd.notify(systemd.STOPPING),
    Action.RELEASE: lambda service: service.machine.release(),
    Action.FAIL: Supervisor._fail,
    Action.STOP_WORKERS: Supervisor._stop_workers,
    Action.CLEAN_UP: Supervisor._clean_up,
    Action.UNDO: lambda service: service.machine.undo(),
}
