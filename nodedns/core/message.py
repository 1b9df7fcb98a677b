"""DNS bytes, in and out: the slow twin of native/wire.c and render.c: its signatures and, to the octet, its results.

Read this first, then the C: the rules are the same, native/wire.h is the manual of both. An upstream's reply becomes an
entry in core.replies; names are in core.names, the shared table's read rule in core.table.
A query becomes (verdict, key, client): the key finds an entry, the client record says how to write its answer.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum, IntFlag

from nodedns.core.entries import Entry, entry_ok, hash
from nodedns.core.names import HEADER, MESSAGE_MAX, NAME_MAX, expand, plain_length
from nodedns.core.replies import failure_entry, make_entry

__all__ = [
    "Client",
    "ClientFlag",
    "Verdict",
    "entry_ok",
    "error",
    "failure_entry",
    "hash",
    "make_entry",
    "make_query",
    "parse_query",
    "render",
]

UDP_PLAIN = 512  # RFC 1035 4.2.1: the limit without EDNS
UDP_MAX = 1232  # DNS Flag Day 2020; below RFC 9715's 1400
NO_EDE = 0xFFFF
KEY_DO, KEY_CD = 1, 2

_TYPE_OPT, _TYPE_TKEY, _TYPE_TSIG, _TYPE_IXFR, _TYPE_AXFR, _TYPE_ANY = 41, 249, 250, 251, 252, 255
_OPTION_EDE = 15  # RFC 8914 2
_QR, _TC, _RD = 0x80, 0x02, 0x01  # third octet of the header (RFC 1035 4.1.1)
_RA, _AD, _CD = 0x80, 0x20, 0x10  # fourth octet (RFC 4035 3.1.6, 3.2.2)
_TTL_DO = 0x8000  # of the OPT's TTL field (RFC 6891 6.1.4)


class Verdict(IntEnum):
    """What a client's packet asks of us; everything but OK is answered by error(), or not at all."""

    OK = 0
    DROP = 1  # shorter than a header, or QR=1: answering could loop (RFC 8906)
    FORMERR = 2
    NOTIMP = 3  # an opcode other than QUERY
    BADVERS = 4  # EDNS version above 0 (RFC 6891 6.1.3)
    REFUSED = 5  # AXFR, IXFR: a cache has no zone to transfer
    ANY = 6  # ANY over UDP: a synthesised HINFO (RFC 8482 4.2)
    INVALID = 7  # a name under invalid.: NXDOMAIN without asking anybody (RFC 6761 6.4)


_INVALID = b"\7invalid\0"
_RCODE = dict(zip(Verdict, (2, 0, 1, 4, 0, 5, 0, 3), strict=True))


class ClientFlag(IntFlag):
    RD = 1
    CD = 2
    AD = 4
    DO = 8
    EDNS = 16


@dataclass
class Client:
    """What is kept of a query until its answer is written: `struct client`, in this host's byte order."""

    id: bytes = b"\0\0"
    udp_size: int = UDP_PLAIN
    flags: int = 0
    opcode: int = 0
    question: bytes = b""  # name, type, class as the client wrote them (0x20 case kept); empty: none could be parsed

    LAYOUT = struct.Struct(f"=2sHBBH{NAME_MAX + 4}sx")

    def pack(self) -> bytes:
        return self.LAYOUT.pack(self.id, self.udp_size, self.flags, self.opcode, len(self.question), self.question)

    @classmethod
    def unpack(cls, record: bytes) -> "Client":
        """ValueError for octets that pack() cannot have made."""
        if len(record) != cls.LAYOUT.size:
            raise ValueError(f"client: expected {cls.LAYOUT.size} octets as parse_query gives, got {len(record)}")
        id, udp_size, flags, opcode, length, question = cls.LAYOUT.unpack(record)
        if length > len(question) or not UDP_PLAIN <= udp_size <= UDP_MAX:
            raise ValueError(f"client: not of parse_query: question of {length} octets, UDP size {udp_size}")
        return cls(id, udp_size, flags, opcode, question[:length])

    def key(self) -> bytes:
        """Question with the name (not the type: 65 is "A") in lower case, then KEY_* flags."""
        flags = (KEY_DO if self.flags & ClientFlag.DO else 0) | (KEY_CD if self.flags & ClientFlag.CD else 0)
        return self.question[:-4].lower() + self.question[-4:] + bytes([flags])


def parse_query(packet: bytes, tcp: bool = False) -> tuple[int, bytes | None, bytes]:
    """(verdict, key, client): what a client's packet asks. The key is None when no question could be parsed."""
    client = Client()
    verdict = _parse(packet, tcp, client)
    return int(verdict), client.key() if client.question else None, client.pack()


def _parse(packet: bytes, tcp: bool, client: Client) -> Verdict:
    """Fills `client` as far as the packet can be understood: even a FORMERR should echo id, opcode and question."""
    if len(packet) < HEADER or packet[2] & _QR:
        return Verdict.DROP
    client.id, client.opcode = packet[:2], packet[2] >> 3 & 15
    for octet, bit, flag in ((2, _RD, ClientFlag.RD), (3, _CD, ClientFlag.CD), (3, _AD, ClientFlag.AD)):
        client.flags |= flag if packet[octet] & bit else 0
    if client.opcode != 0:
        return Verdict.NOTIMP
    questions, answers, authorities, additionals = struct.unpack_from("!4H", packet, 4)
    length = plain_length(packet, HEADER)
    at = HEADER + length + 4
    if questions != 1 or not length or at > len(packet):
        return Verdict.FORMERR  # RFC 9619 for the count
    client.question = packet[HEADER:at]
    by_type = _verdict_of_type(int.from_bytes(packet[at - 4 : at - 2], "big"), tcp)
    # An IXFR carries its SOA in the authority section (RFC 1995 3); no other query has records there.
    if answers or (authorities and by_type is not Verdict.REFUSED):
        return Verdict.FORMERR
    version = 0
    for _ in range(authorities + additionals):
        record = _parse_record(packet, at, client)
        if record is None:
            return Verdict.FORMERR
        at, version = record[0], max(version, record[1])
    if at != len(packet):
        return Verdict.FORMERR
    if version or by_type is not Verdict.OK:
        return Verdict.BADVERS if version else by_type
    return Verdict.INVALID if _is_invalid(client.question[:-4].lower()) else Verdict.OK


def _is_invalid(name: bytes) -> bool:
    """Labels are walked, not searched: one label may hold another's length."""
    while len(name) > len(_INVALID):
        name = name[1 + name[0] :]
    return name == _INVALID


def _verdict_of_type(type: int, tcp: bool) -> Verdict:
    if type in (_TYPE_AXFR, _TYPE_IXFR):
        return Verdict.REFUSED
    if type in (0, _TYPE_OPT, _TYPE_TKEY, _TYPE_TSIG):
        return Verdict.FORMERR  # not question types
    return Verdict.ANY if type == _TYPE_ANY and not tcp else Verdict.OK


def _parse_record(packet: bytes, at: int, client: Client) -> tuple[int, int] | None:
    """(offset behind, EDNS version) of the record at packet[at:]; None when malformed. An OPT fills `client`, anything
    else (a TSIG we do not check) is stepped over."""
    name = expand(packet, at, len(packet))
    if name is None or name[1] + 10 > len(packet):
        return None
    owner, at = name
    type, size, ttl, length = struct.unpack_from("!HHIH", packet, at)
    data, end = at + 10, at + 10 + length
    if end > len(packet):
        return None
    if type != _TYPE_OPT:
        return end, 0
    if len(owner) != 1 or client.flags & ClientFlag.EDNS:
        return None  # RFC 6891 6.1.1: root name, at most one
    client.flags |= ClientFlag.EDNS | (ClientFlag.DO if ttl & _TTL_DO else 0)
    client.udp_size = min(max(size, UDP_PLAIN), UDP_MAX)
    # Options are hop-by-hop and none is ours: only their framing is checked.
    while data < end:
        data += 4 + (int.from_bytes(packet[data + 2 : data + 4], "big") if data + 4 <= end else 0)
    return (end, ttl >> 16 & 0xFF) if data == end else None


def make_query(key: bytes, id: int) -> bytes:
    """The query an upstream gets: RD=1, AD=1 (one entry serves both, RFC 6840 5.7), CD and DO from the key, our OPT."""
    flags = key[-1]
    header = struct.pack("!HBB4H", id, _RD, _AD | (_CD if flags & KEY_CD else 0), 1, 0, 0, 1)
    return header + key[:-1] + _opt(0, bool(flags & KEY_DO), b"")


def _opt(extended: int, dnssec_ok: bool, ede: bytes) -> bytes:
    """Our OPT (RFC 6891 6.1.2): size 1232, version 0, `extended` = upper 8 bits of the rcode; an EDE if any."""
    option = struct.pack("!HH", _OPTION_EDE, len(ede)) + ede if ede else b""
    ttl = extended << 24 | (_TTL_DO if dnssec_ok else 0)
    return struct.pack("!BHHIH", 0, _TYPE_OPT, UDP_MAX, ttl, len(option)) + option


def _head(client: Client, tc: bool, ad: bool, rcode: int, counts: tuple[int, int, int, int]) -> bytes:
    """RA always; AD for a client that asked with DO or AD (RFC 6840 5.7); RD and CD are copied (RFC 4035 3.1.6)."""
    wants_ad = client.flags & (ClientFlag.DO | ClientFlag.AD)
    third = _QR | client.opcode << 3 & 0xFF | (_TC if tc else 0) | (_RD if client.flags & ClientFlag.RD else 0)
    fourth = _RA | (_AD if ad and wants_ad else 0) | (_CD if client.flags & ClientFlag.CD else 0) | rcode & 15
    return client.id + struct.pack("!BB4H", third, fourth, *counts)


def render(entry: bytes, client: bytes, now: int, limit: int) -> bytes:
    """The answer for a client, at most `limit` octets (65535 for TCP, the client's size for UDP), TTLs aged by
    now - inserted. ValueError for a blob whose offsets are not consistent, another question's client, a limit outside
    [512, 65535].

    What does not fit is dropped from the end, the explanation (EDE) first; TC=1 only when an answer or authority record
    was dropped (RFC 2181 9).
    """
    asker = Client.unpack(client)
    if not entry_ok(entry) or not UDP_PLAIN <= limit <= MESSAGE_MAX:
        raise ValueError(f"render: {len(entry)} octets that are no consistent entry, or limit {limit}")
    e = Entry.unpack(entry)
    if e.question_len != len(asker.question):
        raise ValueError(f"render: question of {e.question_len} octets, the client's has {len(asker.question)}")
    edns, wants_dnssec = bool(asker.flags & ClientFlag.EDNS), bool(asker.flags & ClientFlag.DO)
    opt = _opt(0, wants_dnssec, e.ede) if edns else b""
    if edns and len(e.wire) + len(opt) > limit:
        opt = _opt(0, wants_dnssec, b"")
    end, counts, tc = _fit(e, limit - len(opt))
    out = bytearray(e.wire[:end])
    out[:HEADER] = _head(asker, tc, bool(e.ad), e.rcode, (1, counts[0], counts[1], counts[2] + edns))
    out[HEADER : HEADER + e.question_len] = asker.question
    if e.rotate:
        _rotate(e, counts[0], int.from_bytes(asker.id, "big"), out)
    age = max(now - e.inserted, 0) // 1000
    for at in e.ttl_at[: sum(counts)]:
        ttl = int.from_bytes(out[at : at + 4], "big")
        out[at : at + 4] = max(ttl - age, 0).to_bytes(4, "big")
    return bytes(out) + opt


def _records(e: Entry) -> Iterator[tuple[int, int]]:
    """(section, end in the wire) of each record."""
    sections = (section for section in range(3) for _ in range(e.section[section]))
    for section, at in zip(sections, e.ttl_at, strict=True):
        yield section, at + 6 + int.from_bytes(e.wire[at + 4 : at + 6], "big")


def _rotate(e: Entry, count: int, by: int, out: bytearray) -> None:
    """Turns the data of neighbouring addresses of one owner by `by`, among the first `count` records."""
    start, before, runs = HEADER + e.question_len, (b"", 0), list[list[int]]()
    for at in e.ttl_at[:count]:
        size = int.from_bytes(e.wire[at + 4 : at + 6], "big")
        head = e.wire[start:at], size
        if head != before:
            runs.append([])
        if e.wire[at - 4 : at - 2] in (b"\0\1", b"\0\x1c"):
            runs[-1].append(at + 6)
        start, before = at + 6 + size, head
    for run in runs:
        for k, data in enumerate(run):
            size = int.from_bytes(e.wire[data - 2 : data], "big")
            source = run[(k + by) % len(run)]
            out[data : data + size] = e.wire[source : source + size]


def _fit(e: Entry, room: int) -> tuple[int, list[int], bool]:
    """(end in the wire, records of each section, TC) of the whole records that fit."""
    end, counts = HEADER + e.question_len, [0, 0, 0]
    for section, stop in _records(e):
        if stop > room:
            return end, counts, section < 2
        end = stop
        counts[section] += 1
    return end, counts, False


def error(verdict: int, client: bytes, ede: int = NO_EDE) -> bytes:
    """The answer of a verdict that is not OK; b"" for DROP. Verdict 0 gives SERVFAIL. ede: an INFO-CODE of RFC 8914.
    ValueError for a verdict that this client cannot have had."""
    asker = Client.unpack(client)
    if verdict not in tuple(Verdict) or (verdict == Verdict.ANY and not asker.question):
        raise ValueError(f"error: no such verdict for this client: {verdict}")
    if verdict == Verdict.DROP:
        return b""
    edns = bool(asker.flags & ClientFlag.EDNS)
    counts = (1 if asker.question else 0, 1 if verdict == Verdict.ANY else 0, 0, 1 if edns else 0)
    out = _head(asker, False, False, _RCODE[Verdict(verdict)], counts) + asker.question
    if verdict == Verdict.ANY:  # RFC 8482 4.2: CPU "RFC8482", OS empty, the asker's class; TTL as in the RFC's example
        out += struct.pack("!HH2sIH", 0xC00C, 13, asker.question[-2:], 3600, 9) + b"\7RFC8482\0"
    if edns:
        extended = 1 if verdict == Verdict.BADVERS else 0
        out += _opt(extended, bool(asker.flags & ClientFlag.DO), b"" if ede == NO_EDE else ede.to_bytes(2, "big"))
    return out
