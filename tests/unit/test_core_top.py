"""What `nodedns top` works out of two looks at the counters, and of samples."""

import pytest

from nodedns import native
from nodedns.core.figures import Figures, Gauges, figures
from nodedns.core.top import HALF_LIFE, KEPT, Asked, Heard, Look, Sample, client_text, spark, view
from nodedns.native import ROW, UPSTREAM

SERVER = "dns://127.0.0.1:53"
V4 = bytes(10) + b"\xff\xff" + bytes([192, 0, 2, 1])
EMPTY = figures(bytes(8 * sum(length for _, length in ROW.values())), ROW)


def row(hits: int = 0, misses: int = 0, nxdomain: int = 0) -> Figures:
    """Answers that took 0.25 ms at most, and misses between 2 and 4 ms."""
    answers = hits + misses
    rcodes = (answers - nxdomain, 0, 0, nxdomain, *[0] * (ROW["rcodes"][1] - 4))
    durations = (hits, 0, 0, 0, misses, *[0] * (ROW["durations"][1] - 5))
    return EMPTY | {"rcodes": rcodes, "hows": (hits, 0, 0, misses), "durations": durations}


def upstream(sent: int, timeouts: int = 0) -> Figures:
    """All answered NOERROR or NXDOMAIN within 1 to 2 ms."""
    empty = figures(bytes(8 * UPSTREAM["state"][0]), UPSTREAM)
    replies = list(empty["replies"])
    buckets = len(replies) // len(empty["reply_ns"])
    replies[3] = sent // 2
    replies[3 * buckets + 3] = sent - sent // 2
    return empty | {"sent": (sent, 0, 0), "replies": tuple(replies), "timeouts": (timeouts,)}


def look(at: int, rows: dict[str, Figures], mark: str = "m", sent: int = 0, gauges: tuple[Gauges, ...] = ()) -> Look:
    answers = sum(sum(one["rcodes"]) for one in rows.values())
    named = {(SERVER, zone): one for zone, one in rows.items()}
    return Look(at, mark, answers, named, {"10.0.0.1:53": (upstream(sent), gauges)}, [(answers, sent), (0, 0)])


OLD = look(1000, {"a.": row(10, 10), ".": row(5)}, sent=10)
NEW = look(3000, {"a.": row(100, 20, nxdomain=55), ".": row(5)}, sent=20, gauges=((1, 5, 0), (2, 9, 0)))


def test_what_lies_between_two_looks() -> None:
    """By hand."""
    seen = view(NEW, OLD, None, [0])
    assert (seen.seconds, seen.answers, seen.misses, seen.rate(seen.answers)) == (2.0, 100, 10, 50.0)
    assert (seen.hits, seen.rcodes) == (0.9, {0: 45, 3: 55})
    assert (seen.p50, seen.p99) == (pytest.approx(0.00025 * 50 / 90), pytest.approx(0.002 + 0.002 * 0.9))
    assert seen.zones == [("a.", 100, 0.9), (".", 0, None)]
    assert seen.workers == [(100, 10), (0, 0)]
    assert seen.upstreams == [
        Asked("10.0.0.1:53", "up", 5e-9, 10, pytest.approx(0.0015), pytest.approx(0.00199), 0, 0),
    ]


def test_gauges_are_of_those_who_serve() -> None:
    """Where nobody does, of all."""
    assert view(NEW, OLD, None, [1]).upstreams[0].state == "down"
    assert view(NEW, OLD, None, []).upstreams[0].state == "down"


@pytest.mark.parametrize(
    ("zone", "answers", "hits"), [("a.", 100, 0.9), (".", 0, None), ("gone.", 0, None), (None, 100, 0.9)]
)
def test_a_zone(zone: str | None, answers: int, hits: float | None) -> None:
    """Alone; the table of zones has all."""
    seen = view(NEW, OLD, zone, [0])
    assert (seen.answers, seen.hits, len(seen.zones)) == (answers, hits, 2)


@pytest.mark.parametrize(
    "old",
    [None, look(1000, {}, mark="other"), look(3000, {"a.": row(1)})],
    ids=["first", "other counters", "no time"],
)
def test_without_an_old_look(old: Look | None) -> None:
    """All there is, and no rate."""
    seen = view(NEW, old, None, [0])
    assert (seen.seconds, seen.answers, seen.rate(7)) == (None, 125, 7)


def test_a_reload_between() -> None:
    """A row that was another's begins with 0, a new zone and a new worker count in full, an old zone is no more."""
    new = look(3000, {"a.": row(3), "b.": row(4)})
    new = Look(new.at, new.mark, OLD.answers + 7, new.rows, {"x:53": (upstream(6), ())}, [(1, 1)] * 3)
    seen = view(new, OLD, None, [0])
    assert (seen.answers, seen.zones, seen.workers) == (7, [("b.", 4, 1.0), ("a.", 3, 1.0)], [(1, 1)] * 3)
    assert seen.upstreams[0].sent == 6


def sample(name: bytes, weight: int = 1, how: int = 0, number: int = 1, client: bytes = V4) -> Sample:
    return Sample(weight, number, how, name, client)


def test_lists() -> None:
    """By weight, whatever the case; misses apart; what a ring has lost is taken to be like the rest."""
    heard = Heard()
    heard.hear([sample(b"\1A\0", 6), sample(b"\1a\0", 2), sample(b"\1b\0", 2, how=3)], 0)
    heard.hear([sample(b"\1c\0", 1, client=bytes(16))], 9)
    heard.hear([], 5)
    assert heard.names.top(3) == [(b"\1c\0", 0.5), (b"\1a\0", 0.4), (b"\1b\0", 0.1)]
    assert heard.misses.top(3) == [(b"\1b\0", 1.0)]
    assert heard.clients.top(3) == [(V4, 0.5), (bytes(16), 0.5)]


def test_lists_of_a_zone() -> None:
    """By the rows it has."""
    heard = Heard({2, 3})
    heard.hear([sample(b"\1a\0", number=1), sample(b"\1b\0", number=2), sample(b"\1c\0", number=3)], 3)
    assert sorted(heard.names.top(3)) == [(b"\1b\0", 0.5), (b"\1c\0", 0.5)]


def test_lists_fade() -> None:
    """Half is left after a half-life."""
    heard = Heard()
    heard.hear([sample(b"\1a\0", 100)], 0)
    heard.fade(HALF_LIFE)
    assert heard.names.total == heard.clients.total == pytest.approx(50)


def test_lists_stay_small() -> None:
    """Whatever is asked, and by however many."""
    heard = Heard()
    for at in range(0, 20_000, 500):
        unique = [sample(b"\4%04d\0" % n, how=3, client=n.to_bytes(16)) for n in range(at, at + 500)]
        heard.hear(unique, 1000)
        heard.fade(0.1)
    assert max(map(len, (heard.names, heard.misses, heard.clients))) <= KEPT


@pytest.mark.parametrize(
    ("address", "text"), [(V4, "192.0.2.1"), (bytes(15) + b"\1", "::1"), (b"\xfd" + bytes(14) + b"\2", "fd00::2")]
)
def test_clients(address: bytes, text: str) -> None:
    """As they are written."""
    assert client_text(address) == text


@pytest.mark.parametrize(
    ("values", "width", "shown"),
    [
        ([], 4, "    "),
        ([0.0, 0.0], 4, "  11"),
        ([1, 2, 4, 8], 4, "1248"),
        ([0.1, None, 8], 3, "1 8"),
        ([9, 9, 1, 8], 2, "18"),
        ([1], 0, ""),
    ],
)
def test_spark(values: list[float | None], width: int, shown: str) -> None:
    """The last values, at the right; the highest of them is the highest mark."""
    assert spark(values, width, "12345678") == shown


def test_the_layout_is_the_counters() -> None:
    """What is worked out here is what stands there."""
    assert len(EMPTY["durations"]) == native.ROW["durations"][1]
