"""What was lately answered, out of shared memory (native/samples.h), for the query log and dnstap."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from nodedns import native
from nodedns.core.sample import PROBES, Sample
from nodedns.monitor.dnstap import Dnstap
from nodedns.monitor.querylog import QueryLog
from nodedns.worker.job import MonitorJob

EVERY = 0.05
"""Seconds between looks: at 10,000 answers a second and thread a ring is written over in that time."""


Work = Callable[[], Awaitable[float]]


class Sink(Protocol):
    """Who takes samples. Must not wait for anybody."""

    def take(self, samples: Sequence[Sample], missed: int) -> None:
        """New ones of one ring, and how many were written over before they were seen."""


class Samples:
    """Of all workers, from a moment on (ns of CLOCK_BOOTTIME): what was there before, somebody else has seen."""

    def __init__(self, job: MonitorJob, sinks: Sequence[Sink], since: int) -> None:
        self._sinks, self._since = sinks, since
        self._samples, self._wires = job.shared.samples, job.shared.wires
        self._heads: list[int | None] = [None] * (2 * (job.slots - 1))  # the last slot is the canary's

    async def look(self) -> float:
        """Hands on what is new; the seconds until the next look. Others have their turn between two rings."""
        for ring in range(len(self._heads)):
            self._read(ring)
            await asyncio.sleep(0)
        return EVERY

    def _read(self, ring: int) -> None:
        since = self._heads[ring]
        after, found = native.read_samples(self._samples, self._wires, ring, since or 0, native.SAMPLES)
        self._heads[ring] = after
        missed = max(0, after - since - len(found)) if since is not None else 0
        samples = [one for one in map(Sample._make, found) if one.name not in PROBES and one.when >= self._since]
        if samples or missed:
            for sink in self._sinks:
                sink.take(samples, missed)


def opened(job: MonitorJob, since: int) -> tuple[Samples | None, list[Work]]:
    """What the config wants to be done again and again; nothing costs nothing."""
    config, counters = job.config, job.shared.counters
    sinks: list[Sink] = []
    works: list[Work] = []
    if config.log.queries != "off":
        sinks.append(QueryLog(config.log, counters))
    if config.dnstap.socket is not None:
        tap = Dnstap(config, counters, job.rows)
        sinks.append(tap)
        works.append(tap.connect)
    if not sinks:
        return None, []
    samples = Samples(job, sinks, since)
    return samples, [*works, samples.look]
