"""Rows of the counters as figures by name. `layout` is native.ROW or native.UPSTREAM: offset and length of a field."""

import struct
from collections.abc import Iterable, Mapping, Sequence

Layout = Mapping[str, tuple[int, int]]
Figures = dict[str, tuple[int, ...]]
Gauges = tuple[int, int, int]  # of an upstream, as one worker sees it: state, usual time in ns, open sockets

HOWS = ("success", "denial", "failure", "miss")
"""What `hows` counts, in its order: hits by the kind of entry, and what had to be asked for."""
DURATIONS = tuple(0.00025 * (1 << k) for k in range(16))
"""Bounds of `durations`, in seconds (native/counters.h); one bucket more has what took longer."""
STATES = ("unknown", "up", "down", "looped")
"""Of an upstream, by the gauge `state`: nobody was asked yet, it answers, it does not, it leads back to us."""


def figures(octets: bytes, layout: Layout) -> Figures:
    """The values of each field that `octets` reach to."""
    values = struct.unpack(f"={len(octets) // 8}Q", octets)
    return {name: values[at : at + length] for name, (at, length) in layout.items() if at + length <= len(values)}


def added(rows: Iterable[Figures]) -> Figures:
    """The sums of rows of one layout; {} for none."""
    total: Figures = {}
    for row in rows:
        total = {name: tuple(map(sum, zip(total[name], row[name], strict=True))) for name in row} if total else row
    return total


def increase(new: Figures, old: Figures | None) -> Figures:
    """What was added since `old`. What is less than before began anew, as Prometheus's rate() takes it."""
    if old is None:
        return new
    return {
        name: tuple(n - o if n >= o else n for n, o in zip(values, old[name], strict=True))
        for name, values in new.items()
    }


def quantile(q: float, durations: Sequence[int]) -> float | None:
    """The duration, in seconds, that a share `q` of the counted ones does not exceed: interpolated in its bucket, as
    Prometheus's histogram_quantile() does; of what took longer than the last bound, that bound. None: none counted.

    `durations` are counts by bucket, bounds in DURATIONS.
    """
    rank, below = q * sum(durations), 0
    if not rank:
        return None
    for number, count in enumerate(durations[: len(DURATIONS)]):
        if below + count >= rank:
            floor = DURATIONS[number - 1] if number else 0.0
            return floor + (DURATIONS[number] - floor) * (rank - below) / count
        below += count
    return DURATIONS[-1]


def worst(gauges: Iterable[Gauges]) -> tuple[str, float]:
    """An upstream's state (STATES) and usual time in seconds as the most worried of some workers sees it."""
    states, times = zip((0, 0), *((state, rtt) for state, rtt, _sockets in gauges), strict=True)
    return STATES[min(max(states), len(STATES) - 1)], max(times) / 1e9
