"""The screen of `nodedns top`: lines of text for a size. Nothing here touches a terminal."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from nodedns.core.spelling import printable
from nodedns.core.top import spark
from nodedns.query_wire import rcode_name
from nodedns.verbs.status import duration, span
from nodedns.verbs.top.watch import Listed, Watch

PLAIN, BOLD, TITLE, BAD, KEYS = range(5)
"""Styles of a line: text, the head, a table's head, what is wrong, the keys at the bottom."""
WIDE = 72
"""Columns from which two things stand side by side,"""
WIDE_NAMES = 132
"""and two lists of names."""
LEAST = 3
"""Lines of a table that is worth it: its head and two rows."""
FOOT = "q quit  s view  p pause  + - interval  z zone"


class Line(NamedTuple):
    text: str
    style: int = PLAIN


class Marks(NamedTuple):
    """What a terminal can show: eight heights, and what stands for text that was cut off."""

    heights: str
    more: str


UNICODE, ASCII = Marks("▁▂▃▄▅▆▇█", "…"), Marks("_.,-=+*#", "~")


class Table(NamedTuple):
    """Heads and rows of one form; the first column takes the room that the others leave."""

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(slots=True)
class Look:
    """How it is looked at: which of VIEWS, `interval` in seconds, and whether it stands still."""

    view: int = 0
    interval: float = 1.0
    paused: bool = False


def screen(watch: Watch, look: Look, width: int, height: int, marks: Marks) -> list[Line]:
    """At most `height` lines of at most `width` columns."""
    head = [_title(watch, look, width), *_gauges(watch, width, marks)]
    head.append(Line(f"{'rcodes':<11}{_rcodes(watch)}"))
    room = max(0, height - len(head) - 2)
    name, tables = VIEWS[look.view % len(VIEWS)]
    shown = [table(watch, name != "all") for table in tables]
    body = _grid(shown, width, room, marks) if name == "all" else _lines(shown[0], width, room, marks)
    foot = Line(f"{FOOT}   [{name}]", KEYS)
    lines = [*head, Line(""), *body][: height - 1]
    lines += [Line("")] * (height - 1 - len(lines))
    return [Line(_cut(line.text, width, marks), line.style) for line in [*lines, foot]]


def _title(watch: Watch, look: Look, width: int) -> Line:
    status, alive = watch.reader.service.status, watch.reader.alive
    head = f"nodedns {printable(str(status.get('version', '?')))}"
    if alive:
        age = span(watch.now - status["since"])
        left = f"{head}: {status['state']} for {age}, {len(status['workers'])} workers"
    else:
        left = f"{head}: NOT RUNNING, this is what it left; pid {status['pid']} was {status['state']}"
    right = f"{printable(watch.zone or 'all zones')}  {'PAUSED' if look.paused else f'{look.interval:g} s'}"
    return Line(f"{left}  {right:>{max(0, width - len(left) - 2)}}", BOLD if alive else BAD)


def _gauges(watch: Watch, width: int, marks: Marks) -> list[Line]:
    seen = watch.view
    values = (
        ("answers/s" if seen.seconds else "answers", number(seen.rate(seen.answers))),
        ("p50", duration(seen.p50)),
        ("from cache", percent(seen.hits)),
        ("p99", duration(seen.p99)),
    )
    columns = 2 if width >= WIDE else 1
    each = (width - 2 * (columns - 1)) // columns
    order = (0, 2, 1, 3)  # of the values in a history
    cells = []
    for place, (label, value) in enumerate(values):
        text = f"{label:<11}{value:>8}  "
        history = [found[order[place]] for found in watch.history]
        cells.append(text + spark(history, each - len(text), marks.heights))
    return [Line("  ".join(cells[at : at + columns])) for at in range(0, len(cells), columns)]


def _rcodes(watch: Watch) -> str:
    rcodes = watch.view.rcodes
    total = sum(rcodes.values())
    busiest = sorted(rcodes, key=lambda code: -rcodes[code])
    return "  ".join(f"{rcode_name(code)} {percent(rcodes[code] / total)}" for code in busiest) or "-"


def _shares(title: str, listed: Listed, of: float, per: str) -> Table:
    return Table((title, per, "share"), [(text, number(share * of), percent(share)) for text, share in listed])


def _per(watch: Watch) -> str:
    return "per s" if watch.view.seconds else "answers"


def names(watch: Watch, _full: bool) -> Table:
    return _shares("NAME", watch.names, watch.view.rate(watch.view.answers), _per(watch))


def misses(watch: Watch, _full: bool) -> Table:
    return _shares("NOT IN THE CACHE", watch.misses, watch.view.rate(watch.view.misses), _per(watch))


def clients(watch: Watch, _full: bool) -> Table:
    return _shares("CLIENT", watch.clients, watch.view.rate(watch.view.answers), _per(watch))


def upstreams(watch: Watch, full: bool) -> Table:
    rows = []
    for up in sorted(watch.view.upstreams, key=lambda up: (-up.sent, up.name)):
        short = (printable(up.name), up.state, number(watch.view.rate(up.sent)), duration(up.p50))
        rows.append((*short, duration(up.p99), duration(up.rtt or None), str(up.timeouts), str(up.errors)))
    heads = ("UPSTREAM", "state", _per(watch), "p50", "p99", "usual", "timeouts", "errors")
    most = None if full else 4
    return Table(heads[:most], [row[:most] for row in rows])


def workers(watch: Watch, full: bool) -> Table:
    rows = []
    for one, (hits, others) in zip(watch.reader.service.status["workers"], watch.view.workers, strict=False):
        state = one["state"] if watch.reader.alive else "was " + one["state"]
        short = (f"{one['slot']} {state}", str(one["pid"] or "-"), *map(number, map(watch.view.rate, (hits, others))))
        rows.append((*short, str(one["restarts"]), span(watch.now - one["since"])))
    most = None if full else 4
    heads = ("WORKER", "pid", "hits", "others", "restarts", "since")
    return Table(heads[:most], [row[:most] for row in rows])


def zones(watch: Watch, _full: bool) -> Table:
    rows = [(printable(name), number(watch.view.rate(n)), percent(hits)) for name, n, hits in watch.view.zones]
    return Table(("ZONE", _per(watch), "cached"), rows)


VIEWS: tuple[tuple[str, tuple[Callable[[Watch, bool], Table], ...]], ...] = (
    ("all", (names, misses, clients, upstreams, zones, workers)),
    ("names", (names,)),
    ("misses", (misses,)),
    ("clients", (clients,)),
    ("upstreams", (upstreams,)),
    ("zones", (zones,)),
    ("workers", (workers,)),
)


def _grid(tables: Sequence[Table], width: int, room: int, marks: Marks) -> list[Line]:
    """Tables under one another, and side by side where there is width; each has its share of the room, and what one
    does not need is for the first that does."""
    bands = _bands(tables, width)[: max(1, room // LEAST)]
    needs = [1 + max(len(table.rows) for table in band) for band in bands]
    sizes = [min(need, room // len(bands)) for need in needs]
    for at, need in enumerate(needs):
        sizes[at] += min(need - sizes[at], room - sum(sizes))
    lines = []
    for band, size in zip(bands, sizes, strict=True):
        each = (width - 2 * (len(band) - 1)) // len(band)
        parts = [_lines(table, each, size, marks) for table in band]
        for row in range(size):
            cells = [part[row].text.ljust(each) if row < len(part) else " " * each for part in parts]
            lines.append(Line("  ".join(cells), PLAIN if row else TITLE))
    return lines


def _bands(tables: Sequence[Table], width: int) -> list[Sequence[Table]]:
    """What stands side by side: names are long, all else is not."""
    bands: list[Sequence[Table]] = []
    for at in range(0, len(tables), 2):
        pair = tables[at : at + 2]
        bands += [pair] if width >= (WIDE if at else WIDE_NAMES) else [[table] for table in pair]
    return bands


def _lines(table: Table, width: int, room: int, marks: Marks) -> list[Line]:
    rows = [table.heads, *table.rows[: max(0, room - 1)]]
    widths = [max(len(row[column]) for row in rows) for column in range(1, len(table.heads))]
    first = max(1, width - sum(widths) - 2 * len(widths))
    return [
        Line(
            _cut(row[0], first, marks).ljust(first)
            + "".join(f"  {cell:>{size}}" for cell, size in zip(row[1:], widths, strict=True)),
            PLAIN if line else TITLE,
        )
        for line, row in enumerate(rows)
    ]


def _cut(text: str, width: int, marks: Marks) -> str:
    return text if len(text) <= width else text[: max(0, width - 1)] + marks.more[:width]


def number(value: float) -> str:
    """A count, or one a second."""
    return f"{value:.1f}" if 0 < value < 10 and value != int(value) else f"{value:.0f}"


def percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"
