"""Rows of the counters as figures by name. `layout` is native.ROW or native.UPSTREAM: offset and length of a field."""

import struct
from collections.abc import Iterable, Mapping

Layout = Mapping[str, tuple[int, int]]
Figures = dict[str, tuple[int, ...]]

HOWS = ("success", "denial", "failure", "miss")
"""What `hows` counts, in its order: hits by the kind of entry, and what had to be asked for."""


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
