"""The text formats of Prometheus: exposition 0.0.4, and OpenMetrics 1.0.0 for those who ask for it.

Numbers are written as Go writes them: `le="16000"`, `le="0.00025"`. OpenMetrics wants a point in each of these.
"""

import struct
from collections.abc import Iterable, Mapping, Sequence

from nodedns import native
from nodedns.monitor.families import Family

PLAIN_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OPEN_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"

DURATIONS = tuple(0.00025 * 2**k for k in range(16))
VALUE, SPARSE, MORE, SECONDS, SUM = (f"\1{place}" for place in "vzmst")
"""Places for numbers in a text for native.fill()."""
SIZES = (0, 100, 200, 300, 400, 511, 1023, 2047, 4095, 8291, 16000, 32000, 48000, 64000)


def labelled(labels: Mapping[str, str]) -> str:
    """`a="x",b="y"`, each value escaped."""
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def series(name: str, labels: str = "") -> str:
    """What stands before a value."""
    return f"{name}{{{labels}}} " if labels else f"{name} "


def histogram(name: str, labels: str, bounds: Iterable[float], openmetrics: bool, *, seconds: bool = False) -> bytes:
    """The lines of one label set, for native.fill(): the values of buckets, each counted in one of them, and the sum,
    in ns if it is of `seconds`."""
    before = f"{labels}," if labels else ""
    ends = [*(_bound(bound, openmetrics) for bound in bounds), "+Inf"]
    lines = [f'{name}_bucket{{{before}le="{end}"}} {MORE}' for end in ends]
    lines.append(f"{series(f'{name}_sum', labels)}{SECONDS if seconds else VALUE}")
    return "\n".join([*lines, f"{series(f'{name}_count', labels)}{SUM}", ""]).encode()


def _bound(value: float, openmetrics: bool) -> str:
    return repr(float(value)) if openmetrics else f"{value:.12g}"


class Page:
    """The lines of a scrape by family, for those families that are `served`; others swallow what they get."""

    def __init__(self, served: Sequence[Family], openmetrics: bool) -> None:
        self.openmetrics = openmetrics
        self._served = {family.name: self._head(family) for family in served}
        self.lines: dict[str, list[bytes]] = {}
        self.clear()

    def clear(self) -> None:
        """Begins anew."""
        self.lines = {name: [] for name in self._served}

    def has(self, name: str) -> bool:
        """Is it served?"""
        return name in self._served

    def add(self, name: str, value: float, labels: str = "") -> None:
        """One sample."""
        if name in self._served:
            self.lines[name].append(f"{series(name, labels)}{value!r}\n".encode())

    def fill(self, name: str, text: bytes, values: Sequence[int]) -> None:
        """Lines with places for numbers."""
        if name in self._served:
            self.lines[name].append(native.fill(text, struct.pack(f"={len(values)}Q", *values)))

    def text(self) -> bytes:
        """The page. A family without samples is not there."""
        parts = []
        for name, lines in self.lines.items():
            if lines:
                parts.append(self._served[name])
                parts += lines
        parts.append(b"# EOF\n" if self.openmetrics else b"")
        return b"".join(parts)

    def _head(self, family: Family) -> bytes:
        # the family of a counter is called so without its ending
        name = family.name.removesuffix("_total") if self.openmetrics and family.kind == "counter" else family.name
        return f"# HELP {name} {family.help}\n# TYPE {name} {family.kind}\n".encode()
