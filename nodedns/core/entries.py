"""The entry: what a cache slot holds and every answer is written from. native/wire.h draws it."""

import struct
from dataclasses import dataclass

from nodedns.core.names import HEADER, NAME_MAX

SUCCESS, DENIAL, FAILURE = 0, 1, 2  # kinds of an entry
EDE_MAX = 2 + 96  # INFO-CODE and as much EXTRA-TEXT as a person reads in a log line
RECORDS_MAX = 6000  # a record takes 11 octets at least, a message has 65535

_MASK = (1 << 64) - 1


@dataclass
class Entry:
    """`struct entry`, in this host's byte order, and what stands behind it."""

    hash: int
    inserted: int  # ms of CLOCK_BOOTTIME, as are the next two
    expires: int
    stale_until: int
    zone_tag: int
    zone: int
    question_len: int
    kind: int
    key_flags: int
    rcode: int
    wire: bytes  # a reply without OPT: header of which only the counts mean something, question in lower case, records
    ttl_at: tuple[int, ...] = ()  # offset in wire of each record's TTL
    section: tuple[int, int, int] = (0, 0, 0)
    ede: bytes = b""
    ad: int = 0
    rotate: int = 0
    stale: int = 0

    LAYOUT = struct.Struct("=QQQQIHHH3HHHBBBB4xBB2x")

    def pack(self) -> bytes:
        head = self.LAYOUT.pack(
            *(self.hash, self.inserted, self.expires, self.stale_until, self.zone_tag, self.zone, len(self.wire)),
            *(len(self.ttl_at), *self.section, self.question_len, len(self.ede)),
            *(self.kind, self.key_flags, self.rcode, self.ad, self.rotate, self.stale),
        )
        even = b"\0" * (len(self.wire) & 1)
        return head + self.wire + even + struct.pack(f"<{len(self.ttl_at)}H", *self.ttl_at) + self.ede

    @classmethod
    def unpack(cls, blob: bytes) -> "Entry":
        """ValueError when the blob's length is not what its header says; offsets are left to entry_ok()."""
        if len(blob) < cls.LAYOUT.size:
            raise ValueError(f"entry: expected a header of {cls.LAYOUT.size} octets, got {len(blob)}")
        fields = cls.LAYOUT.unpack_from(blob)
        hash, inserted, expires, stale_until, zone_tag, zone, wire_len, records, an, ns, ar, *rest = fields
        question_len, ede_len, kind, key_flags, rcode, ad, rotate, stale = rest
        ttls = cls.LAYOUT.size + (wire_len + 1 & ~1)
        ede = ttls + 2 * records
        if ede + ede_len != len(blob):
            raise ValueError(f"entry: expected {ede + ede_len} octets by its header, got {len(blob)}")
        return cls(
            *(hash, inserted, expires, stale_until, zone_tag, zone, question_len, kind, key_flags, rcode),
            wire=blob[cls.LAYOUT.size : cls.LAYOUT.size + wire_len],
            ttl_at=struct.unpack_from(f"<{records}H", blob, ttls),
            section=(an, ns, ar),
            ede=blob[ede:],
            ad=ad,
            rotate=rotate,
            stale=stale,
        )

    @property
    def key(self) -> bytes:
        return self.wire[HEADER : HEADER + self.question_len] + bytes([self.key_flags])


def hash(key: bytes, seed: int) -> int:
    """Keyed 64-bit hash (folded 64x64 multiply, as wyhash); `seed` is the table's secret."""

    def fold(a: int) -> int:
        product = a * 0xA0761D6478BD642F  # wyhash's first secret: odd, as many ones as zeros
        return product & _MASK ^ product >> 64

    h = (seed ^ len(key)) & _MASK
    whole = len(key) & ~7
    for at in range(0, whole, 8):
        h = fold(h ^ int.from_bytes(key[at : at + 8], "little")) + seed & _MASK
    return fold(fold(h ^ int.from_bytes(key[whole:], "little")) + seed & _MASK)


def entry_ok(blob: bytes) -> bool:
    """True when the blob's lengths and offsets are consistent: what stands between a damaged slot and an overrun."""
    try:
        e = Entry.unpack(blob)
    except ValueError:
        return False
    lengths_ok = 5 <= e.question_len <= NAME_MAX + 4 and len(e.ede) != 1 and len(e.ede) <= EDE_MAX
    if not lengths_ok or e.kind > FAILURE or len(e.ttl_at) > RECORDS_MAX or sum(e.section) != len(e.ttl_at):
        return False
    end = HEADER + e.question_len
    for at in e.ttl_at:  # records follow one another: owner >= 1, type, class, TTL, RDLENGTH, RDATA
        if at < end + 5 or at + 6 > len(e.wire):
            return False
        end = at + 6 + int.from_bytes(e.wire[at + 4 : at + 6], "big")
    return end == len(e.wire)
