"""An answer by way of another name: a CNAME of ours, and behind it what is known of its target (RFC 1034 3.6.2)."""

import struct
from collections.abc import Iterator

from nodedns.core.entries import Entry
from nodedns.core.names import HEADER, MESSAGE_MAX, expand
from nodedns.core.replies import shape_of

_CNAME = b"\0\5\0\1"
_SERVFAIL = 2


def message(key: bytes, target: bytes, blob: bytes, ttl: int) -> bytes:
    """The reply to `key`: it is an alias of the name `target`, of which `blob` is the entry for the same type.

    NXDOMAIN and NODATA are the target's, as RFC 6604 says; of a failure there is nothing to tell but that.
    """
    entry = Entry.unpack(blob)
    records = list(_records(entry))
    alias = b"\xc0\x0c" + _CNAME + struct.pack("!IH", ttl, len(target)) + target
    body = key[:-1] + alias + b"".join(records)
    if HEADER + len(body) > MESSAGE_MAX:
        return struct.pack("!6H", 0, 0x8180 | _SERVFAIL, 1, 0, 0, 0) + key[:-1]
    an, ns, ar = entry.section
    return struct.pack("!6H", 0, 0x8180 | entry.rcode, 1, 1 + an, ns, ar) + body


def _records(entry: Entry) -> Iterator[bytes]:
    """Each record with its names written out: pointers would lead elsewhere in another message."""
    wire, at = entry.wire, HEADER + entry.question_len
    for ttl_at in entry.ttl_at:
        stop = ttl_at + 6 + int.from_bytes(wire[ttl_at + 4 : ttl_at + 6])
        data = ttl_at + 6
        shape = shape_of(int.from_bytes(wire[ttl_at - 4 : ttl_at - 2]), wire[data:stop])
        out = wire[data : data + shape.skip]
        rest = data + shape.skip
        for _ in range(shape.names):
            name, rest = expand(wire, rest, stop) or (b"\0", stop)
            out += name
        out += wire[rest:stop]
        owner, _ = expand(wire, at, stop) or (b"\0", stop)
        yield owner + wire[ttl_at - 4 : ttl_at + 4] + len(out).to_bytes(2) + out
        at = stop
