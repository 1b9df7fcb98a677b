"""A client's packet: what it asks, what is kept of it, and what an upstream is asked instead."""

from types import ModuleType

import pytest
from dnslib import DNSRecord
from samples import (
    ANY,
    AXFR,
    IXFR,
    LOWER,
    NAME,
    OPT,
    SEED,
    SOA,
    TSIG,
    key_of,
    labels,
    opt,
    option,
    packet,
    question,
    record,
)

from nodedns.core.message import Client, ClientFlag, Verdict

OK, DROP, FORMERR, NOTIMP, BADVERS, REFUSED, VERDICT_ANY, INVALID = Verdict
ADDITIONAL = (1, 0, 0, 1)
SIGNATURE = record(TSIG, b"\0" * 16, owner=b"\3key\0", rclass=255)
COOKIE = option(10, b"12345678")

CASES = {
    "plain": (packet(), OK),
    "empty": (b"", DROP),
    "eleven octets": (packet()[:11], DROP),
    "a response": (packet(flags=0x8100), DROP),
    "a response of another opcode": (packet(flags=0xA800), DROP),
    "header only, no question": (packet(b"", (0, 0, 0, 0)), FORMERR),
    "header only, lying": (packet(b""), FORMERR),
    "no question, OPT": (packet(opt(), (0, 0, 0, 1)), FORMERR),
    "two questions": (packet(question() * 2, (2, 0, 0, 0)), FORMERR),
    "all counts 65535": (packet(counts=(65535,) * 4), FORMERR),
    **{f"opcode {n}": (packet(flags=n << 11), NOTIMP) for n in (1, 2, 3, 4, 5, 6, 15)},
    "opcode before counts": (packet(b"", (0, 0, 0, 0), flags=4 << 11), NOTIMP),
    "trailing octet": (packet(question() + b"\0"), FORMERR),
    "question cut in its class": (packet(question()[:-1]), FORMERR),
    "name 255": (packet(question(labels(63, 63, 63, 61))), OK),
    "name 256": (packet(question(labels(63, 63, 63, 62))), FORMERR),
    "name 257": (packet(question(labels(63, 63, 63, 63))), FORMERR),
    "name of 127 labels": (packet(question(labels(*[1] * 127))), OK),
    "root": (packet(question(b"\0")), OK),
    "label 64": (packet(question(b"\x40" + b"x" * 64 + b"\0")), FORMERR),
    "label type 10": (packet(question(b"\x80x\0")), FORMERR),
    "pointer in the question": (packet(question(b"\3www\xc0\x0c")), FORMERR),
    "name without an end": (packet(b"\3www"), FORMERR),
    "class CH": (packet(question(qclass=3)), OK),
    "type of no meaning": (packet(question(qtype=65280)), OK),
    **{f"type {n}": (packet(question(qtype=n)), FORMERR) for n in (0, 41, 249, 250)},
    "ANY": (packet(question(qtype=ANY)), VERDICT_ANY),
    "ANY, EDNS 1": (packet(question(qtype=ANY) + opt(ttl=1 << 16), ADDITIONAL), BADVERS),
    "invalid": (packet(question(b"\7invalid\0")), INVALID),
    "below invalid, in capitals": (packet(question(b"\7nodedns\7INVALID\0")), INVALID),
    "invalid, EDNS 1": (packet(question(b"\7invalid\0") + opt(ttl=1 << 16), ADDITIONAL), BADVERS),
    "invalid, cut": (packet(question(b"\7invalid\0")[:-1]), FORMERR),
    "invalid, ANY": (packet(question(b"\7invalid\0", ANY)), VERDICT_ANY),
    "invalid within a label": (packet(question(b"\x09x\7invalid\0")), OK),
    "a longer label": (packet(question(b"\x08xinvalid\0")), OK),
    "invalid not at the top": (packet(question(b"\7invalid\4test\0")), OK),
    "AXFR": (packet(question(qtype=AXFR)), REFUSED),
    "AXFR, EDNS": (packet(question(qtype=AXFR) + opt(), ADDITIONAL), REFUSED),
    "AXFR, lying": (packet(question(qtype=AXFR), ADDITIONAL), FORMERR),
    "IXFR": (packet(question(qtype=IXFR) + record(SOA, b"\0\0" + b"\0" * 20, NAME), (1, 0, 1, 0)), REFUSED),
    "an answer in a query": (packet(question() + record(1, b"\1\2\3\4"), (1, 1, 0, 0)), FORMERR),
    "an authority in a query": (packet(question() + record(1, b"\1\2\3\4"), (1, 0, 1, 0)), FORMERR),
    "TSIG": (packet(question() + SIGNATURE, ADDITIONAL), OK),
    "TSIG named by a pointer": (
        packet(question() + record(TSIG, b"\0" * 16, b"\xc0\x0c", 255), ADDITIONAL),
        OK,
    ),
    "OPT and TSIG": (packet(question() + opt() + SIGNATURE, (1, 0, 0, 2)), OK),
    "EDNS": (packet(question() + opt(), ADDITIONAL), OK),
    "EDNS 1": (packet(question() + opt(ttl=1 << 16), ADDITIONAL), BADVERS),
    "EDNS 255": (packet(question() + opt(ttl=255 << 16), ADDITIONAL), BADVERS),
    "EDNS, unknown flags": (packet(question() + opt(ttl=0x7FFF), ADDITIONAL), OK),
    "two OPT": (packet(question() + opt() * 2, (1, 0, 0, 2)), FORMERR),
    "two OPT, the second of version 1": (packet(question() + opt() + opt(ttl=1 << 16), (1, 0, 0, 2)), FORMERR),
    "OPT with a name": (packet(question() + record(OPT, owner=NAME), ADDITIONAL), FORMERR),
    "OPT cut": (packet(question() + opt()[:-1], ADDITIONAL), FORMERR),
    "cookie": (packet(question() + opt(options=COOKIE), ADDITIONAL), OK),
    "two options": (packet(question() + opt(options=COOKIE + option(12, b"")), ADDITIONAL), OK),
    "option longer than OPT": (packet(question() + opt(options=b"\0\x0a\0\x09" + b"x" * 8), ADDITIONAL), FORMERR),
    "option of three octets": (packet(question() + opt(options=b"\0\x0a\0"), ADDITIONAL), FORMERR),
    "RDLENGTH beyond the packet": (packet(question() + opt()[:-2] + b"\0\1", ADDITIONAL), FORMERR),
    "one additional too few": (packet(question() + opt(), (1, 0, 0, 2)), FORMERR),
    "one additional too many": (packet(question() + opt() + SIGNATURE, ADDITIONAL), FORMERR),
}


@pytest.mark.parametrize(("octets", "verdict"), CASES.values(), ids=CASES.keys())
def test_verdict(wire: ModuleType, octets: bytes, verdict: Verdict) -> None:
    """Every packet is a question, an error the RFC asks for, or silence."""
    assert wire.parse_query(octets)[0] == verdict


def test_any_over_tcp_is_an_ordinary_question(wire: ModuleType) -> None:
    """RFC 8482 is about amplification: over TCP there is none."""
    assert wire.parse_query(packet(question(qtype=ANY)), True)[0] == OK


@pytest.mark.parametrize("label", [label for label, (_, verdict) in CASES.items() if verdict is DROP])
def test_a_dropped_packet_leaves_nothing(wire: ModuleType, label: str) -> None:
    """What is not answered has neither a key nor a client."""
    _, key, client = wire.parse_query(CASES[label][0])
    assert (key, client) == (None, Client().pack())


@pytest.mark.parametrize(
    ("body", "flags", "key"),
    [
        (question(), 0, question(LOWER) + b"\0"),
        (question(qtype=65), 0, question(LOWER, 65) + b"\0"),  # 65 is "A": the type is not to be lower-cased
        (question(qclass=0x4142), 0, question(LOWER, qclass=0x4142) + b"\0"),
        (question(b"\4@[\xc1Z\0"), 0, question(b"\4@[\xc1z\0") + b"\0"),  # neighbours of A-Z, and Latin-1's A
        (question(), 0x0010, question(LOWER) + b"\2"),
        (question(), 0x0020, question(LOWER) + b"\0"),
    ],
    ids=["0x20", "type 65", "class AB", "only A-Z", "CD", "AD"],
)
def test_key(wire: ModuleType, body: bytes, flags: int, key: bytes) -> None:
    """The key is the question in lower case (RFC 4343) and what must not be shared: DO and CD, never AD."""
    assert wire.parse_query(packet(body, flags=flags))[1] == key


@pytest.mark.parametrize(
    ("size", "kept"), [(0, 512), (511, 512), (512, 512), (1231, 1231), (1232, 1232), (1233, 1232), (65535, 1232)]
)
def test_edns_size_is_clamped(wire: ModuleType, size: int, kept: int) -> None:
    """RFC 6891 6.2.3 for the floor, DNS Flag Day 2020 for the ceiling."""
    client = Client.unpack(wire.parse_query(packet(question() + opt(size, 0x8000), ADDITIONAL))[2])
    assert (client.udp_size, client.flags & ClientFlag.EDNS) == (kept, ClientFlag.EDNS)


@pytest.mark.parametrize(
    ("flags", "ttl", "kept"),
    [
        (0x0000, None, 0),
        (0x0100, None, ClientFlag.RD),
        (0x0010, None, ClientFlag.CD),
        (0x0020, None, ClientFlag.AD),
        (0x0000, 0x8000, ClientFlag.EDNS | ClientFlag.DO),
        (0x0130, 0x0000, ClientFlag.EDNS | ClientFlag.RD | ClientFlag.CD | ClientFlag.AD),
    ],
)
def test_client(wire: ModuleType, flags: int, ttl: int | None, kept: int) -> None:
    """Of a query its id, bits and question as written are kept until the answer."""
    octets = packet(flags=flags) if ttl is None else packet(question() + opt(ttl=ttl), ADDITIONAL, flags)
    client = Client.unpack(wire.parse_query(octets)[2])
    assert (client.id, client.opcode, client.flags, client.question) == (b"\x12\x34", 0, kept, question())


@pytest.mark.parametrize("flags", range(4))
def test_make_query(wire: ModuleType, flags: int) -> None:
    """An upstream gets RD and AD, CD and DO from the key, our size, and nothing else: dnslib reads it."""
    sent = DNSRecord.parse(wire.make_query(key_of("www.example.com", "AAAA", flags), 0xBEEF))
    header, edns = sent.header, sent.ar[0]
    assert (header.id, header.rd, header.ad, header.cd, header.qr) == (0xBEEF, 1, 1, flags >> 1, 0)
    assert (str(sent.q.qname), sent.q.qtype, len(sent.questions)) == ("www.example.com.", 28, 1)
    assert (edns.rtype, edns.rclass, edns.ttl, edns.rdata) == (OPT, 1232, 0x8000 * (flags & 1), [])


@pytest.mark.parametrize(
    ("key", "seed", "value"),
    [
        (key_of("www.example.com"), SEED, 0x5D7729390F0F2538),
        (key_of("www.example.com", flags=1), SEED, 0x16FD8969DE79BC96),
        (key_of("www.example.com"), SEED + 1, 0x10E5ECE726240B00),
        (key_of("."), 0, 0x5C141C9CD59141B2),
    ],
)
def test_hash_is_that_of_the_files_in_use(wire: ModuleType, key: bytes, seed: int, value: int) -> None:
    """The hash places entries in a file that outlives us: whoever changes it must change the table's version."""
    assert wire.hash(key, seed) == value
