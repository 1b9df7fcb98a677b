"""Writes the tables of docs/metrics.md from the one in nodedns/monitor/families.py: run it after changing that.

    python docs/make_metrics.py

Labels are those of a scrape in which everything has happened once. tests/unit/test_metrics_page.py compares.
"""

import re
import struct
import tempfile
from pathlib import Path

from nodedns import config, native
from nodedns.core.rows import Rows, wanted
from nodedns.monitor.families import GROUPS, Family
from nodedns.monitor.scrape import Census, Scrape, Verdict
from nodedns.worker.job import MonitorJob, Shared

PAGE = Path(__file__).parent / "metrics.md"
WRITTEN = {("", ""): "all", ("1.6", "1.6"): "to 1.6", ("1.6", "1.7"): "to 1.10", ("1.7", ""): "from 1.7",
           ("1.7", "1.7"): "1.7 to 1.10", ("1.11", ""): "from 1.11"}  # fmt: skip
CONFIG = '[cluster]\ndns = "10.96.0.10"\nconfig_map = "/etc/kube-dns"\n[[zone]]\nname = "."\nforward = "192.0.2.1"\n'
HEADER = 4096  # COUNTERS_HEADER


def everything(openmetrics: bool = False) -> str:
    """A scrape of a service in which everything that can be counted was counted once."""
    parsed = config.parse(CONFIG)
    rows, upstreams = wanted(parsed)
    counters, table = _memory(native.counters_size(2)), _memory(1 << 20)
    native.table_format(table, 1)
    values = memoryview(counters)
    values[HEADER:] = struct.pack("=Q", 1) * ((len(values) - HEADER) // 8)
    shared = Shared(table, counters, counters, counters)
    job = MonitorJob(parsed, shared, 2, Rows(tuple(rows), tuple(upstreams)), None, False, -1, -1, -1, -1)
    census = Census(native.Table(table))
    census.step()
    return Scrape(job, openmetrics, Verdict([], 2, 1.0), census).text(0.0).decode()


def _memory(size: int) -> native.Memory:
    with tempfile.TemporaryFile() as file:
        file.truncate(size)
        return native.map_file(file.fileno(), size, True)


def labels(text: str, family: str) -> str:
    """The names of a family's labels."""
    found: dict[str, None] = {}
    for line in re.findall(rf"^{family}(?:_bucket|_sum|_count)?\{{(.*)\}} ", text, re.MULTILINE):
        found |= dict.fromkeys(re.findall(r'(\w+)="', line))
    return ", ".join(f"`{name}`" for name in found if name != "le")


def tables() -> str:
    """All of them, each under its heading."""
    text = everything()
    parts = []
    for group, families in GROUPS.items():
        parts += [f"## {group}", "", "| metric | labels | CoreDNS | |", "|---|---|---|---|"]
        parts += [_line(family, labels(text, family.name)) for family in families]
        parts.append("")
    return "\n".join(parts)


def _line(family: Family, names: str) -> str:
    since = WRITTEN[family.since, family.until] if family.name.startswith("coredns_") else ""
    kind = "" if family.kind == "counter" else f" ({family.kind})"
    return f"| `{family.name}` | {names} | {since} | {family.help}{kind} |"


def page(text: str) -> str:
    """The page with today's tables."""
    begin, end = text.index(f"## {next(iter(GROUPS))}"), text.index("## What CoreDNS has")
    return f"{text[:begin]}{tables()}\n{text[end:]}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
