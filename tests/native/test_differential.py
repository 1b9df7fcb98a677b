"""The two implementations side by side on damaged packets: whatever comes in, equal octets come out."""

import random
from collections.abc import Iterator

import pytest
from dnslib import DNSRecord
from dnslib.dns import DNSError
from samples import IXFR, NOW, POLICY, SEED, SOA, TSIG, key_of, opt, option, packet, question, record, reply

from nodedns import native
from nodedns.core import message
from nodedns.core.entries import DENIAL, FAILURE, SUCCESS, Entry, entry_ok
from nodedns.core.replies import MALFORMED, MISMATCH, TRUNCATED

ROUNDS = 20_000  # of each kind: a few seconds, and every rule above is hit hundreds of times
SOA_TEXT = "b. 60 SOA ns.b. admin.b. 1 7200 1800 86400 30"
NAME = "www.a.b."

QUERIES = [
    packet(),
    packet(question() + opt(4096, 0x8000, option(10, b"12345678")), (1, 0, 0, 1)),
    packet(question(qtype=255) + opt(), (1, 0, 0, 1)),
    packet(question(qtype=IXFR) + record(SOA, b"\0\0" + b"\0" * 20, b"\xc0\x0c"), (1, 0, 1, 0)),
    packet(question() + record(TSIG, b"\0" * 16, b"\3key\xc0\x0c", 255) + opt(), (1, 0, 0, 2)),
]
REPLIES = [
    bytes(sent.pack())
    for sent in (
        reply(NAME, "A", f"{NAME} 300 CNAME x.a.b.\nx.a.b. 20 A 10.0.0.1\nx.a.b. 30 A 10.0.0.2", SOA_TEXT),
        reply(NAME, "A", authority=SOA_TEXT, rcode=3),
        reply(NAME, "A", f"{NAME} 9 A 10.0.0.1", additional="y.a.b. 9 SRV 1 2 3 www.a.b.\ny.a.b. 9 MX 5 y.a.b."),
        reply(NAME, "A", "\n".join(f"{NAME} 9 A 10.0.0.{n}" for n in range(40)), additional="y.a.b. 9 A 10.0.0.1"),
        reply(NAME, "A", f"{NAME} 9 A 1.1.1.1", additional='y.a.b. 9 NAPTR 1 1 "S" "SIP+D2U" "" _sip._udp.a.b.'),
    )
]
REPLIES.append(REPLIES[0][:11] + b"\1" + REPLIES[0][12:] + opt(options=option(15, b"\0\x16no one" + b"\xc3\xa9" * 60)))


def mutations(seeds: list[bytes]) -> Iterator[bytes]:
    """Damaged copies: octets set, cut out, doubled, or taken from another seed. At most 2,000 octets."""
    dice = random.Random(1035)  # a failure must come again
    for _ in range(ROUNDS):
        octets = bytearray(dice.choice(seeds))
        for _ in range(dice.randrange(4)):
            at, length = dice.randrange(len(octets) + 1), dice.randrange(1, 12)
            piece = dice.choice(seeds)
            start = dice.randrange(len(piece))
            octets[at : at + dice.choice((0, 1, 1, 1, length))] = dice.choice(
                (
                    b"",
                    bytes([dice.randrange(256)]),
                    bytes([dice.choice((0, 1, 63, 64, 0xC0, 255))]),
                    piece[start : start + length],
                )
            )
            if not octets:
                break
        yield bytes(octets[:2000])


class Reader:
    """dnslib as the judge of what we write. It refuses labels that are not UTF-8 and damaged RDATA, both of which a
    cache carries on (RFC 3597), so a few of the messages may be unreadable to it, and no more than a few."""

    def __init__(self) -> None:
        self.read = self.refused = 0

    def take(self, octets: bytes) -> None:
        try:
            DNSRecord.parse(octets)
            self.read += 1
        except (DNSError, UnicodeDecodeError):
            self.refused += 1

    def is_content(self) -> bool:
        return self.read > 1000 and self.refused < self.read / 10


@pytest.mark.parametrize("tcp", [False, True])
def test_queries(tcp: bool) -> None:
    """Equal verdict, key and client for every packet; the error that answers it is equal and well formed."""
    verdicts, reader = set(), Reader()
    for octets in mutations(QUERIES):
        found = native.parse_query(octets, tcp)
        assert found == message.parse_query(octets, tcp), octets.hex()
        verdict, key, client = found
        verdicts.add(verdict)
        answer = native.error(verdict, client, 18)
        assert answer == message.error(verdict, client, 18), octets.hex()
        if answer:
            reader.take(answer)
        if key is not None:
            assert native.hash(key, SEED) == message.hash(key, SEED)
            assert native.make_query(key, 7) == message.make_query(key, 7)
    assert verdicts == set(range(7)) - ({6} if tcp else set())
    assert reader.is_content()


def test_replies() -> None:
    """Equal entry or verdict for every reply; the answers made of an entry are equal, well formed and parse again."""
    key, seen, reader = key_of(NAME), set(), Reader()
    client = message.parse_query(packet(key[:-1] + opt(), (1, 0, 0, 1)))[2]
    cut = REPLIES[0][:2] + bytes([REPLIES[0][2] | 2]) + REPLIES[0][3:]  # TC, which is not every dice's luck
    for octets in (cut, *mutations(REPLIES)):
        made = native.make_entry(key, octets, SEED, POLICY, NOW)
        assert made == message.make_entry(key, octets, SEED, POLICY, NOW), octets.hex()
        seen.add(made if isinstance(made, int) else Entry.unpack(made).kind + 10)
        if isinstance(made, int):
            continue
        assert entry_ok(made), octets.hex()
        for limit in (512, 65535):
            answer = native.render(made, client, NOW + 3500, limit)
            assert answer == message.render(made, client, NOW + 3500, limit), octets.hex()
            assert len(answer) <= limit
            reader.take(answer)
            again = message.make_entry(key, answer, SEED, POLICY, NOW)
            assert isinstance(again, bytes) or again == TRUNCATED, octets.hex()
    assert seen == {MALFORMED, MISMATCH, TRUNCATED, 10 + SUCCESS, 10 + DENIAL, 10 + FAILURE}
    assert reader.is_content()


def test_entry_does_not_depend_on_the_reply_before() -> None:
    """A name is compressed against whole names only: what an earlier reply left in the buffer behind it is no match."""
    key = key_of(NAME)

    def made(labels: int) -> bytes | int:
        body = key[:-1] + record(5, b"\1a" * labels + b"\0", b"\xc0\x0c", ttl=60)
        return native.make_entry(key, packet(body, (1, 1, 0, 0), 0x8180), SEED, POLICY, NOW)

    fresh = [made(labels) for labels in range(100)]
    for labels in range(1, 100):
        for before in range(labels):
            made(before)
            assert made(labels) == fresh[labels], f"{labels} labels behind {before}"
