"""What the tables of this room are made of: packets built octet by octet, replies built with dnslib from zone text."""

import struct
from collections.abc import Sequence

from dnslib import QTYPE, RR, DNSHeader, DNSQuestion, DNSRecord

from nodedns.core.message import Client

NOW = 1_000_000  # ms of CLOCK_BOOTTIME
SEED = 0x0123456789ABCDEF
ZONE_TAG, ZONE = 77, 3
# success_max, success_min, denial_max, denial_min, failure (seconds), zone_tag, zone: no two numbers alike, so none
# can stand in for another.
POLICY = (3000, 6, 900, 4, 7, ZONE_TAG, ZONE)
# www.example.com. IN A in 0x20 case (draft-vixie-dnsext-dns0x20): the case must come back
NAME = b"\3wWw\7eXample\3COM\0"
LOWER = NAME.lower()
A, AAAA, SOA, ANY, IXFR, AXFR, OPT, TSIG = 1, 28, 6, 255, 251, 252, 41, 250


def question(name: bytes = NAME, qtype: int = A, qclass: int = 1) -> bytes:
    return name + struct.pack("!HH", qtype, qclass)


def packet(
    body: bytes | None = None,
    counts: Sequence[int] = (1, 0, 0, 0),
    flags: int = 0x0100,
    id: int = 0x1234,
) -> bytes:
    """A message of any shape: `body` behind a header whose counts may lie. flags: 0x0100 is a query with RD."""
    return struct.pack("!6H", id, flags, *counts) + (question() if body is None else body)


def record(type: int, rdata: bytes = b"", owner: bytes = b"\0", rclass: int = 1, ttl: int = 0) -> bytes:
    return owner + struct.pack("!HHIH", type, rclass, ttl, len(rdata)) + rdata


def opt(size: int = 1232, ttl: int = 0, options: bytes = b"") -> bytes:
    """ttl: extended rcode (8 bits), version (8), DO (0x8000), zero (RFC 6891 6.1.3)."""
    return record(OPT, options, rclass=size, ttl=ttl)


def option(code: int, data: bytes) -> bytes:
    return struct.pack("!HH", code, len(data)) + data


def labels(*lengths: int) -> bytes:
    """A name of labels of these lengths."""
    return b"".join(bytes([length]) + b"x" * length for length in lengths) + b"\0"


def plain(name: str) -> bytes:
    """A dotted name in wire form, uncompressed, its case kept."""
    return b"".join(bytes([len(label)]) + label.encode() for label in name.rstrip(".").split(".") if label) + b"\0"


def key_of(name: str, qtype: str = "A", flags: int = 0) -> bytes:
    return question(plain(name).lower(), QTYPE.reverse[qtype]) + bytes([flags])


def reply(  # noqa: PLR0917 - a message has as many parts
    name: str,
    qtype: str = "A",
    answer: str = "",
    authority: str = "",
    additional: str = "",
    rcode: int = 0,
) -> DNSRecord:
    """An upstream's reply, sections given as zone text."""
    header = DNSHeader(id=0, qr=1, ra=1, rd=1, rcode=rcode)
    found = DNSRecord(header, q=DNSQuestion(name, QTYPE.reverse[qtype]))
    for text, add in ((answer, found.add_answer), (authority, found.add_auth), (additional, found.add_ar)):
        add(*RR.fromZone(text))
    return found


def client(name: str, qtype: str = "A", flags: int = 0, udp_size: int = 1232) -> bytes:
    """A client record for a question; flags as in ClientFlag."""
    return Client(b"\xab\xcd", udp_size, flags, 0, question(plain(name), QTYPE.reverse[qtype])).pack()


def records(message: DNSRecord) -> list[list[tuple[str, int, int, str]]]:
    """What must survive: owner, type, class and data of every record but OPT, by section; TTLs aside."""
    return [
        [(str(rr.rname).lower(), rr.rtype, rr.rclass, str(rr.rdata).lower()) for rr in section if rr.rtype != OPT]
        for section in (message.rr, message.auth, message.ar)
    ]
