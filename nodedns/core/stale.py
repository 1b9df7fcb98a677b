"""Serve-stale (RFC 8767): how long an entry may be given after its end, and the entry that is given then.

A stale answer goes back into the table for a short life of its own, the failure recheck timer. So while no server
answers, hits stay hits, each name is asked for once in that time, and who asks is told by Extended DNS Errors (RFC
8914).
"""

import struct
from dataclasses import replace

from nodedns.core.entries import DENIAL, FAILURE, Entry

CLIENT_TIMER = 1.7
"""Seconds a client waits before it gets a stale answer: RFC 8767 section 5 says 1.8, and our clock ticks in tenths."""
RECHECK = 30
"""Seconds the servers are left alone with a name, and the TTL clients get (sections 4 and 5)."""

_STALE_ANSWER, _STALE_NXDOMAIN = 3, 19  # RFC 8914 sections 4.4 and 4.20
_NXDOMAIN = 3
_EXPIRES = struct.Struct("=Q")  # at 16 and, as stale_until, at 24 of struct entry; at 8 is `inserted`
_KIND, _RCODE = 52, 54


def is_failure(entry: bytes) -> bool:
    """Has it neither records nor the word of anybody that there are none?"""
    return entry[_KIND] == FAILURE


def rcode(entry: bytes) -> int:
    """What it says."""
    return entry[_RCODE]


def is_denial(entry: bytes) -> bool:
    """Does it say that there is no such name, or nothing of the type?"""
    return entry[_KIND] == DENIAL


def kept(entry: bytes, seconds: int) -> bytes:
    """The entry, to be given for `seconds` after its end; a failure never (RFC 8767 section 6)."""
    if is_failure(entry):
        return entry
    until = _EXPIRES.unpack_from(entry, 16)[0] + 1000 * seconds
    return entry[:24] + _EXPIRES.pack(until) + entry[32:]


def lasting(entry: bytes, seconds: int) -> bytes:
    """The entry with another life, from its beginning on."""
    until = _EXPIRES.pack(_EXPIRES.unpack_from(entry, 8)[0] + 1000 * seconds)
    return entry[:16] + until * 2 + entry[32:]


def is_over(entry: bytes, now: int) -> bool:
    """Has its life ended, by `now` in ms?"""
    return int(_EXPIRES.unpack_from(entry, 16)[0]) <= now


def revived(blob: bytes, now: int) -> bytes:
    """An expired entry as it is given from now on, in ms."""
    entry = Entry.unpack(blob)
    wire = bytearray(entry.wire)
    for at in entry.ttl_at:
        wire[at : at + 4] = RECHECK.to_bytes(4)
    ede = _STALE_NXDOMAIN if entry.rcode == _NXDOMAIN else _STALE_ANSWER
    expires = min(now + 1000 * RECHECK, max(entry.stale_until, now + 1000))
    return replace(entry, inserted=now, expires=expires, wire=bytes(wire), ede=ede.to_bytes(2), stale=1).pack()
