"""Figures made of counters: what was added, which duration a share does not exceed, how an upstream is."""

import pytest

from nodedns import native
from nodedns.core.figures import DURATIONS, STATES, Gauges, increase, quantile, worst

BUCKETS = native.ROW["durations"][1]


def buckets(**counts: int) -> list[int]:
    """Counts of buckets b0 to b16."""
    return [counts.get(f"b{number}", 0) for number in range(BUCKETS)]


@pytest.mark.parametrize(
    ("q", "durations", "seconds"),
    [
        (0.5, buckets(), None),
        (0.5, buckets(b0=100), 0.000125),  # from 0 on, half of the first bucket
        (1.0, buckets(b0=100), 0.00025),
        (0.99, buckets(b0=99, b4=1), 0.00025),  # the last of the first bucket
        (0.995, buckets(b0=99, b4=1), 0.003),  # half of 2 to 4 ms
        (0.5, buckets(b1=1, b2=0, b3=3), 0.001 + 0.001 / 3),
        (0.5, buckets(b16=7), 8.192),  # beyond the last bound nothing is known
        (0.0, buckets(b3=1), None),
    ],
)
def test_quantile(q: float, durations: list[int], seconds: float | None) -> None:
    """As histogram_quantile(): worked by hand."""
    assert quantile(q, durations) == pytest.approx(seconds)


def test_bounds_are_those_of_the_counters() -> None:
    """One bucket more than bounds."""
    assert len(DURATIONS) == BUCKETS - 1
    assert (DURATIONS[0], DURATIONS[-1]) == (0.00025, 8.192)


def test_increase() -> None:
    """Value by value; what is less began anew."""
    assert increase({"a": (5, 3)}, {"a": (2, 7)}) == {"a": (3, 3)}
    assert increase({"a": (5,)}, None) == {"a": (5,)}


@pytest.mark.parametrize(
    ("gauges", "state", "seconds"),
    [
        ([], "unknown", 0.0),
        ([(0, 0, 0), (1, 2_000_000, 3)], "up", 0.002),
        ([(2, 1_000_000, 0), (1, 2_000_000, 3)], "down", 0.002),
        ([(3, 0, 0), (2, 0, 0)], "looped", 0.0),
        ([(99, 0, 0)], STATES[-1], 0.0),  # of a later version
    ],
)
def test_worst(gauges: list[Gauges], state: str, seconds: float) -> None:
    """The most worried worker's view."""
    assert worst(gauges) == (state, seconds)
