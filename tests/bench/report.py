"""Figures -> Markdown."""

import os
import platform
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.figures import FLOOR, OURS, Figures, median, ratio, servers
from tests.bench.targets import TARGETS

BASES = (FLOOR, "unbound", "node-cache")
TITLES = {
    "seed": "Hits: the seed's twelve names",
    "zipf": "Hits: Zipf (s = 1.0) over 20,000 cluster names, 30 % NXDOMAIN",
    "miss_udp": "Misses: unique names, UDP upstream",
    "miss_tcp": "Misses: unique names, TCP upstream",
}
# One column: its title, its figure, how a value is written.
Column = tuple[str, str, Callable[[float], str]]


@dataclass(frozen=True, slots=True)
class Run:
    """What a whole run found: figures, name -> reason of what failed, name -> version, and how it was run."""

    figures: Figures
    failures: Mapping[str, str]
    versions: Mapping[str, str]
    command: str
    rounds: int
    seconds: float


def write(value: float | None, how: Callable[[float], str]) -> str:
    """A cell; a dash where there is nothing."""
    return "-" if value is None else how(value)


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table: names to the left, figures to the right."""
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def one(value: float) -> str:
    """One decimal."""
    return f"{value:.1f}"


def whole(value: float) -> str:
    """No decimal, thousands marked."""
    return f"{value:,.0f}"


def times(value: float) -> str:
    """A ratio."""
    return f"{value:.2f} x"


def percent(value: float) -> str:
    """A share."""
    return f"{value * 100:.1f} %"


def bold(name: str) -> str:
    """Our own row stands out."""
    return f"**{name}**" if name == OURS else name


def table(figures: Figures, columns: Sequence[Column], bases: Sequence[str] = ()) -> str:
    """Medians, one row for each server that has the first column, least first; behind it its ratios to the bases."""
    first = columns[0][1]
    bases = [base for base in bases if (base, first) in figures]
    head = ["server", columns[0][0], *(f"/ {base}" for base in bases), *(title for title, _, _ in columns[1:])]
    rows = []
    for server in servers(figures, first):
        cells = [write(median(figures, server, figure), how) for _, figure, how in columns]
        ratios = [write(ratio(figures, server, base, first), times) for base in bases]
        rows.append([bold(server), cells[0], *ratios, *cells[1:]])
    return markdown(head, rows)


def mix_table(figures: Figures, mix: str) -> str:
    """The table of one mix, cheapest server first."""
    columns: list[Column] = [
        ("CPU us/query", f"{mix}.cpu", one),
        ("q/s", f"{mix}.qps", whole),
        ("lost", f"{mix}.lost", whole),
        ("failed", f"{mix}.failed", whole),
        ("p50 us", f"{mix}.p50", one),
        ("p99 us", f"{mix}.p99", one),
        ("asked upstream", f"{mix}.upstream", percent),
    ]
    return table(figures, columns, BASES)


def storm_table(figures: Figures) -> str:
    """The miss storm, least disturbed server first."""
    columns: list[Column] = [
        ("added to hit p99, us", "storm.added", one),
        ("hit p99 alone, us", "storm.quiet", one),
        ("in the storm, us", "storm.loud", one),
        ("misses/s answered", "storm.rate", whole),
    ]
    return table(figures, columns)


def memory_table(figures: Figures) -> str:
    """Memory with the mixes cached, and the time from start to the first answer."""
    columns: list[Column] = [
        ("PSS MiB", "memory.pss", one),
        ("RSS MiB", "memory.rss", one),
        ("first process RSS MiB", "memory.parent", one),
        ("start to first answer, ms", "start.ms", whole),
    ]
    return table(figures, columns, BASES[1:])


def ratios_table(figures: Figures, base: str) -> str:
    """Every other figure of the load as a ratio to one server's."""
    wanted = [f"{mix}.{what}" for mix in TITLES for what in ("cpu", "qps", "p50", "p99")]
    shown = [figure for figure in wanted if (base, figure) in figures]
    names = [server for server in dict.fromkeys(server for server, _ in figures) if server != base]
    rows = [[bold(name), *(write(ratio(figures, name, base, figure), times) for figure in shown)] for name in names]
    return markdown(["server", *(figure.replace(".", " ").replace("_", " ") for figure in shown)], rows)


def machine() -> str:
    """CPU, kernel and Python of this machine in one line."""
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    model = models[0].partition(":")[2].strip() if models else platform.machine()
    return f"{os.cpu_count()} x {model}, Linux {platform.release()}, Python {platform.python_version()}"


INTRO = """\
# Benchmark

Made by `{command}` on {machine}.

Medians of {rounds} interleaved rounds, {seconds:g} s each. Every server had CPU 0 to itself; dnsperf (16 sockets, 300
queries in flight), the authoritative server and the harness had CPU 1. What else ran on CPU 0 took {others} of it at
worst (median per server and mix).

* **CPU us/query**: user and system time of all the server's processes over the queries answered. The figure that
  counts: dnsperf reaches the end of its own CPU before a fast server does.
* **lost**: no answer within 1 s. About 100 is one overflow of a socket queue left at the kernel's default size, which
  does not hold 300 queries. **failed**: answered, but neither NOERROR nor NXDOMAIN.
* **p50**, **p99**: of a paced client, 5,000 queries/s, from its send to the answer's arrival in the kernel.
* **asked upstream**: counted by the authoritative server. 0 % is a mix of hits alone, 100 % one of misses alone.
* **echo** sends every datagram back with one bit changed (recvmmsg, sendmmsg): the floor.
* Ratios are the medians of each round's ratios.

![CPU per query](benchmark.png)
"""


def targets_table(figures: Figures) -> str:
    """The promises of nodedns beside what this run found."""
    rows = []
    for target in TARGETS:
        value = target.value(figures)
        verdict = "not measured" if value is None else "yes" if target.met(value) else "**no**"
        limit = f"{'at most' if target.at_most else 'at least'} {target.limit:,g}"
        rows.append([target.what, limit, write(value, lambda v: f"{v:,.2f}" if v < 10 else f"{v:,.0f}"), verdict])
    return markdown(["what", "limit", "found", "reached"], rows)


def sections(run: Run) -> Iterator[tuple[str, str]]:
    """Title and text of every section that has something to say."""
    figures = run.figures
    if any(server == OURS for server, _ in figures):
        yield "What nodedns is to reach", targets_table(figures)
    for mix, title in TITLES.items():
        if servers(figures, f"{mix}.cpu"):
            yield title, mix_table(figures, mix)
    if servers(figures, "storm.added"):
        yield "Hits beside 10,000 misses/s", f"The paced client asks 2,000 hits/s here.\n\n{storm_table(figures)}"
    yield "Memory and start", memory_table(figures)
    for base in BASES:
        if any(server == base for server, _ in figures):
            yield f"Every figure as a ratio to {base}", ratios_table(figures, base)
    yield "Versions", "".join(f"- {name}: {version}\n" for name, version in run.versions.items())
    if run.failures:
        yield "Not measured to the end", "".join(f"- {name}: {why}\n" for name, why in run.failures.items())


def document(run: Run) -> str:
    """The whole report in Markdown."""
    others = [statistics.median(values) for (_, figure), values in run.figures.items() if figure.endswith(".others")]
    intro = INTRO.format(
        command=run.command,
        machine=machine(),
        rounds=run.rounds,
        seconds=run.seconds,
        others=percent(max(others, default=0.0)),
    )
    return "\n".join([intro, *(f"## {title}\n\n{text}" for title, text in sections(run))])
