"""Entry -> answer: what a client gets of what is stored, and the answers without records."""

from types import ModuleType

import pytest
from dnslib import DNSRecord
from samples import NOW, OPT, POLICY, SEED, client, key_of, opt, option, packet, question, record, records
from samples import reply as build

from nodedns.core.entries import Entry
from nodedns.core.message import NO_EDE, Client, ClientFlag, Verdict
from nodedns.core.shape import rotating

NAME = "www.example.com."
EDE = b"\0\x16nobody answers"
RD, CD, AD, DO, EDNS = ClientFlag


def entry(wire: ModuleType, answers: int = 1, additionals: int = 0, ede: bytes = b"", authority: str = "") -> bytes:
    """An entry of A records (16 octets each as an answer) that came with an upstream's explanation, if any."""
    answer = "\n".join(f"{NAME} 300 A 10.0.{n >> 8}.{n & 255}" for n in range(answers))
    extra = "\n".join(f"x{n:03}.{NAME} 200 A 10.1.{n >> 8}.{n & 255}" for n in range(additionals))
    sent = bytes(build(NAME, "A", answer, authority, extra).pack())
    if ede:
        sent = sent[:10] + (additionals + 1).to_bytes(2, "big") + sent[12:] + opt(options=option(15, ede))
    blob = wire.make_entry(key_of(NAME), sent, SEED, POLICY, NOW)
    assert isinstance(blob, bytes)
    return blob


def ede_of(message: DNSRecord) -> list[bytes]:
    return [bytes(o.data) for rr in message.ar if rr.rtype == OPT for o in rr.rdata if o.code == 15]


@pytest.mark.parametrize(
    ("after", "ttl"),
    [(-5000, 300), (0, 300), (999, 300), (1000, 299), (299_999, 1), (300_000, 0), (10**9, 0), ((2**32 + 1) * 1000, 0)],
)
def test_ageing(wire: ModuleType, after: int, ttl: int) -> None:
    """A TTL counts down in whole seconds, is at least 1 while the entry lives, and never wraps."""
    answer = DNSRecord.parse(wire.render(entry(wire), client(NAME), NOW + after, 65535))
    assert answer.rr[0].ttl == ttl


def test_question_comes_back_as_written(wire: ModuleType) -> None:
    """0x20: the client's own letters, in the question and in every name that points there."""
    answer = wire.render(entry(wire), client("wWw.eXample.COM."), NOW, 65535)
    assert answer[12:29] == b"\3wWw\7eXample\3COM\0"
    assert str(DNSRecord.parse(answer).rr[0].rname) == "wWw.eXample.COM."


@pytest.mark.parametrize(
    ("flags", "upstream_ad", "third", "fourth"),
    [
        (0, 0, 0x80, 0x80),
        (RD, 0, 0x81, 0x80),
        (CD, 0, 0x80, 0x90),
        (AD, 0, 0x80, 0x80),
        (AD, 1, 0x80, 0xA0),
        (0, 1, 0x80, 0x80),
        (DO | EDNS, 1, 0x80, 0xA0),
        (RD | CD | AD, 1, 0x81, 0xB0),
    ],
)
def test_bits(wire: ModuleType, flags: int, upstream_ad: int, third: int, fourth: int) -> None:
    """QR, RA; RD and CD are the client's; AD is the upstream's, for AD or DO only (RFC 6840 5.7); AA never."""
    stored = Entry.unpack(entry(wire))
    stored.ad = upstream_ad
    answer = wire.render(stored.pack(), client(NAME, flags=flags), NOW, 65535)
    assert (answer[:2], answer[2], answer[3]) == (b"\xab\xcd", third, fourth)


@pytest.mark.parametrize(("flags", "ttl"), [(0, None), (EDNS, 0), (EDNS | DO, 0x8000)])
def test_opt(wire: ModuleType, flags: int, ttl: int | None) -> None:
    """An OPT answers an OPT and nothing else does (RFC 6891 7): our size, version 0, DO as it came."""
    answer = DNSRecord.parse(wire.render(entry(wire), client(NAME, flags=flags), NOW, 65535))
    assert [(rr.rclass, rr.ttl) for rr in answer.ar] == ([] if ttl is None else [(1232, ttl)])


@pytest.mark.parametrize(
    ("answers", "additionals", "flags", "limit", "counts", "tc"),
    [
        (29, 0, 0, 512, (29, 0), 0),  # 12 + 21 + 29 * 16 = 497
        (30, 0, 0, 512, (29, 0), 1),  # 513: one octet too many
        (29, 0, EDNS, 512, (29, 0), 0),  # 497 + 11 = 508
        (30, 0, EDNS, 512, (29, 0), 1),
        (500, 0, EDNS, 512, (29, 0), 1),
        (500, 0, EDNS, 1232, (74, 0), 1),  # (1232 - 11 - 33) / 16 = 74.25
        (500, 0, EDNS, 65535, (500, 0), 0),
        (28, 1, 0, 512, (28, 1), 0),  # 33 + 28 * 16 + 21 = 502
        (28, 2, 0, 512, (28, 1), 0),
        (29, 1, 0, 512, (29, 0), 0),
        (31, 9, 0, 512, (29, 0), 1),
    ],
)
def test_truncation(  # noqa: PLR0917 - a row of the table
    wire: ModuleType, answers: int, additionals: int, flags: int, limit: int, counts: tuple[int, int], tc: int
) -> None:
    """Whole records from the front; TC when an answer is missing, not for additional ones (RFC 2181 9)."""
    octets = wire.render(entry(wire, answers, additionals), client(NAME, flags=flags), NOW, limit)
    answer = DNSRecord.parse(octets)
    kept = (len(answer.rr), sum(rr.rtype != OPT for rr in answer.ar))
    assert (kept, answer.header.tc, len(octets) <= limit) == (counts, tc, True)
    assert answer.header.ar == len(answer.ar)


def test_truncated_authority(wire: ModuleType) -> None:
    """A denial whose SOA does not fit says so: it could not be cached without."""
    long_name = ".".join("x" * 60 for _ in range(4)) + "."
    soa = f"a. 60 SOA {long_name} {long_name.replace('x', 'y')} 1 2 3 4 60"
    blob = wire.make_entry(key_of(NAME), bytes(build(NAME, authority=soa).pack()), SEED, POLICY, NOW)
    answer = DNSRecord.parse(wire.render(blob, client(NAME, udp_size=512), NOW, 512))
    assert (answer.header.tc, answer.header.auth) == (1, 0)


@pytest.mark.parametrize(
    ("answers", "flags", "kept"),
    [(1, EDNS, True), (1, 0, False), (28, EDNS, True), (29, EDNS, False)],
)
def test_explanation_goes_before_records(wire: ModuleType, answers: int, flags: int, kept: bool) -> None:
    """The upstream's EDE is passed on where there is an OPT and room, and never costs a record (RFC 8914 3)."""
    answer = DNSRecord.parse(wire.render(entry(wire, answers, ede=EDE), client(NAME, flags=flags), NOW, 512))
    assert ede_of(answer) == ([EDE] if kept else [])
    assert (len(answer.rr), answer.header.tc) == (answers, 0)


@pytest.mark.parametrize("rcode", [2, 5])
def test_failure(wire: ModuleType, rcode: int) -> None:
    """A failure gives its rcode, the question and why."""
    blob = wire.failure_entry(key_of(NAME), SEED, rcode, EDE, 5, 0, 0, NOW)
    answer = DNSRecord.parse(wire.render(blob, client(NAME, flags=RD | EDNS), NOW, 512))
    assert (answer.header.rcode, str(answer.q.qname), records(answer)) == (rcode, NAME, [[], [], []])
    assert ede_of(answer) == [EDE]


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda blob: blob[:-1], "shorter than its header says"),
        (lambda blob: blob + b"\0", "longer than its header says"),
        (lambda blob: b"", "empty"),
        (lambda blob: blob[:63], "shorter than a header"),
        (lambda blob: blob[:40] + b"\2" + blob[41:], "one record more than TTLs"),
        (lambda blob: blob[:-2] + b"\xff\xff", "a TTL beyond the wire"),
        (lambda blob: blob[:-2] + b"\x10\0", "a TTL in the question"),
        (lambda blob: blob[:52] + b"\3" + blob[53:], "an unknown kind"),
        (lambda blob: blob[:48] + b"\0\0" + blob[50:], "no question"),
        (lambda blob: blob[:64] + blob[64:107] + b"\xff" + blob[108:], "RDLENGTH beyond the wire"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_damaged_entry(wire: ModuleType, spoil, why: str) -> None:
    """A blob that does not add up is refused, not read."""
    good = entry(wire)
    assert wire.render(good, client(NAME), NOW, 512)
    with pytest.raises(ValueError, match="entry"):
        wire.render(spoil(good), client(NAME), NOW, 512)


@pytest.mark.parametrize(
    ("asker", "limit"),
    [
        (client("other.example.com."), 512),
        (client(NAME)[:-1], 512),
        (b"", 512),
        (client(NAME), 511),
        (client(NAME), 65536),
        (client(NAME, udp_size=511), 512),
    ],
    ids=["another question", "cut", "empty", "limit 511", "limit 65536", "no client of parse_query"],
)
def test_render_refuses_what_is_not_its_own(wire: ModuleType, asker: bytes, limit: int) -> None:
    """An answer for another question, or beyond what UDP and TCP can carry, is a mistake of the caller."""
    with pytest.raises(ValueError, match=r"client|limit|question"):
        wire.render(entry(wire), asker, NOW, limit)


@pytest.mark.parametrize(
    ("octets", "rcode", "header_and_question"),
    [
        (packet(b"", (0, 0, 0, 0)), 1, bytes.fromhex("1234 8181 0000 0000 0000 0000")),
        (packet(question() + b"\0"), 1, bytes.fromhex("1234 8181 0001 0000 0000 0000") + question()),
        (packet(flags=0x2000), 4, bytes.fromhex("1234 a084 0000 0000 0000 0000")),
        (packet(question(qtype=252)), 5, bytes.fromhex("1234 8185 0001 0000 0000 0000") + question(qtype=252)),
    ],
    ids=["FORMERR without question", "FORMERR", "NOTIMP", "REFUSED"],
)
def test_error(wire: ModuleType, octets: bytes, rcode: int, header_and_question: bytes) -> None:
    """An error echoes id, opcode, RD and the question as far as there was one; nothing else without EDNS."""
    verdict, _, asker = wire.parse_query(octets)
    assert wire.error(verdict, asker, 18) == header_and_question
    assert header_and_question[3] & 15 == rcode


@pytest.mark.parametrize(
    ("body", "additionals", "extended"),
    [
        (question() + opt(ttl=1 << 16), 1, 1),  # BADVERS = 16: 1 in the OPT, 0 in the header
        (question(qtype=252) + opt(), 1, 0),
        (question() + opt() * 2, 2, 0),
        (question() + opt() + b"\0", 1, 0),
    ],
    ids=["BADVERS", "REFUSED", "two OPT", "trailing octet"],
)
def test_error_answers_opt_with_opt(wire: ModuleType, body: bytes, additionals: int, extended: int) -> None:
    """RFC 6891 7: who sent an OPT gets one, of version 0, in an error too."""
    verdict, _, asker = wire.parse_query(packet(body, (1, 0, 0, additionals)))
    answer = DNSRecord.parse(wire.error(verdict, asker))
    assert [(rr.rtype, rr.ttl, rr.rclass) for rr in answer.ar] == [(OPT, extended << 24, 1232)]


@pytest.mark.parametrize(("ede", "data"), [(NO_EDE, []), (0, [b"\0\0"]), (18, [b"\0\x12"])])
def test_error_explains(wire: ModuleType, ede: int, data: list[bytes]) -> None:
    """Verdict OK (an ACL, an overload) gives SERVFAIL with the INFO-CODE it is given."""
    answer = DNSRecord.parse(wire.error(Verdict.OK, client(NAME, flags=EDNS | DO), ede))
    assert (answer.header.rcode, ede_of(answer), answer.ar[0].ttl) == (2, data, 0x8000)


@pytest.mark.parametrize("qclass", [1, 3, 255])
def test_any(wire: ModuleType, qclass: int) -> None:
    """RFC 8482 4.2: one HINFO instead of everything, in the class that was asked."""
    verdict, _, asker = wire.parse_query(packet(question(qtype=255, qclass=qclass) + opt(), (1, 0, 0, 1)))
    answer = wire.error(verdict, asker)
    hinfo = record(13, b"\7RFC8482\0", b"\xc0\x0c", qclass, 3600)
    assert answer[12:] == question(qtype=255, qclass=qclass) + hinfo + opt()
    assert answer[2:12] == bytes.fromhex("8180 0001 0001 0000 0001")


def test_silence(wire: ModuleType) -> None:
    """What could loop is not answered."""
    assert wire.error(Verdict.DROP, Client().pack()) == b""


@pytest.mark.parametrize(("verdict", "asker"), [(8, client(NAME)), (Verdict.ANY, Client().pack()), (2, b"")])
def test_error_refuses_what_cannot_be(wire: ModuleType, verdict: int, asker: bytes) -> None:
    """A verdict that does not exist, or needs a question that is not there, is a mistake of the caller."""
    with pytest.raises(ValueError, match="client"):
        wire.error(verdict, asker)


@pytest.mark.parametrize("id", range(7))
@pytest.mark.parametrize("limit", [65535, 512])
def test_addresses_in_turn(wire: ModuleType, id: int, limit: int) -> None:
    """Within each owner's run, by the client's id; other records stay where they are."""
    zone = "\n".join([
        "www.example.com. 300 CNAME x.test.",
        *(f"x.test. 300 A 10.0.0.{n}" for n in range(5)),
        "x.test. 300 MX 10 y.test.",
        *(f"y.test. 300 AAAA fd00::{n}" for n in range(30)),
    ])  # fmt: skip
    made = wire.make_entry(key_of(NAME, "ANY"), bytes(build(NAME, "ANY", zone).pack()), SEED, POLICY, NOW)
    turned = rotating(made)
    asker = id.to_bytes(2) + client(NAME, "ANY")[2:]
    plain, out = (DNSRecord.parse(wire.render(blob, asker, NOW, limit)).rr for blob in (made, turned))
    assert [(rr.rname, rr.rtype) for rr in out] == [(rr.rname, rr.rtype) for rr in plain]
    datas = [[str(rr.rdata) for rr in plain if rr.rtype == kind] for kind in (1, 28)]
    meant = [run[id % len(run) :] + run[: id % len(run)] for run in datas]
    assert [[str(rr.rdata) for rr in out if rr.rtype == kind] for kind in (1, 28)] == meant
