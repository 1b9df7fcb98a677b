"""The counters of a service as one look at them (core/top.py)."""

from collections.abc import Iterator

from nodedns import native
from nodedns.core.figures import figures
from nodedns.core.rows import Place, Rows
from nodedns.core.top import Look
from nodedns.supervisor.memory import counters_mark


def look(memory: native.Memory, slots: int, rows: Rows) -> Look:
    """As they are now. `slots` are the workers' and, last, the canary's."""
    lanes = (native.read_slot(memory, slot) for slot in range(slots - 1))
    named = {name: figures(native.read_row(memory, slots, number), native.ROW) for number, name in _named(rows.rows)}
    upstreams = {}
    for number, name in _named(rows.upstreams):
        octets, gauges = native.read_upstream(memory, slots, number)
        upstreams[name[0]] = figures(octets, native.UPSTREAM), gauges
    return Look(
        at=native.now(),
        mark=counters_mark(memory),
        answers=native.read_counters(memory, slots)["answers"],
        rows=named,
        upstreams=upstreams,
        workers=[(hit["answers"], miss["answers"]) for hit, miss in lanes],
    )


def _named(places: Place) -> Iterator[tuple[int, tuple[str, ...]]]:
    return ((number, name) for number, name in enumerate(places) if name is not None)
