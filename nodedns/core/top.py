"""What `nodedns top` shows, worked out: two looks at the counters make a view, the samples between them make lists.

What is listed comes from samples, each of which stands for `weight` answers; how many answers there were comes from the
counters, exactly. So a list holds shares.
"""

import ipaddress
import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from nodedns.core.figures import HOWS, Figures, Gauges, added, increase, quantile, worst
from nodedns.core.heavy import Heavy

MISS = HOWS.index("miss")
KEPT = 512
"""Keys of a list: those with a share above 0.2 % are always among them."""
HALF_LIFE = 10.0
"""Seconds after which a sample counts for half: long enough to read, short enough to see what begins."""


@dataclass(frozen=True, slots=True)
class Look:
    """The counters at one moment, `at` in ms; figures that another `mark` stands on are not comparable.

    `rows` by (server, zone); `upstreams` by name, with each slot's gauges; `workers`: by slot, the answers of the hit
    thread and of the miss loop.
    """

    at: int
    mark: str
    answers: int
    rows: Mapping[tuple[str, ...], Figures]
    upstreams: Mapping[str, tuple[Figures, Sequence[Gauges]]]
    workers: Sequence[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Asked:
    """One of our upstreams. `rtt`: its usual time; p50, p99: of its replies; all in seconds."""

    name: str
    state: str
    rtt: float
    sent: int
    p50: float | None
    p99: float | None
    timeouts: int
    errors: int


@dataclass(frozen=True, slots=True)
class View:
    """What was counted in `seconds`; None: since counting began. Durations are in seconds.

    `hits`: share of answers from the cache, None: of none. `rcodes`: answers by number. `zones`: name, answers and
    hits of each, the busiest first; `workers` as in Look.
    """

    seconds: float | None
    answers: int
    misses: int
    hits: float | None
    p50: float | None
    p99: float | None
    rcodes: dict[int, int]
    zones: list[tuple[str, int, float | None]]
    upstreams: list[Asked]
    workers: list[tuple[int, int]]

    def rate(self, count: float) -> float:
        """A count a second; of all that was ever counted, the count."""
        return count / self.seconds if self.seconds else count


def view(new: Look, old: Look | None, zone: str | None, serving: Collection[int]) -> View:
    """What lies between two looks, of one zone or of all; without an old one, or over other counters, all there is.

    `serving`: slots whose gauges are of now; where nobody serves, each is the last that is known.
    """
    if old is None or old.mark != new.mark or old.at >= new.at:
        old = None
    rows = {name: increase(row, old.rows.get(name) if old else None) for name, row in new.rows.items()}
    zones = {name[1] for name in rows}
    by_zone = {one: added(row for name, row in rows.items() if name[1] == one) for one in zones}
    total = by_zone.get(zone, {}) if zone else added(rows.values())
    answers = sum(total.get("rcodes", ())) if zone else new.answers - (old.answers if old else 0)
    before = old.workers if old and len(old.workers) == len(new.workers) else [(0, 0)] * len(new.workers)
    busiest = sorted(by_zone.items(), key=lambda item: (-sum(item[1]["rcodes"]), item[0]))
    return View(
        seconds=(new.at - old.at) / 1000 if old else None,
        answers=answers,
        misses=total["hows"][MISS] if total else 0,
        hits=hit_ratio(total),
        p50=quantile(0.5, total.get("durations", ())),
        p99=quantile(0.99, total.get("durations", ())),
        rcodes={code: count for code, count in enumerate(total.get("rcodes", ())) if count},
        zones=[(name, sum(row["rcodes"]), hit_ratio(row)) for name, row in busiest],
        upstreams=[_asked(name, new, old, serving) for name in new.upstreams],
        workers=[(hit - h, miss - m) for (hit, miss), (h, m) in zip(new.workers, before, strict=True)],
    )


def hit_ratio(row: Figures) -> float | None:
    """The share of a row's answers that came from the cache; None for none."""
    hows = row.get("hows", ())
    return 1 - hows[MISS] / sum(hows) if any(hows) else None


def _asked(name: str, new: Look, old: Look | None, serving: Collection[int]) -> Asked:
    figures, gauges = new.upstreams[name]
    row = increase(figures, old.upstreams[name][0] if old and name in old.upstreams else None)
    buckets = len(row["replies"]) // len(row["reply_ns"])
    durations = [sum(row["replies"][bucket::buckets]) for bucket in range(buckets)]
    state, rtt = worst(gauge for slot, gauge in enumerate(gauges) if not serving or slot in serving)
    return Asked(
        *(name, state, rtt, sum(row["sent"]), quantile(0.5, durations), quantile(0.99, durations)),
        *(row["timeouts"][0], row["errors"][0]),
    )


class Sample(NamedTuple):
    """A record of a ring (native/samples.h). `name` in wire form, `client` 16 octets."""

    weight: int
    row: int
    how: int
    name: bytes
    client: bytes


class Heard:
    """The lists: names asked, names that had to be asked for, clients. `rows` are the numbers of the rows that count,
    None for all."""

    def __init__(self, rows: Collection[int] | None = None) -> None:
        self._rows = rows
        self.names: Heavy[bytes] = Heavy(KEPT)
        self.misses: Heavy[bytes] = Heavy(KEPT)
        self.clients: Heavy[bytes] = Heavy(KEPT)

    def hear(self, samples: Collection[Sample], missed: int) -> None:
        """Of one ring. Those that are there stand for `missed` others, too."""
        names: Counter[bytes] = Counter()
        misses: Counter[bytes] = Counter()
        clients: Counter[bytes] = Counter()
        for sample in samples:
            if self._rows is None or sample.row in self._rows:
                name = sample.name.lower()
                names[name] += sample.weight
                clients[sample.client] += sample.weight
                if sample.how == MISS:
                    misses[name] += sample.weight
        scale = 1 + missed / len(samples) if samples else 1.0
        for heavy, batch in ((self.names, names), (self.misses, misses), (self.clients, clients)):
            heavy.add({key: weight * scale for key, weight in batch.items()})

    def fade(self, seconds: float) -> None:
        """So much time has passed."""
        for heavy in (self.names, self.misses, self.clients):
            heavy.fade(0.5 ** (seconds / HALF_LIFE))


def client_text(address: bytes) -> str:
    """16 octets, v4 mapped, as people write them."""
    ip = ipaddress.IPv6Address(address)
    return str(ip.ipv4_mapped or ip)


def spark(values: Iterable[float | None], width: int, marks: str) -> str:
    """The last `width` values, a mark each, from nothing to the highest of them; a gap for None."""
    last = list(values)[-width:] if width > 0 else []
    most = max((value for value in last if value is not None), default=0.0)
    step = most / len(marks) or 1.0
    shown = (" " if value is None else marks[max(0, min(len(marks), math.ceil(value / step)) - 1)] for value in last)
    return "".join(shown).rjust(width)
