"""The monitor from the parent: its slot, the pipe it speaks by, and what was last heard."""

import os
import time
from collections.abc import Callable
from contextlib import suppress

from nodedns import native
from nodedns.config import Config, ConfigError, Endpoint
from nodedns.config_servers import MAX_FALLBACK, endpoint
from nodedns.core import slots
from nodedns.core.spelling import printable
from nodedns.journal import log
from nodedns.supervisor.kit import NO_SOCKETS, Kit
from nodedns.supervisor.spawn import run_monitor
from nodedns.supervisor.workers import Role, Worker
from nodedns.worker.job import MonitorJob

FRESH = 3.0
"""Seconds for which a verdict holds: it comes every second, and one that failed takes half a second more."""


class Monitor:
    """`know` is told of kube-dns's endpoints. `listener` is the socket of its HTTP, None for none; `count` is of slots,
    the canary's too. `beat` is when it was last heard, in seconds of the monotonic clock, 0 for never."""

    def __init__(
        self,
        config: Config,
        kit: Kit,
        know: Callable[[tuple[Endpoint, ...]], None],
        listener: int | None,
        *,
        count: int,
        steered: bool,
    ) -> None:
        # One pipe for all its lives: what a killed one has said is still read.
        self._fd, self.say_fd = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        kit.poller.watch(self._fd, self._hear)

        def body(worker: Worker, ready_fd: int, go_fd: int) -> int:
            pipes = (self.say_fd, ready_fd, go_fd, kit.keep[0])
            names = kit.rows.now
            return run_monitor(
                MonitorJob(worker.config, kit.shared, count, names, listener, steered, *pipes, self._since)
            )

        def tell(what: str) -> None:
            if what == "restarts":
                kit.tally.add("monitor_restarts")

        keep = (self.say_fd, *([] if listener is None else [listener]), *kit.keep)
        self.worker = Worker(Role("monitor", body, self._note_end, tell), config, NO_SOCKETS, kit.poller, keep)
        self._know, self._kit = know, kit
        self._note_end()
        self._failed, self._failed_at = "", float("-inf")
        self.beat = 0.0
        self._behind = False

    @property
    def failed(self) -> str:
        """Whom it could not reach in these seconds; "" when it could, or when it has said nothing of late, which is its
        own fault."""
        return self._failed if time.monotonic() - self._failed_at < FRESH else ""

    def report(self) -> dict[str, object]:
        """For status.json."""
        worker = self.worker
        pid = worker.holder.pid if worker.holder else None
        return {"pid": pid, "state": worker.state.name, "restarts": worker.restarts, "failed": self.failed}

    def follow(self, config: Config) -> None:
        """A new config: another process on it."""
        native.sample_every(self._kit.shared.samples, config.every_sample)
        self.worker.config, self._behind = config, True
        self.settle()

    def settle(self) -> None:
        """Replaces a process that is on an old config, once it may be: two reloads may follow each other quickly."""
        if self._behind and self.worker.slot.knows(slots.Event.REPLACE):
            self._behind = False
            self.worker.fire(slots.Event.REPLACE)

    def _note_end(self) -> None:
        self._since = time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    def _hear(self) -> None:
        self.beat = time.monotonic()
        try:
            said = os.read(self._fd, 65536).decode(errors="replace")
        except BlockingIOError:
            return
        for line in said.splitlines():
            word, _, rest = line.partition(" ")
            if word in ("failed", "well"):
                self._judge(printable(rest[:500]))  # status.json leads to a terminal
            elif word == "fallback":
                self._know(tuple(_endpoints(rest)))

    def _judge(self, failed: str) -> None:
        if failed and not self._failed:
            log("probe_failed", f"the self-probe failed: {failed}")
        elif self._failed and not failed:
            log("probe_well", "the self-probe is well again")
        self._failed, self._failed_at = failed, time.monotonic()


def _endpoints(text: str) -> list[Endpoint]:
    """Addresses as a child without rights has written them: nothing but addresses gets into a rule."""
    found = []
    for word in text.split()[:MAX_FALLBACK]:
        with suppress(ConfigError):
            found.append(endpoint(word))
    return found
