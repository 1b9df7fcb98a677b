"""An upstream's reply -> an entry: the slow twin of native/entry.c.

Every record is read to its end and every name expanded and compressed anew, so what is stored is well-formed whatever
came in. Only the rules of time (TTLs) and of what is kept (no OPT, no TSIG) are decisions; the rest is careful reading.
"""

import struct
from dataclasses import dataclass
from itertools import groupby

from nodedns.core.entries import DENIAL, EDE_MAX, FAILURE, RECORDS_MAX, SUCCESS, Entry, hash
from nodedns.core.names import HEADER, TooLong, Writer, expand, plain_length

OK, MALFORMED, MISMATCH, TRUNCATED, TOO_LONG = range(5)  # verdicts on a reply

_NO_SOA_LIFE = 5  # seconds. RFC 2308 5 forbids caching a denial without SOA; 5 s protect the upstream, as in CoreDNS
_TYPE_A, _TYPE_SOA, _TYPE_AAAA, _TYPE_NAPTR, _TYPE_OPT, _TYPE_TSIG, _TYPE_ANY = 1, 6, 28, 35, 41, 250, 255
_CLASS_IN = 1
_OPTION_EDE = 15  # RFC 8914 2
_NOERROR, _SERVFAIL, _NXDOMAIN = 0, 2, 3

# success_max, success_min, denial_max, denial_min, failure: seconds; zone_tag, zone: as in the entry
Policy = tuple[int, int, int, int, int, int, int]


@dataclass(frozen=True)
class Shape:
    """How RDATA is made up: `skip` octets, `names`, then exactly `tail` octets (None: as many as there are)."""

    skip: int
    names: int
    compress: bool  # may be sent compressed: RFC 1035's own types only
    tail: int | None = 0


_NAME = Shape(0, 1, True)
_OPAQUE = Shape(0, 0, False, None)
# RFC 3597 4 lists the types whose names may arrive compressed. NAPTR's shape depends on its octets: see shape_of().
_SHAPES = {
    **dict.fromkeys((2, 3, 4, 5, 7, 8, 9, 12), _NAME),  # NS MD MF CNAME MB MG MR PTR
    _TYPE_SOA: Shape(0, 2, True, 20),
    14: Shape(0, 2, True),  # MINFO
    15: Shape(2, 1, True),  # MX
    17: Shape(0, 2, False),  # RP
    18: Shape(2, 1, False),  # AFSDB
    21: Shape(2, 1, False),  # RT
    24: Shape(18, 1, False, None),  # SIG
    26: Shape(2, 2, False),  # PX
    30: Shape(0, 1, False, None),  # NXT
    33: Shape(6, 1, False),  # SRV
    36: Shape(2, 1, False),  # KX
    39: Shape(0, 1, False),  # DNAME
}


class _Refused(Exception):
    """Why a reply does not become an entry; args[0] is the verdict."""


@dataclass
class _Record:
    ttl: int
    set: tuple[bytes, int, int]  # owner in lower case, type, class: neighbours of one set share a TTL (RFC 2181 5.2)
    ttl_at: int


class _Reader:
    """Reads a reply's records and writes them anew."""

    def __init__(self, key: bytes, reply: bytes, at: int) -> None:
        self.reply, self.at, self.qtype = reply, at, int.from_bytes(key[-5:-3], "big")
        self.writer = Writer(bytearray(HEADER))
        self.writer.put_name(key[:-5], compress=False)
        self.writer.put(key[-5:-1])
        self.records: list[_Record] = []
        self.section = [0, 0, 0]
        self.answered = self.has_opt = False
        self.extended = 0  # upper 8 bits of the rcode, from the OPT
        self.negative: int | None = None  # min(SOA TTL, SOA.minimum), seconds
        self.ede = b""

    def read_sections(self) -> None:
        for section, count in enumerate(struct.unpack_from("!3H", self.reply, 6)):
            for _ in range(count):
                self._record(section)
        if self.at != len(self.reply):
            raise _Refused(MALFORMED)

    def _record(self, section: int) -> None:
        name = expand(self.reply, self.at, len(self.reply))
        if name is None or name[1] + 10 > len(self.reply):
            raise _Refused(MALFORMED)
        owner, at = name
        type, class_, ttl, length = struct.unpack_from("!HHIH", self.reply, at)
        data, stop = at + 10, at + 10 + length
        if stop > len(self.reply):
            raise _Refused(MALFORMED)
        self.at = stop
        if type in (_TYPE_OPT, _TYPE_TSIG):  # hop-by-hop: not kept
            if section != 2 or (type == _TYPE_OPT and len(owner) != 1):
                raise _Refused(MALFORMED)
            if type == _TYPE_OPT:
                self._opt(ttl, data, stop)
            return
        if len(self.records) == RECORDS_MAX:
            raise TooLong
        self.writer.put_name(owner, compress=True)
        self.writer.put(self.reply[at:data])
        ttl_at = len(self.writer.out) - 6
        self.records.append(_Record(ttl, (owner.lower(), type, class_), ttl_at))
        self._rdata(type, class_, data, stop)
        self.writer.out[ttl_at + 4 : ttl_at + 6] = (len(self.writer.out) - ttl_at - 6).to_bytes(2, "big")
        self.section[section] += 1
        self.answered |= section == 0 and self.qtype in (type, _TYPE_ANY)
        if section == 1 and type == _TYPE_SOA and self.negative is None:
            self.negative = min(ttl, int.from_bytes(self.reply[stop - 4 : stop], "big"))

    def _rdata(self, type: int, class_: int, at: int, stop: int) -> None:
        shape = shape_of(type, self.reply[at:stop])
        wrong_address = class_ == _CLASS_IN and {_TYPE_A: 4, _TYPE_AAAA: 16}.get(type, stop - at) != stop - at
        if wrong_address or at + shape.skip > stop:
            raise _Refused(MALFORMED)
        self.writer.put(self.reply[at : at + shape.skip])
        at += shape.skip
        for _ in range(shape.names):
            name = expand(self.reply, at, stop)
            if name is None:
                raise _Refused(MALFORMED)
            self.writer.put_name(name[0], shape.compress)
            at = name[1]
        if shape.tail is not None and stop - at != shape.tail:
            raise _Refused(MALFORMED)
        self.writer.put(self.reply[at:stop])

    def _opt(self, ttl: int, at: int, stop: int) -> None:
        """Takes the upper rcode bits and the first Extended DNS Error."""
        if self.has_opt:
            raise _Refused(MALFORMED)  # RFC 6891 6.1.1: at most one
        self.has_opt, self.extended = True, ttl >> 24
        while at < stop:
            code, length = struct.unpack_from("!HH", self.reply, at) if at + 4 <= stop else (0, stop)
            option = self.reply[at + 4 : at + 4 + length]
            at += 4 + length
            if at > stop:
                raise _Refused(MALFORMED)
            if code == _OPTION_EDE and length >= 2 and not self.ede:
                self.ede = _cut_ede(option)


def shape_of(type: int, rdata: bytes) -> Shape:
    """Of a record's data."""
    if type != _TYPE_NAPTR:
        return _SHAPES.get(type, _OPAQUE)
    at = 4  # order, preference, three character-strings, a name (RFC 3403 4.1)
    for _ in range(3):
        at += 1 + (rdata[at] if at < len(rdata) else 0)
    return Shape(at, 1, False)


def _cut_ede(option: bytes) -> bytes:
    """At most EDE_MAX octets, cut between characters of the UTF-8 text."""
    end = min(len(option), EDE_MAX)
    while 2 < end < len(option) and option[end] & 0xC0 == 0x80:
        end -= 1
    return option[:end]


def _check_head(key: bytes, reply: bytes) -> int:
    """Offset of the first record. A failure may have lost its question: some servers cut it from FORMERR."""
    if len(reply) < HEADER or not reply[2] & 0x80 or reply[2] >> 3 & 15:
        raise _Refused(MISMATCH)
    questions = int.from_bytes(reply[4:6], "big")
    if questions == 0 and len(reply) == HEADER and reply[3] & 15 not in (_NOERROR, _NXDOMAIN):
        return HEADER
    end = HEADER + plain_length(reply, HEADER) + 4
    asked = reply[HEADER : end - 4].lower() + reply[end - 4 : end]
    if questions != 1 or end == HEADER + 4 or asked != key[:-1]:
        raise _Refused(MISMATCH)
    if reply[2] & 2:
        raise _Refused(TRUNCATED)
    return end


def _clamp(value: int, low: int, high: int) -> int:
    return min(max(value, low), high)


def _set_ttls(reader: _Reader, policy: Policy, denial: bool) -> int:
    """Writes the TTLs: within the policy, equal inside an RRset. Returns the least: the entry's life in seconds."""
    high, low = policy[2:4] if denial else policy[0:2]
    soa = min(_NO_SOA_LIFE, high) if reader.negative is None else _clamp(reader.negative, low, high)
    life = soa if denial else high
    for (_, type, _), rrset in groupby(reader.records, key=lambda record: record.set):
        members = list(rrset)
        ttl = _clamp(min(record.ttl for record in members), low, high)
        if denial and type == _TYPE_SOA:
            ttl = min(ttl, soa)  # RFC 2308 5: the SOA of a denial says how long the denial holds
        life = min(life, ttl)
        for record in members:
            reader.writer.out[record.ttl_at : record.ttl_at + 4] = ttl.to_bytes(4, "big")
    return life


def make_entry(key: bytes, reply: bytes, seed: int, policy: Policy, now: int) -> bytes | int:
    """An entry, or the verdict (MALFORMED, MISMATCH, TRUNCATED, TOO_LONG) why not. Seconds in the policy, `now` in ms.

    A denial lives min(SOA TTL, SOA.minimum) within the policy (RFC 2308 5). Any rcode but NOERROR and NXDOMAIN is a
    FAILURE without records, which keeps the upstream's Extended DNS Error.
    """
    try:
        reader = _Reader(key, reply, _check_head(key, reply))
        reader.read_sections()
    except _Refused as refused:
        return int(refused.args[0])
    except TooLong:
        return TOO_LONG
    *_, failure_life, zone_tag, zone = policy
    rcode = _SERVFAIL if reader.extended else reply[3] & 15
    if rcode not in (_NOERROR, _NXDOMAIN):
        return failure_entry(key, seed, rcode, reader.ede, failure_life, zone, zone_tag, now)
    kind = SUCCESS if rcode == _NOERROR and reader.answered else DENIAL
    life = _set_ttls(reader, policy, kind == DENIAL)
    an, ns, ar = reader.section
    reader.writer.out[:HEADER] = struct.pack("!6H", 0, 0, 1, an, ns, ar)
    return Entry(
        *_head(key, seed, life, zone, zone_tag, now, kind, rcode),
        wire=bytes(reader.writer.out),
        ttl_at=tuple(record.ttl_at for record in reader.records),
        section=(an, ns, ar),
        ede=reader.ede,
        ad=reply[3] >> 5 & 1,
    ).pack()


def failure_entry(  # noqa: PLR0917 - native's signature
    key: bytes, seed: int, rcode: int, ede: bytes, ttl: int, zone: int, zone_tag: int, now: int
) -> bytes:
    """An entry without records, `ttl` seconds; ede = INFO-CODE and EXTRA-TEXT in wire form, b"" for none."""
    kept = ede[:EDE_MAX] if len(ede) >= 2 else b""
    wire = struct.pack("!6H", 0, 0, 1, 0, 0, 0) + key[:-1]
    return Entry(*_head(key, seed, ttl, zone, zone_tag, now, FAILURE, rcode & 15), wire=wire, ede=kept).pack()


def _head(  # noqa: PLR0917 - the fields of struct entry that both kinds of entry compute alike
    key: bytes, seed: int, life: int, zone: int, zone_tag: int, now: int, kind: int, rcode: int
) -> tuple[int, int, int, int, int, int, int, int, int, int]:
    expires = now + 1000 * life
    return hash(key, seed), now, expires, expires, zone_tag, zone, len(key) - 1, kind, key[-1], rcode
