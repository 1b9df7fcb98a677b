"""An upstream's reply: what becomes an entry, for how long, and what does not. dnslib is the oracle of what is kept."""

from dataclasses import dataclass
from types import ModuleType

import pytest
from dnslib import DNSRecord
from samples import (
    NOW,
    POLICY,
    SEED,
    TSIG,
    ZONE,
    ZONE_TAG,
    A,
    client,
    key_of,
    labels,
    opt,
    option,
    question,
    record,
    records,
)
from samples import packet as raw
from samples import reply as build

from nodedns.core.entries import DENIAL, FAILURE, SUCCESS, Entry
from nodedns.core.replies import MALFORMED, MISMATCH, TOO_LONG

SOA = "ns.dns.cluster.local. hostmaster.cluster.local. 1 7200 1800 86400"
RESPONSE = 0x8180  # QR, RD, RA
NAME = "www.example.com"
QUESTION = question(b"\3www\7example\3com\0")
AT = 12 + len(QUESTION)  # where the first record stands
TO_QUESTION = b"\xc0\x0c"


def entry_of(wire: ModuleType, name: str, qtype: str, reply: bytes | bytearray, flags: int = 0) -> Entry:
    """The entry made of a reply that must be fit for one."""
    blob = wire.make_entry(key_of(name, qtype, flags), bytes(reply), SEED, POLICY, NOW)
    assert isinstance(blob, bytes), f"verdict {blob}"
    return Entry.unpack(blob)


def answer_of(wire: ModuleType, name: str, qtype: str, entry: Entry) -> DNSRecord:
    """What dnslib reads of the answer a TCP client without EDNS gets at once."""
    return DNSRecord.parse(wire.render(entry.pack(), client(name, qtype), NOW, 65535))


@dataclass
class Case:
    """A reply in zone text; the kind and life (seconds) of its entry, the TTLs of its records."""

    name: str
    qtype: str
    kind: int
    life: int
    ttls: list[int]
    answer: str = ""
    authority: str = ""
    additional: str = ""
    rcode: int = 0


CASES = {
    "A": Case("a.b.", "A", SUCCESS, 300, [300], "a.b. 300 A 10.0.0.1"),
    "AAAA": Case("a.b.", "AAAA", SUCCESS, 30, [30], "a.b. 30 AAAA fd00::1"),
    "TTLs of a set made equal": Case("a.b.", "A", SUCCESS, 10, [10, 10], "a.b. 30 A 1.1.1.1\nA.B. 10 A 1.1.1.2"),
    "TTLs of sets apart": Case(
        *("a.b.", "A", SUCCESS, 10, [10, 20, 99]),
        answer="a.b. 10 CNAME c.b.\nc.b. 20 A 1.1.1.1",
        additional="d.b. 99 A 1.1.1.2",
    ),
    "TTL above and below the policy": Case(
        *("a.b.", "A", SUCCESS, 6, [3000, 6]), answer="a.b. 86400 CNAME c.b.\nc.b. 0 A 1.1.1.1"
    ),
    "TTL of 2^31": Case("a.b.", "A", SUCCESS, 3000, [3000], "a.b. 2147483648 A 1.1.1.1"),
    "TTL of 2^32-1": Case("a.b.", "A", SUCCESS, 3000, [3000], "a.b. 4294967295 A 1.1.1.1"),
    "CNAME chain": Case(
        *("a.b.", "A", SUCCESS, 20, [30, 20, 25]),
        answer="a.b. 30 CNAME c.b.\nc.b. 20 CNAME d.e.\nd.e. 25 A 10.0.0.1",
    ),
    "CNAME asked": Case("a.b.", "CNAME", SUCCESS, 30, [30], "a.b. 30 CNAME c.b."),
    "CNAME, then nothing": Case("a.b.", "A", DENIAL, 5, [30], "a.b. 30 CNAME c.b."),
    "CNAME, then NODATA": Case(
        *("a.b.", "A", DENIAL, 8, [30, 8]), answer="a.b. 30 CNAME c.b.", authority=f"b. 60 SOA {SOA} 8"
    ),
    "CNAME, then NXDOMAIN": Case(
        *("a.b.", "A", DENIAL, 8, [30, 8]), answer="a.b. 30 CNAME c.b.", authority=f"b. 60 SOA {SOA} 8", rcode=3
    ),
    "ANY": Case("a.b.", "ANY", SUCCESS, 10, [10, 20], "a.b. 10 A 10.0.0.1\na.b. 20 TXT x"),
    "ANY, nothing": Case("a.b.", "ANY", DENIAL, 5, []),
    "NXDOMAIN by SOA.minimum": Case("a.b.", "A", DENIAL, 30, [30], authority=f"b. 60 SOA {SOA} 30", rcode=3),
    "NXDOMAIN by SOA's TTL": Case("a.b.", "A", DENIAL, 60, [60], authority=f"b. 60 SOA {SOA} 300", rcode=3),
    "NODATA": Case("a.b.", "A", DENIAL, 30, [30], authority=f"b. 60 SOA {SOA} 30"),
    "denial above the cap": Case("a.b.", "A", DENIAL, 900, [900], authority=f"b. 9999 SOA {SOA} 9999", rcode=3),
    "denial below the floor": Case("a.b.", "A", DENIAL, 4, [4], authority=f"b. 60 SOA {SOA} 0", rcode=3),
    "NXDOMAIN without SOA": Case("a.b.", "A", DENIAL, 5, [], rcode=3),
    "NODATA with a delegation": Case("a.b.", "A", DENIAL, 5, [60], authority="b. 60 NS ns.b."),
    "signed denial": Case(
        *("a.b.", "A", DENIAL, 10, [10, 20]),
        authority=f"b. 60 SOA {SOA} 10\nb. 20 RRSIG SOA 8 1 60 20300101000000 20200101000000 1 b. AAAA",
        rcode=3,
    ),
    "SOA asked": Case("b.", "SOA", SUCCESS, 60, [60], f"b. 60 SOA {SOA} 10"),
    "TXT": Case("a.b.", "TXT", SUCCESS, 9, [9], 'a.b. 9 TXT "x" "y"'),
    "PTR": Case("1.0.0.10.in-addr.arpa.", "PTR", SUCCESS, 9, [9], "1.0.0.10.in-addr.arpa. 9 PTR a.b."),
    "MX": Case("a.b.", "MX", SUCCESS, 9, [9, 12], "a.b. 9 MX 10 m.a.b.", additional="m.a.b. 12 A 1.1.1.1"),
    "SRV, target compressed by dnslib": Case(
        *("_x._tcp.a.b.", "SRV", SUCCESS, 9, [9, 9, 12]),
        answer="_x._tcp.a.b. 9 SRV 0 50 80 p1.a.b.\n_x._tcp.a.b. 9 SRV 0 50 80 p2.a.b.",
        additional="p1.a.b. 12 A 1.1.1.1",
    ),
    "NAPTR": Case("a.b.", "NAPTR", SUCCESS, 9, [9], 'a.b. 9 NAPTR 100 10 "S" "SIP+D2U" "" _sip._udp.a.b.'),
    "DS and RRSIG": Case(
        *("a.b.", "DS", SUCCESS, 9, [9, 9]),
        answer="a.b. 9 DS 1 8 2 AABBCCDD\na.b. 9 RRSIG DS 8 2 60 20300101000000 20200101000000 1 b. AAAA",
    ),
    "HTTPS": Case("a.b.", "HTTPS", SUCCESS, 9, [9], "a.b. 9 HTTPS 1 . alpn=h3,h2 port=443"),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_entry(wire: ModuleType, case: Case) -> None:
    """Kind, life and TTLs follow the RFCs and the policy; the records are those that came in."""
    sent = build(case.name, case.qtype, case.answer, case.authority, case.additional, case.rcode)
    entry = entry_of(wire, case.name, case.qtype, sent.pack())
    answer = answer_of(wire, case.name, case.qtype, entry)
    assert (entry.kind, entry.expires - NOW, entry.rcode) == (case.kind, 1000 * case.life, case.rcode)
    assert [rr.ttl for section in (answer.rr, answer.auth, answer.ar) for rr in section] == case.ttls
    assert records(answer) == records(sent)


def test_entry_fields(wire: ModuleType) -> None:
    """What the table, the counters and a later render need stands in the header."""
    entry = entry_of(wire, "a.b.", "A", build("A.b.", "A", "a.b. 300 A 10.0.0.1").pack(), flags=3)
    assert (entry.hash, entry.key) == (wire.hash(key_of("a.b.", flags=3), SEED), key_of("a.b.", flags=3))
    assert (entry.inserted, entry.stale_until, entry.zone_tag, entry.zone) == (NOW, NOW + 300_000, ZONE_TAG, ZONE)
    assert (entry.section, entry.ede, entry.ad) == ((1, 0, 0), b"", 0)


@pytest.mark.parametrize("rcode", [1, 2, 4, 5, 9, 15])
def test_failure(wire: ModuleType, rcode: int) -> None:
    """Any rcode but NOERROR and NXDOMAIN is kept for the policy's failure time, without records (RFC 9520)."""
    entry = entry_of(wire, "a.b.", "A", build("a.b.", "A", "a.b. 300 A 10.0.0.1", rcode=rcode).pack())
    assert (entry.kind, entry.rcode, entry.expires - NOW, entry.ttl_at) == (FAILURE, rcode, 7000, ())


def test_extended_rcode_is_a_failure(wire: ModuleType) -> None:
    """BADVERS (16) has 0 in the header: without its OPT it would look like NODATA."""
    entry = entry_of(wire, NAME, "A", raw(QUESTION + opt(ttl=1 << 24), (1, 0, 0, 1), RESPONSE))
    assert (entry.kind, entry.rcode) == (FAILURE, 2)


@pytest.mark.parametrize(("rcode", "fit"), [(1, True), (4, True), (0, False), (3, False)])
def test_reply_without_question(wire: ModuleType, rcode: int, fit: bool) -> None:
    """Some servers cut the question from FORMERR; from an answer nobody may (RFC 5452 9.1)."""
    made = wire.make_entry(key_of("a.b."), raw(b"", (0, 0, 0, 0), RESPONSE | rcode), SEED, POLICY, NOW)
    assert made == MISMATCH if not fit else Entry.unpack(made).kind == FAILURE


UNKNOWN = bytes(range(256))
LONG_TEXT = b"\0\x16" + b"x" * 93 + "éé".encode()  # the 98th octet is inside the first é


@pytest.mark.parametrize(
    ("data", "kept"),
    [
        (b"\0\x16", b"\0\x16"),
        (b"\0\x16no one there", b"\0\x16no one there"),
        (LONG_TEXT[:97], LONG_TEXT[:97]),
        (LONG_TEXT + b"...", LONG_TEXT[:97]),
        (LONG_TEXT[:95] + b"xxx" + b"y" * 500, LONG_TEXT[:95] + b"xxx"),
        (b"\0\x16" + b"\x80" * 200, b"\0\x16"),
        (b"\0", b""),
    ],
    ids=["code", "text", "fits", "cut between characters", "cut", "no UTF-8", "too short to be one"],
)
def test_extended_error_is_kept(wire: ModuleType, data: bytes, kept: bytes) -> None:
    """RFC 8914: the upstream's reason is kept with the entry, whatever its kind, and cut to a line's length."""
    body = QUESTION + opt(options=option(10, b"12345678") + option(15, data) + option(15, b"\0\x01"))
    for rcode in (0, 2, 3):
        kept_now = kept or b"\0\x01"  # the first that is one
        assert entry_of(wire, NAME, "A", raw(body, (1, 0, 0, 1), RESPONSE | rcode)).ede == kept_now


def test_opt_in_the_middle(wire: ModuleType) -> None:
    """An OPT and a TSIG are taken out; a name behind them that points across the gap stays whole."""
    target = record(A, b"\1\1\1\1", b"\1x" + TO_QUESTION)
    behind = record(A, b"\1\1\1\2", b"\1y" + (0xC000 | 12 + len(QUESTION)).to_bytes(2, "big"))
    body = QUESTION + target + opt() + record(TSIG, b"\0" * 16) + behind
    entry = entry_of(wire, NAME, "A", raw(body, (1, 0, 0, 4), RESPONSE))
    answer = answer_of(wire, NAME, "A", entry)
    assert [str(rr.rname) for rr in answer.ar] == [f"x.{NAME}.", f"y.x.{NAME}."]
    assert answer.header.ar == 2


@pytest.mark.parametrize("type", [0, 64, 99, 65280, 65535])
def test_unknown_types_are_opaque(wire: ModuleType, type: int) -> None:
    """RFC 3597: RDATA of a type we do not know is carried octet by octet, even where it looks like pointers."""
    data = UNKNOWN + TO_QUESTION
    body = QUESTION[:-4] + type.to_bytes(2, "big") + b"\0\1" + record(type, data, TO_QUESTION, ttl=60)
    key = QUESTION[:-4] + type.to_bytes(2, "big") + b"\0\1\0"
    if type == 0:
        key, body = QUESTION + b"\0", QUESTION + record(type, data, TO_QUESTION, ttl=60)
    made = wire.make_entry(key, raw(body, (1, 1, 0, 0), RESPONSE), SEED, POLICY, NOW)
    assert Entry.unpack(made).wire.endswith(TO_QUESTION + type.to_bytes(2, "big") + b"\0\1\0\0\0\x3c\1\2" + data)


@pytest.mark.parametrize(("last", "fit"), [(45, True), (46, False)])
def test_longest_name(wire: ModuleType, last: int, fit: bool) -> None:
    """255 octets are a name, 256 are none, however they were put together (RFC 1035 2.3.4): 3 * 64 + 46 + 17."""
    owner = labels(63, 63, 63, last)[:-1] + TO_QUESTION
    octets = raw(QUESTION + record(A, b"1234", owner) + record(5, owner, TO_QUESTION), (1, 2, 0, 0), RESPONSE)
    made = wire.make_entry(QUESTION + b"\0", octets, SEED, POLICY, NOW)
    assert isinstance(made, bytes) if fit else made == MALFORMED


def test_name_repeating_itself(wire: ModuleType) -> None:
    """A name is not compressed against its own beginning, which is not written yet."""
    target = b"\1a" * 40 + b"\0"
    body = QUESTION + record(5, target, TO_QUESTION, ttl=60) + record(A, b"1234", target, ttl=60)
    entry = entry_of(wire, NAME, "A", raw(body, (1, 2, 0, 0), RESPONSE))
    assert [str(rr.rname) for rr in answer_of(wire, NAME, "A", entry).rr] == [f"{NAME}.", "a." * 40]


def test_headless_service_of_500_fits_a_large_slot(wire: ModuleType) -> None:
    """The large slot is 16 KiB because of this answer (table.h)."""
    name = "pods.default.svc.cluster.local."
    sent = build(name, "A", "\n".join(f"{name} 30 A 10.1.{n >> 8}.{n & 255}" for n in range(500)))
    entry = entry_of(wire, name, "A", sent.pack())
    assert len(entry.pack()) <= 16384
    assert records(answer_of(wire, name, "A", entry)) == records(sent)


@pytest.mark.parametrize(("targets", "fit"), [(280, True), (290, False)])
def test_too_long(wire: ModuleType, targets: int, fit: bool) -> None:
    """SRV targets are written in full (RFC 2782), so a reply that came compressed can outgrow 65535 octets."""
    long_name = b"\x3f" + b"x" * 63 + b"\x3f" + b"y" * 63 + b"\x3f" + b"z" * 63 + TO_QUESTION
    first = record(33, b"\0" * 6 + long_name, TO_QUESTION)
    back = (0xC000 | AT + 12 + 6).to_bytes(2, "big")
    rest = record(33, b"\0" * 6 + back, TO_QUESTION) * targets
    octets = raw(QUESTION + first + rest, (1, targets + 1, 0, 0), RESPONSE)
    made = wire.make_entry(QUESTION + b"\0", octets, SEED, POLICY, NOW)
    assert made == TOO_LONG if not fit else isinstance(made, bytes)


@pytest.mark.parametrize(
    ("ede", "kept"), [(b"", b""), (b"\0\x17", b"\0\x17"), (b"\0\x17" + b"x" * 200, b"\0\x17" + b"x" * 96)]
)
def test_failure_entry(wire: ModuleType, ede: bytes, kept: bytes) -> None:
    """A failure of our own making lives as long as we say and explains itself."""
    entry = Entry.unpack(wire.failure_entry(key_of("a.b.", flags=1), SEED, 2, ede, 5, ZONE, ZONE_TAG, NOW))
    assert (entry.kind, entry.rcode, entry.ede, entry.key) == (FAILURE, 2, kept, key_of("a.b.", flags=1))
    assert (entry.expires, entry.zone, entry.zone_tag) == (NOW + 5000, ZONE, ZONE_TAG)
