"""/metrics: what stands in shared memory, as one page. Reading it disturbs nobody who writes there."""

import hashlib
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field

from nodedns import __version__, native
from nodedns.config import Config
from nodedns.core.plan import only_ours, plan
from nodedns.core.rows import server_name, upstream_name
from nodedns.core.service import State
from nodedns.monitor.families import PLAIN, served
from nodedns.monitor.rows import row_series, upstream_series, write_gauges
from nodedns.monitor.text import Page, histogram, labelled, series
from nodedns.worker.job import MonitorJob

KEPT = 0.25
"""Seconds for which a page is good: who asks more often gets it again, and cannot keep us from our own work."""
SWEPT = 8192
"""Slots of the cache looked at in one go, a third of a millisecond's work; all of 32 MiB in six."""
SWEPT_FOR = 120.0
"""Seconds after a scrape for which the cache is looked at: nobody pays for what nobody asks."""
STATES = tuple(State)
PLUGINS = ("bind", "cache", "errors", "forward", "loop", "prometheus", "reload")
"""CoreDNS's plugins whose work is done for every zone."""
HEALTH = (0.00025, 0.0025, 0.025, 0.25, 2.5)
_HEALTH = "coredns_health_request_duration_seconds"
_BATCH = "nodedns_batch_queries"
BATCHES = (1, 2, 4, 8, 16, 32, 64)


class Census:
    """How many slots of the cache are in which state: a part of them with each step, so that no step takes long."""

    def __init__(self, table: native.Table) -> None:
        self._table, self._at = table, 0
        self._sums: dict[str, int] = {}
        self.found: dict[str, int] = {}

    def step(self) -> None:
        """Looks at the next SWEPT slots; `found` is of the last whole round."""
        part = native.table_stats(self._table, native.now(), self._at, SWEPT)
        self._sums = {state: self._sums.get(state, 0) + n for state, n in part.items() if state not in _CLASSES}
        self._at += SWEPT
        if self._at >= self._table.slots:
            self.found, self._sums, self._at = self._sums, {}, 0


_CLASSES = ("small", "large")


@dataclass(slots=True)
class Verdict:
    """What the self-probe has found last: who has not answered, of how many; `at` is in seconds of the monotonic clock,
    0 for never."""

    silent: list[str] = field(default_factory=list)
    asked: int = 0
    at: float = 0.0


class Scrape:
    """Of one format. `verdict` and `census` are filled by others."""

    def __init__(self, job: MonitorJob, openmetrics: bool, verdict: Verdict, census: Census) -> None:
        self._job, self._verdict, self._census = job, verdict, census
        config = job.config
        self._page = page = Page(served(config.metrics.coredns), openmetrics)
        names = enumerate(job.rows.rows)
        self._rows = [(number, row_series(name[0], name[1], page)) for number, name in names if name]
        self._now = {upstream_name(at) for zone in config.zones for at in zone.forward}
        self._upstreams = [
            (number, name[0], upstream_series(name[0], page)) for number, name in enumerate(job.rows.upstreams) if name
        ]
        self._batches = histogram(_BATCH, "", BATCHES, openmetrics)
        self._health = histogram(_HEALTH, "", HEALTH, openmetrics, seconds=True)
        self._info = _info(config)
        self._wants_fallback = only_ours(plan(config, ())) and config.node.fallback != ()
        self._made = 0.0
        self._text = b""

    def text(self, now: float) -> bytes:
        """The page as it is at `now`, in seconds of the monotonic clock, or was a moment ago."""
        if not self._text or now - self._made >= KEPT:
            native.count_parent(self._job.shared.counters, "scrapes")
            self._page.clear()
            self._write(self._page)
            self._text, self._made = self._page.text(), now
        return self._text

    def _write(self, page: Page) -> None:
        counters, slots = self._job.shared.counters, self._job.slots
        counted = native.read_counters(counters, slots) | native.read_parent(counters)
        gauges = native.read_gauges(counters)
        for number, row in self._rows:
            row.write(native.read_row(counters, slots, number), page)
        for number, name, upstream in self._upstreams:
            octets, views = native.read_upstream(counters, slots, number)
            upstream.write(octets, page)
            if name in self._now:
                write_gauges(name, views[: gauges["workers"]], page)
        for name, sources in PLAIN.items():
            for labels, source in sources.items():
                page.add(name, counted[source], labels)
        for name, text in self._info.items():
            page.fill(name, text, ())
        batches = [counted[f"batch_{size}"] for size in BATCHES]
        page.fill(_BATCH, self._batches, [*batches, 0, counted["received"]])
        probes = [counted[f"probe_{number}"] for number in range(1, len(HEALTH) + 2)]
        page.fill(_HEALTH, self._health, [*probes, counted["probe_us"] * 1000])
        page.add("coredns_hosts_entries", sum(len(addresses) for _, addresses in self._job.config.hosts))
        self._write_gauges(gauges, page)
        self._write_cache(counted, page)

    def _write_gauges(self, gauges: dict[str, int], page: Page) -> None:
        for number, state in enumerate(STATES):
            page.add("nodedns_state", int(gauges["state"] == number), labelled({"state": state.value}))
        for slot in range(gauges["workers"]):
            page.add("nodedns_worker_serving", gauges["serving"] >> slot & 1, labelled({"worker": str(slot)}))
        page.add("nodedns_failopen_active", gauges["fail_open"])
        if self._job.config.config_map:
            page.add("nodedns_config_map_ok", int(not self._job.config.config_map_failed))
        if self._wants_fallback:
            page.add("nodedns_fallback_servers", gauges["fallback"])
        page.add("nodedns_reload_last_ok", 1 - gauges["reload_failed"])
        if self._verdict.at:
            page.add("nodedns_probe_up", int(not self._verdict.silent))
        page.add("process_cpu_seconds_total", gauges["cpu_us"] / 1e6)
        page.add("process_resident_memory_bytes", gauges["resident"])
        page.add("process_start_time_seconds", gauges["started_ms"] / 1e3)
        page.add("process_open_fds", gauges["open_fds"])
        page.add("process_max_fds", gauges["max_fds"])

    def _write_cache(self, counted: dict[str, int], page: Page) -> None:
        """One cache for all: it stands under the first address and the root, so that a sum over them is right."""
        server = server_name(self._job.config.node.listen[0])
        page.add("nodedns_cache_size_bytes", self._job.shared.table.size)
        found = self._census.found
        for state, n in found.items():
            page.add("nodedns_cache_slots", n, labelled({"state": state}))
        for kind, states in (("success", ("success",)), ("denial", ("denial", "failure"))):
            where = labelled({"server": server, "type": kind, "zones": ".", "view": ""})
            if found:
                live = sum(found[state] for state in states)
                page.add("coredns_cache_entries", live, where)
                page.add("coredns_cache_size", live, labelled({"server": server, "type": kind}))
            page.add("coredns_cache_evictions_total", counted[f"evicted_{kind}"], where)
        where = labelled({"server": server, "zones": ".", "view": ""})
        page.add("coredns_cache_drops_total", counted["upstream_malformed"], where)


def _info(config: Config) -> dict[str, bytes]:
    """By family, what never changes: what runs here, on which config."""
    python = f"python{sys.version.split()[0]}"
    digest = hashlib.sha256(repr(config).encode()).hexdigest()
    ours = (
        {"server": server_name(at), "zone": zone.name, "view": "", "name": plugin}
        for at in config.node.listen
        for zone in config.zones
        for plugin in PLUGINS
    )
    infos: dict[str, Iterable[dict[str, str]]] = {
        "nodedns_build_info": [{"version": __version__}],
        "coredns_build_info": [{"version": __version__, "revision": "nodedns", "goversion": python}],
        "coredns_reload_version_info": [{"hash": "sha256", "value": digest}],
        "coredns_plugin_enabled": ours,
    }
    return {
        name: "".join(f"{series(name, labelled(labels))}1\n" for labels in of).encode() for name, of in infos.items()
    }
