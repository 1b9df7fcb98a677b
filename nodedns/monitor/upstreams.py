"""Which servers do not answer: each worker finds out by itself and notes it in its gauges; here it is told once."""

from nodedns import native
from nodedns.core.rows import wanted
from nodedns.journal import log
from nodedns.worker.job import MonitorJob

EVERY = 1.0
"""Seconds between looks: as often as workers write their gauges."""
_UP, _DOWN = 1, 2  # native/counters.h, UPSTREAM_FIELDS


class Upstreams:
    """Of one monitor: another one tells anew of those that are down."""

    def __init__(self, job: MonitorJob) -> None:
        self._counters, self._slots = job.shared.counters, job.slots
        asked = wanted(job.config)[1]  # one that no zone has any more keeps its row, and what was last seen of it
        self._names = [(number, name[0]) for number, name in enumerate(job.rows.upstreams) if name and name in asked]
        self._down: set[str] = set()

    async def look(self) -> float:
        """Tells what has changed; the seconds until the next look."""
        for number, name in self._names:
            states = [gauges[0] for gauges in native.read_upstream(self._counters, self._slots, number)[1]]
            down = states.count(_DOWN)
            if down and name not in self._down:
                self._down.add(name)
                log("upstream_down", f"{name} does not answer: so say {down} workers", upstream=name, workers=down)
            elif not down and _UP in states and name in self._down:
                self._down.remove(name)
                log("upstream_up", f"{name} answers again", upstream=name)
        return EVERY
