"""What CoreDNS's cache and forward do, as node-cache runs them (1.13.2), and what we do: each row is a match or a
difference on purpose, and its check says which.

The upstream answers by the name's first label, so one service serves all rows.
"""

import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dnslib
import pytest

from tests.service.scripted import Asked, Scripted
from tests.service.service import Service
from tests.service.test_upstreams import ask_tcp

Check = Callable[["Scene"], object]
DOCS = Path(__file__).resolve().parents[2] / "docs" / "forwarder.md"
MATCH, DIFFER = "match", "differ on purpose"
SOA = dnslib.RR.fromZone("test. 600 SOA ns.test. admin.test. 1 3600 600 86400 7")[0]


def soa(asked: Asked, rcode: int) -> bytes:
    reply = asked.reply()
    reply.header.rcode = rcode
    reply.add_auth(SOA)
    return bytes(reply.pack())


def addresses(asked: Asked, *ttls: int) -> bytes:
    reply = asked.reply()
    reply.add_answer(
        *(dnslib.RR(asked.name, 1, ttl=ttl, rdata=dnslib.A(f"192.0.2.{n}")) for n, ttl in enumerate(ttls, 1))
    )
    return bytes(reply.pack())


def rcode(asked: Asked, value: int) -> bytes:
    reply = asked.reply()
    reply.header.rcode = value
    return bytes(reply.pack())


def chain(asked: Asked, last: bytes) -> bytes:
    """An alias of 300 s before what `last` has."""
    whole = dnslib.DNSRecord.parse(last)
    whole.rr = [dnslib.RR(asked.name, 5, ttl=300, rdata=dnslib.CNAME("far.test")), *whole.rr]
    for rr in whole.rr[1:]:
        rr.rname = dnslib.DNSLabel("far.test")
    return bytes(whole.pack())


def explained(asked: Asked) -> bytes:
    reply = dnslib.DNSRecord.parse(addresses(asked, 60))
    reply.add_ar(dnslib.EDNS0(udp_len=1232, opts=[dnslib.EDNSOption(15, b"\0\x04forged")]))
    return bytes(reply.pack())


def mismatched(asked: Asked) -> list[bytes]:
    """Another question's answer under the right id, then the true one."""
    other = dnslib.DNSRecord.parse(addresses(asked, 60))
    other.q.qname = dnslib.DNSLabel("other.test")
    return [bytes(other.pack()), addresses(asked, 60)]


ANSWERS: dict[str, Callable[[Asked], list[bytes]]] = {
    "plain": lambda asked: [addresses(asked, 300)],
    "zero": lambda asked: [addresses(asked, 0)],
    "long": lambda asked: [addresses(asked, 86400)],
    "chain": lambda asked: [chain(asked, addresses(asked, 20))],
    "gone": lambda asked: [soa(asked, 3)],
    "empty": lambda asked: [soa(asked, 0)],
    "lost": lambda asked: [chain(asked, soa(asked, 3))],
    "bare": lambda asked: [rcode(asked, 3)],
    "servfail": lambda asked: [rcode(asked, 2)],
    "refused": lambda asked: [rcode(asked, 5)],
    "explained": lambda asked: [explained(asked)],
    "malformed": lambda asked: [addresses(asked, 60)[:-3], addresses(asked, 60)],
    "mismatched": mismatched,
    "truncated": lambda asked: (
        [asked.packet[:2] + b"\x83\x80" + asked.packet[4:]] if asked.proto == "udp" else [addresses(asked, 60)]
    ),
    "authentic": lambda asked: [addresses(asked, 60)[:3] + b"\xa0" + addresses(asked, 60)[4:]],
}


@dataclass
class Scene:
    """One row's names and questions."""

    service: Service
    upstream: Scripted

    def ask(self, name: str, qtype: int = 1, qclass: int = 1, flags: int = 0x0100, **edns: Any) -> dnslib.DNSRecord:
        """Over UDP, with EDNS when there is anything to say in it."""
        query = dnslib.DNSRecord(dnslib.DNSHeader(id=7, bitmap=flags), q=dnslib.DNSQuestion(name, qtype, qclass))
        if edns:
            query.add_ar(dnslib.EDNS0(udp_len=1232, flags=edns.get("edns_flags", ""), opts=edns.get("opts", [])))
        with socket.socket(type=socket.SOCK_DGRAM) as sock:
            sock.settimeout(6)
            sock.connect(("127.0.0.1", self.service.port))
            sock.send(query.pack())
            return dnslib.DNSRecord.parse(sock.recv(4096))

    def asked(self, name: str) -> int:
        """How often the upstream was asked for a name."""
        return sum(query.name == f"{name}.".lower() for query in self.upstream.asked)

    def needs(self, name: str, questions: int, late: int) -> bool:
        """Was it asked so often, but for attempts whose time was over since there were `late` of them?"""
        return 0 <= self.asked(name) - questions <= self.service.late() - late

    def twice(self, name: str, **more: object) -> tuple[dnslib.DNSRecord, dnslib.DNSRecord, bool]:
        """Miss, hit, and was the upstream asked once?"""
        late = self.service.late()
        return self.ask(name, **more), self.ask(name, **more), self.needs(name, 1, late)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    home = tmp_path_factory.mktemp("incumbent")
    (home / "nodedns.d").mkdir()
    bounds = "{ max_ttl = 3600, min_ttl = 5 }"
    (home / "nodedns.d/10.toml").write_text(f'[[zone]]\nname = "."\nsuccess = {bounds}\ndenial = {bounds}\n')
    upstream = Scripted(lambda asked: ANSWERS[asked.name.partition(".")[0]](asked))
    with upstream, Service(home, upstream.port, workers=1) as service:
        yield Scene(service, upstream)


def ttls(reply: dnslib.DNSRecord) -> list[int]:
    return [rr.ttl for rr in (*reply.rr, *reply.auth)]


def is_cached(name: str, code: int) -> Check:
    def check(scene: Scene) -> None:
        first, second, once = scene.twice(name)
        assert (first.header.rcode, second.header.rcode, once) == (code, code, True)

    return check


def ttl_is(name: str, *wanted: int) -> Check:
    def check(scene: Scene) -> None:
        got = ttls(scene.ask(name))
        assert len(got) == len(wanted)
        assert all(ttl in (want, want - 1) for ttl, want in zip(got, wanted, strict=True))

    return check


def are_apart(name: str, one: dict[str, object], other: dict[str, object], questions: int) -> Check:
    def check(scene: Scene) -> None:
        late = scene.service.late()
        scene.ask(name, **one)  # type: ignore[arg-type]
        scene.ask(name, **other)  # type: ignore[arg-type]
        assert scene.needs(name, questions, late)

    return check


def bits(name: str, flags: int, hit: bool, **wanted: int) -> Check:
    def check(scene: Scene) -> None:
        first, second, _ = scene.twice(name, flags=flags)
        header = (second if hit else first).header
        assert {bit: getattr(header, bit) for bit in wanted} == wanted

    return check


def no_options_go_up(scene: Scene) -> None:
    """Nor come back, nor part the entries."""
    subnet, cookie = dnslib.EDNSOption(8, b"\0\1\x18\0\x0a\1\2"), dnslib.EDNSOption(10, bytes(8))
    late = scene.service.late()
    first = scene.ask("plain.ecs.test", opts=[subnet, cookie])
    scene.ask("plain.ecs.test", opts=[])
    assert scene.needs("plain.ecs.test", 1, late)
    sent = next(query.message for query in scene.upstream.asked if query.name == "plain.ecs.test.")
    assert [rr.rdata for rr in (*sent.ar, *first.ar) if rr.rtype == 41 and rr.rdata] == []


def the_explanation_is_kept(scene: Scene) -> None:
    for reply in scene.twice("explained.test", opts=[])[:2]:
        assert [option.data for rr in reply.ar if rr.rtype == 41 for option in rr.rdata] == [b"\0\x04forged"]


def do_parts(scene: Scene) -> None:
    late = scene.service.late()
    scene.ask("plain.do.test")
    scene.ask("plain.do.test", edns_flags="do")
    assert scene.needs("plain.do.test", 2, late)


def the_case_is_the_askers(scene: Scene) -> None:
    scene.ask("plain.case.test")
    reply = scene.ask("PLAIN.Case.Test")
    assert (str(reply.q.qname), str(reply.rr[0].rname)) == ("PLAIN.Case.Test.",) * 2


def any_is_an_hinfo(scene: Scene) -> None:
    assert [rr.rtype for rr in scene.ask("plain.any.test", qtype=255).rr] == [13]
    assert scene.asked("plain.any.test") == 0


def a_transfer_is_refused(scene: Scene) -> None:
    query = bytes(dnslib.DNSRecord.question("plain.axfr.test", "AXFR").pack())
    with socket.create_connection(("127.0.0.1", scene.service.port), 6) as sock:
        sock.sendall(len(query).to_bytes(2) + query)
        assert sock.recv(4096)[5] & 15 == 5
    assert scene.asked("plain.axfr.test") == 0


def truncated_is_asked_over_tcp(scene: Scene) -> None:
    late = scene.service.late()
    reply = scene.ask("truncated.test")
    assert (reply.header.tc, len(reply.rr)) == (0, 1)
    assert len(ask_tcp(scene.service, "truncated.test").rr) == 1
    assert 0 <= scene.asked("truncated.test") - 2 <= 2 * (scene.service.late() - late)  # by both ways each time


def a_failure_is_asked_again_after_five_seconds(scene: Scene) -> None:
    """Of the failure cache."""
    late, began, gaps = scene.service.late(), time.monotonic(), []
    for n in (2, 3):
        while scene.asked("servfail.again.test") - (scene.service.late() - late) < n:
            asking = time.monotonic()
            scene.ask("servfail.again.test")
        gaps.append(time.monotonic() - began)
        began = asking  # the failure is kept from some moment after that on
    assert 4.9 < gaps[0] < 9.9 < gaps[1] < 19.9


ROWS: list[tuple[str, str, str, Check]] = [
    ("an answer is cached", MATCH, "", is_cached("plain.test", 0)),
    ("NXDOMAIN with a SOA is cached", MATCH, "", is_cached("gone.test", 3)),
    ("NODATA with a SOA is cached", MATCH, "", is_cached("empty.test", 0)),
    ("SERVFAIL is cached for 5 s", MATCH, "", is_cached("servfail.test", 2)),
    (
        "SERVFAIL is asked for again after 5 s",
        MATCH,
        "then after 10, 20, 30 s: RFC 9520",
        a_failure_is_asked_again_after_five_seconds,
    ),
    ("a TTL of 0 is shown and kept as 5 s", MATCH, "", ttl_is("zero.test", 5)),
    ("a TTL is cut to the zone's most", MATCH, "", ttl_is("long.test", 3600)),
    ("DO parts entries", MATCH, "", do_parts),
    ("CD parts entries (CVE-2024-0874)", MATCH, "", are_apart("plain.cd.test", {}, {"flags": 0x0110}, 2)),
    ("RD and AD do not", MATCH, "", are_apart("plain.rd.test", {"flags": 0x0120}, {"flags": 0}, 1)),
    ("case does not", MATCH, "", the_case_is_the_askers),
    ("a malformed UDP reply is waited past", MATCH, "1.14", is_cached("malformed.test", 0)),
    ("NXDOMAIN behind an alias is cached", MATCH, "1.13", is_cached("lost.test", 3)),
    (
        "class CH shares IN's entry",
        DIFFER,
        "it is a question of its own",
        are_apart("plain.ch.test", {}, {"qclass": 3}, 2),
    ),
    ("REFUSED is not cached", DIFFER, "5 s, RFC 9520", is_cached("refused.test", 5)),
    ("NXDOMAIN without a SOA is not cached", DIFFER, "5 s, against storms", is_cached("bare.test", 3)),
    ("SOA.minimum is not looked at", DIFFER, "RFC 2308", ttl_is("gone.soa.test", 7)),
    ("one TTL for the whole message", DIFFER, "RFC 2181: an RRset's own", ttl_is("chain.test", 300, 20)),
    ("AA is set on hits", DIFFER, "RFC 1034: a cache is none", bits("plain.aa.test", 0x0100, True, aa=0, ra=1)),
    ("AD goes to whoever asks", DIFFER, "RFC 6840 5.7: to those that ask", bits("authentic.test", 0x0100, True, ad=0)),
    ("AD goes to who asked with AD", MATCH, "", bits("authentic.ad.test", 0x0120, True, ad=1)),
    ("RA is the upstream's", DIFFER, "RFC 1035: it is ours", bits("plain.ra.test", 0x0100, False, ra=1)),
    ("ECS and cookies go up", DIFFER, "a pod's must not shape what others get", no_options_go_up),
    ("EDE is lost", DIFFER, "RFC 8914: kept", the_explanation_is_kept),
    ("ANY is asked for", DIFFER, "RFC 8482: HINFO over UDP", any_is_an_hinfo),
    ("transfers go up", DIFFER, "a cache has none", a_transfer_is_refused),
    ("TC goes to UDP clients", DIFFER, "asked over TCP; what fits is sent", truncated_is_asked_over_tcp),
    ("another question under our id is FORMERR", DIFFER, "it is waited past", is_cached("mismatched.test", 0)),
]


@pytest.mark.parametrize(("incumbent", "verdict", "ours", "check"), ROWS, ids=[row[0] for row in ROWS])
def test_row(scene: Scene, incumbent: str, verdict: str, ours: str, check: Check) -> None:
    """Done as said."""
    check(scene)


def test_differences_have_reasons() -> None:
    assert all(ours for _, verdict, ours, _ in ROWS if verdict == DIFFER)


def test_the_manual_has_every_row() -> None:
    text = DOCS.read_text(encoding="utf-8")
    assert [row for row in ROWS if f"| {row[0]} | {row[1]} | {row[2]} |" not in text] == []
