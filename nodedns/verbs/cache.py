"""`nodedns cache dump|get|flush`: the shared table from beside it.

The names and records in there were chosen by whoever answered or asked: everything is made printable before it reaches
a terminal. dump and get map the table read-only and look at every slot, because a look-up by key would note a hit.
"""

import json
from collections.abc import Iterator
from typing import NamedTuple

from dnslib import QTYPE

from nodedns import native
from nodedns.core.entries import Entry, entry_ok
from nodedns.core.names import HEADER, plain_length
from nodedns.core.spelling import printable, spelled_wire
from nodedns.query import type_number
from nodedns.query_wire import Failed as Unreadable
from nodedns.query_wire import labels_of, parse, rcode_name, record_line
from nodedns.verbs.errors import Failed
from nodedns.verbs.files import Source
from nodedns.verbs.service import Service, find
from nodedns.verbs.status import zone_names

KINDS = {native.SUCCESS: "answer", native.DENIAL: "denial", native.FAILURE: "failure"}
COLUMNS = ("name", "type", "flags", "kind", "rcode", "ttl", "hits", "zone", "state", "stale_ttl")
FRESH, STALE, EXPIRED = "fresh", "stale", "expired"
"""States: what a server said; what had expired and is given again, since no server answers; what has expired, and is
given when no server answers."""


class Row(NamedTuple):
    """An entry. `name` in wire form; `hits` since it was stored, 255 or fewer; `ttl` seconds are left, and `stale_ttl`
    until it is of no use even if no server answers."""

    name: bytes
    type: int
    blob: bytes
    entry: Entry
    hits: int
    ttl: int
    state: str
    stale_ttl: int


def rows(service: Service, stale: bool) -> Iterator[Row]:
    """Every live entry, in the order of the table; with `stale`, those too that have expired and may still be given.
    What is damaged is left out: to a worker it is a miss."""
    _, table = service.table()
    now, flushed = native.now(), service.flushed()
    for index in range(table.slots):
        found = table.read(index)
        if found is None or not entry_ok(found[0]):
            continue
        blob, hits = found
        entry = Entry.unpack(blob)
        length = plain_length(entry.wire, HEADER)
        usable = entry.stale_until if entry.kind != native.FAILURE and entry.stale_until > entry.expires else 0
        if length != entry.question_len - 4 or entry.inserted <= flushed:
            continue
        if entry.expires <= now and not (stale and usable > now):
            continue
        name = entry.wire[HEADER : HEADER + length]
        kind = int.from_bytes(entry.wire[HEADER + length : HEADER + length + 2], "big")
        state = EXPIRED if entry.expires <= now else STALE if entry.stale else FRESH
        ttl, stale_ttl = (max(0, end - now) // 1000 for end in (entry.expires, usable))
        yield Row(name, kind, blob, entry, hits, ttl, state, stale_ttl)


def _columns(row: Row, zones: list[str]) -> dict[str, str | int]:
    entry, name = row.entry, spelled_wire(row.name)
    flags = " ".join(word for bit, word in ((native.KEY_DO, "do"), (native.KEY_CD, "cd")) if entry.key_flags & bit)
    return {
        "name": name,
        "type": QTYPE[row.type],
        "flags": flags,
        "kind": KINDS[entry.kind],
        "rcode": rcode_name(entry.rcode),
        "ttl": row.ttl,
        "hits": row.hits,
        "zone": _zone(name, zones),
        "state": row.state,
        "stale_ttl": row.stale_ttl,
    }


def _zone(name: str, zones: list[str]) -> str:
    """The zone of the config as it lies on disk that `name` belongs to: the longest that ends it."""
    return max((zone for zone in zones if f".{name}".endswith(f".{zone.lstrip('.')}")), key=len, default="")


def dump(source: Source, as_json: bool, stale: bool) -> int:
    """Prints every entry of rows(), a line each: tabs between COLUMNS, or one JSON object."""
    zones, service = zone_names(source), find(source)
    if not as_json:
        print("\t".join(COLUMNS))
    for row in rows(service, stale):
        columns = _columns(row, zones)
        print(json.dumps(columns) if as_json else "\t".join(str(value) or "-" for value in columns.values()))
    return 0


def get(source: Source, name: str, qtype: str | None, as_json: bool, stale: bool) -> int:
    """Prints what rows() has for a name, as dig prints records. 1 when that is nothing."""
    try:
        wanted = b"".join(bytes([len(label)]) + label.lower() for label in labels_of(name)) + b"\0"
    except ValueError as error:
        raise Failed(f"expected a domain name, got {printable(name)!r}: {error}") from error
    number = None if qtype is None else type_number(qtype)
    if qtype is not None and number is None:
        raise Failed(f"expected a type's name or TYPEnnn, got {printable(qtype)!r}")
    zones = zone_names(source)
    found = [row for row in rows(find(source), stale) if row.name == wanted and number in (None, row.type)]
    for row in found:
        columns, records = _columns(row, zones), _records(row)
        if as_json:
            print(json.dumps(columns | {"records": records}))
            continue
        print("; " + " ".join(f"{key}={value}" for key, value in columns.items() if value != ""), *records, sep="\n")
    if not found:
        print(f"; {printable(name)} {qtype or ''}: not cached")
    return 0 if found else 1


def _records(row: Row) -> list[str]:
    """The records a client would get now, all sections in order, in zone file form."""
    try:
        client = native.parse_query(native.make_query(row.entry.key, 0), True)[2]
        message = parse(native.render(row.blob, client, native.now(), 65535))
        records = (*message.rr, *message.auth, *message.ar)
        return [record_line(record) for record in records if record.rtype != QTYPE.OPT]
    except (ValueError, Unreadable):
        return ["; damaged: its records cannot be read"]


def flush(source: Source) -> int:
    """Makes every entry inserted until now dead, in one store; workers see it with their next lookup."""
    service = find(source)
    _, table = service.table(writable=True)
    table.flush(native.now())
    print("flushed" if service.alive else "flushed; the service is not running")
    return 0
