"""status.json in the run directory: how the service stands, for `nodedns status` and whoever else asks."""

import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from nodedns import __version__
from nodedns.config import Config
from nodedns.core.service import State
from nodedns.supervisor.workers import Worker


def boottime_ms() -> int:
    """Milliseconds of CLOCK_BOOTTIME, as in all our files: it goes on while the machine sleeps, and nobody sets it."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


@dataclass(slots=True)
class Status:
    """Writes status.json whenever it would differ. `reloads` counts ended ones; `reload_problems` are the last
    one's. `adoptions`: sockets taken over from systemd's store at the start; `scraped`: metrics
    are served where the config says."""

    run_dir: str
    adoptions: int = 0
    scraped: bool = True
    since: int = field(default_factory=boottime_ms)
    reloads: int = 0
    reload_at: int = 0
    reload_ok: bool = True
    reload_problems: tuple[str, ...] = ()
    _state: State | None = None
    _written: str = ""

    def note_reload(self, problems: tuple[str, ...]) -> None:
        """A reload has ended, well when there are no `problems`."""
        self.reloads += 1
        self.reload_at = boottime_ms()
        self.reload_ok = not problems
        self.reload_problems = problems

    def write(self, state: State, config: Config, workers: Sequence[Worker], more: dict[str, Any]) -> None:
        """Replaces the file as a whole, `more` at its end, so that a reader never sees half of it. OSError when the
        directory is gone or full."""
        if state is not self._state:
            self._state, self.since = state, boottime_ms()
        text = json.dumps(self._content(state, config, workers) | more)
        if text == self._written:
            return
        path = f"{self.run_dir}/status.json"
        fd = os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(fd, "w", encoding="utf-8") as file:
            file.write(text + "\n")
        os.rename(f"{path}.new", path)
        self._written = text

    def _content(self, state: State, config: Config, workers: Sequence[Worker]) -> dict[str, Any]:
        return {
            "pid": os.getpid(),
            "version": __version__,
            "state": state.name,
            "since": self.since,
            "domain": config.domain,
            "listen": [str(endpoint) for endpoint in config.node.listen],
            "metrics": str(config.metrics.listen) if config.metrics.listen and self.scraped else None,
            "config_map_failed": config.config_map_failed,
            "forward": [{"name": zone.name, "forward": [str(at) for at in zone.forward]} for zone in config.zones],
            "workers": [_worker(number, worker) for number, worker in enumerate(workers)],
            "adoptions": self.adoptions,
            "reload": {
                "count": self.reloads,
                "at": self.reload_at,
                "ok": self.reload_ok,
                "problems": self.reload_problems,
            },
        }


def _worker(number: int, worker: Worker) -> dict[str, Any]:
    return {
        "slot": number,
        "pid": worker.holder.pid if worker.holder else None,
        "state": worker.state.name,
        "restarts": worker.restarts,
        "since": worker.changed_at // 1_000_000,
    }
