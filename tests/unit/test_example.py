"""The example cluster: what each name answers, and what hostile bytes get."""

import random

import pytest
from dnslib import EDNS0, QTYPE, RCODE, DNSRecord

from nodedns.example import cluster

SEED_NAMES = [
    "baidu.com",
    "www.baidu.com",
    "mail.baidu.com",
    "github.com",
    "www.yahoo.com",
    "www.microsoft.com",
    "www.aliyun.com",
    "developer.aliyun.com",
    "kubernetes.io",
    "kubernetes.default.svc.cluster.local",
    "kube-dns.kube-system.svc.cluster.local",
]


def query(name: str, qtype: str = "A", *, edns: int | None = None, do: bool = False) -> bytes:
    record = DNSRecord.question(name, qtype)
    if edns is not None:
        record.add_ar(EDNS0(udp_len=edns, flags="do" if do else ""))
    return bytes(record.pack())


def ask(name: str, qtype: str = "A", proto: str = "tcp") -> DNSRecord:
    reply = cluster.answer(query(name, qtype), proto)
    assert reply is not None
    return DNSRecord.parse(reply)


@pytest.mark.parametrize(
    ("name", "qtype", "rcode", "answer"),
    [
        ("kubernetes.default.svc.cluster.local", "A", "NOERROR", ["30 A 10.96.0.1"]),
        ("KUBERNETES.Default.svc.cluster.LOCAL", "A", "NOERROR", ["30 A 10.96.0.1"]),
        ("kubernetes.default.svc.cluster.local", "AAAA", "NOERROR", []),
        ("default.svc.cluster.local", "A", "NOERROR", []),
        ("_https._tcp.kubernetes.default.svc.cluster.local", "SRV", "NOERROR",
         ["30 SRV 0 100 443 kubernetes.default.svc.cluster.local."]),
        ("kube-dns.kube-system.svc.cluster.local", "A", "NOERROR", ["30 A 10.96.0.10"]),
        ("_dns._udp.kube-dns.kube-system.svc.cluster.local", "SRV", "NOERROR",
         ["30 SRV 0 100 53 kube-dns.kube-system.svc.cluster.local."]),
        ("_dns._tcp.kube-dns.kube-system.svc.cluster.local", "SRV", "NOERROR",
         ["30 SRV 0 100 53 kube-dns.kube-system.svc.cluster.local."]),
        ("baidu.default.svc.cluster.local", "A", "NOERROR",
         ["30 CNAME www.baidu.com.", "1200 CNAME www.a.shifen.com.", "300 A 180.101.49.12", "300 A 180.101.49.11"]),
        ("baidu.default.svc.cluster.local", "CNAME", "NOERROR", ["30 CNAME www.baidu.com."]),
        ("baidu.default.svc.cluster.local", "ANY", "NOERROR", ["30 CNAME www.baidu.com."]),
        ("www.baidu.com", "AAAA", "NOERROR", ["1200 CNAME www.a.shifen.com."]),
        ("dangling.default.svc.cluster.local", "A", "NXDOMAIN", ["30 CNAME gone.example.com."]),
        ("dns-version.cluster.local", "TXT", "NOERROR", ['30 TXT "1.1.0"']),
        ("1.0.96.10.in-addr.arpa", "PTR", "NOERROR", ["30 PTR kubernetes.default.svc.cluster.local."]),
        ("10.0.96.10.in-addr.arpa", "PTR", "NOERROR", ["30 PTR kube-dns.kube-system.svc.cluster.local."]),
        ("unknown-type.default.svc.cluster.local", "TYPE65280", "NOERROR", ["30 TYPE65280 \\# 4 0A60000A"]),
        ("www.microsoft.com", "HTTPS", "NOERROR", ["3600 HTTPS 1 . alpn=h3,h2"]),
        ("nope.default.svc.cluster.local", "A", "NXDOMAIN", []),
        ("nope.kubernetes.io", "A", "NXDOMAIN", []),
        ("servfail.default.svc.cluster.local", "A", "SERVFAIL", []),
        ("kubernetes", "A", "SERVFAIL", []),
        ("cluster.local", "AXFR", "REFUSED", []),
    ],
)  # fmt: skip
def test_answers(name: str, qtype: str, rcode: str, answer: list[str]) -> None:
    """Every kind of name answers with its records, its response code and the flags of an authoritative server."""
    reply = ask(name, qtype)
    assert [f"{record.ttl} {QTYPE[record.rtype]} {record.rdata.toZone()}" for record in reply.rr] == answer
    assert RCODE[reply.header.rcode] == rcode
    assert (reply.header.qr, reply.header.ra, reply.header.rd) == (1, 1, 1)
    assert reply.header.aa == (rcode in ("NOERROR", "NXDOMAIN"))


@pytest.mark.parametrize(
    ("name", "qtype", "soa"),
    [
        ("nope.cluster.local", "A",
         "cluster.local. 5 ns.dns.cluster.local. hostmaster.cluster.local. 1604984400 7200 1800 86400 5"),
        ("kubernetes.default.svc.cluster.local", "AAAA",
         "cluster.local. 5 ns.dns.cluster.local. hostmaster.cluster.local. 1604984400 7200 1800 86400 5"),
        ("9.9.96.10.in-addr.arpa", "PTR",
         "in-addr.arpa. 5 ns.dns.in-addr.arpa. hostmaster.in-addr.arpa. 1604984400 7200 1800 86400 5"),
        ("dangling.default.svc.cluster.local", "A",
         ". 86400 a.root-servers.net. nstld.verisign-grs.com. 2020111000 1800 900 604800 86400"),
    ],
)  # fmt: skip
def test_negative_answers_carry_the_zones_soa(name: str, qtype: str, soa: str) -> None:
    """NXDOMAIN and NODATA carry the SOA of the zone that says so, which a cache takes its time from (RFC 2308)."""
    (record,) = ask(name, qtype).auth
    assert f"{record.rname} {record.ttl} {record.rdata.toZone()}" == soa


@pytest.mark.parametrize("name", SEED_NAMES)
def test_the_seeds_names_have_addresses(name: str) -> None:
    """Each name of the seed's load test but the bare `kubernetes` ends in at least one address."""
    reply = ask(name)
    assert (reply.header.rcode, reply.rr[-1].rtype) == (0, QTYPE.A)


def test_every_name_answers_every_type() -> None:
    """No name and type in the table is lost, and no CNAME chain is endless."""
    for name, types in cluster.TABLE.items():
        for qtype in (*types, QTYPE.A, QTYPE.ANY):
            reply = cluster.look_up(name, qtype)
            assert reply.answer or reply.authority
            assert qtype not in types or reply.answer[: len(types[qtype])] == types[qtype]


@pytest.mark.parametrize(("service", "endpoints"), [("web", 30), ("big", 500)])
def test_headless_services(service: str, endpoints: int) -> None:
    """A headless Service has one address and one SRV per endpoint, and each SRV's target comes with its address."""
    name = f"{service}.default.svc.cluster.local"
    addresses = [record.rdata.toZone() for record in ask(name).rr]
    ports = ask(f"_http._tcp.{name}", "SRV")
    assert len(set(addresses)) == len(ports.rr) == endpoints
    assert {str(record.rdata.target) for record in ports.rr} == {str(record.rname) for record in ports.ar}
    assert sorted(record.rdata.toZone() for record in ports.ar) == sorted(addresses)


@pytest.mark.parametrize(
    ("name", "edns", "proto", "truncated", "udp_size"),
    [
        ("kubernetes.default.svc.cluster.local", None, "udp", False, None),
        ("web.default.svc.cluster.local", None, "udp", True, None),
        ("web.default.svc.cluster.local", 0, "udp", True, 1232),
        ("web.default.svc.cluster.local", 512, "udp", True, 1232),
        ("web.default.svc.cluster.local", 1232, "udp", False, 1232),
        ("big.default.svc.cluster.local", 65535, "udp", True, 1232),
        ("big.default.svc.cluster.local", None, "tcp", False, None),
        ("big.default.svc.cluster.local", 512, "tcp", False, 1232),
    ],
)
def test_sizes(name: str, edns: int | None, proto: str, truncated: bool, udp_size: int | None) -> None:
    """A UDP reply keeps to the client's size, 512 to 1232, or has TC and no records; TCP has room for all."""
    wire = cluster.answer(query(name, edns=edns), proto)
    assert wire is not None
    reply = DNSRecord.parse(wire)
    limit = min(max(edns or 0, 512), 1232)
    assert reply.header.tc == truncated == (not reply.rr)
    assert proto == "tcp" or len(wire) <= limit
    assert [opt.edns_len for opt in reply.ar] == ([] if udp_size is None else [udp_size])


@pytest.mark.parametrize("do", [False, True])
def test_the_do_bit_comes_back(do: bool) -> None:
    """DO is copied into our OPT (RFC 3225 section 3)."""
    wire = cluster.answer(query("kubernetes.io", edns=1232, do=do), "udp")
    assert DNSRecord.parse(wire).ar[0].edns_do == do


def test_failures_say_why_to_those_who_can_read_it() -> None:
    """A SERVFAIL carries an Extended DNS Error for a client with EDNS, and no OPT for one without (RFC 8914)."""
    with_edns = DNSRecord.parse(cluster.answer(query("kubernetes", edns=1232), "udp"))
    (option,) = with_edns.ar[0].rdata
    assert (option.code, option.data) == (15, cluster.FAILED_ON_PURPOSE)
    assert ask("kubernetes").ar == []


@pytest.mark.parametrize("qtype", ["A", "AAAA", "TYPE65280"])
def test_the_silent_name(qtype: str) -> None:
    """The black hole answers no type at all."""
    assert cluster.answer(query("BlackHole.default.svc.cluster.local", qtype), "udp") is None


@pytest.mark.parametrize(
    "name",
    [
        b"\x0akUbErNeTeS\x07dEfAuLt\x03sVc\x07cLuStEr\x05lOcAl\0",
        b"\x04a\xff\0.\0",
        b"\0",
        (b"\x3f" + b"x" * 63) * 3 + b"\x3d" + b"y" * 61 + b"\0",
    ],
)
def test_the_question_comes_back_byte_for_byte(name: bytes) -> None:
    """Any legal name is echoed as it was sent: mixed case, bytes that are no text, the root, 255 bytes (RFC 1035)."""
    question = name + b"\0\1\0\1"
    reply = cluster.answer(b"\xab\xcd\x01\x10\0\1\0\0\0\0\0\0" + question, "udp")
    assert reply is not None
    assert reply[12 : 12 + len(question)] == question
    assert reply[:2] == b"\xab\xcd"
    assert reply[3] & 0x10


HEADER = b"\x12\x34\x01\0"
COUNTS = b"\0\1\0\0\0\0\0\0"
QUESTION = b"\x01a\0\0\1\0\1"
OPT = b"\0\0\x29\x04\xd0\0\0\0\0\0\0"


@pytest.mark.parametrize(
    ("wire", "rcode"),
    [
        (b"", None),
        (b"\x12\x34\x01\0\0\1\0\0\0\0\0", None),
        (b"\x12\x34\x81\0" + COUNTS + QUESTION, None),
        (HEADER + COUNTS, "FORMERR"),
        (HEADER + b"\0\0\0\0\0\0\0\0", "FORMERR"),
        (HEADER + b"\0\2\0\0\0\0\0\0" + QUESTION * 2, "FORMERR"),
        (HEADER + b"\0\1\0\1\0\0\0\0" + QUESTION + b"\0" * 11, "FORMERR"),
        (HEADER + COUNTS + b"\x01a\0\0\1", "FORMERR"),
        (HEADER + COUNTS + b"\x3fa\0\0\1\0\1", "FORMERR"),
        (HEADER + COUNTS + b"\xc0\x0c\0\1\0\1", "FORMERR"),
        (HEADER + COUNTS + b"\x40" + b"a" * 64 + b"\0\0\1\0\1", "FORMERR"),
        (HEADER + COUNTS + b"\xc0" + b"a" * 192 + b"\0\0\1\0\1", "FORMERR"),
        (HEADER + COUNTS + (b"\x3f" + b"x" * 63) * 4 + b"\0\0\1\0\1", "FORMERR"),
        (HEADER + COUNTS + QUESTION + b"trailing", "FORMERR"),
        (HEADER + b"\0\1\0\0\0\0\0\1" + QUESTION, "FORMERR"),
        (HEADER + b"\0\1\0\0\0\0\0\1" + QUESTION + OPT[:-1] + b"\xff", "FORMERR"),
        (HEADER + b"\0\1\0\0\0\0\0\1" + QUESTION + b"\1o" + OPT, "FORMERR"),
        (HEADER + b"\0\1\0\0\0\0\0\2" + QUESTION + OPT * 2, "FORMERR"),
        (HEADER + b"\0\1\0\0\0\0\xff\xff" + QUESTION + OPT, "FORMERR"),
        (b"\x12\x34\x29\0" + COUNTS + QUESTION, "NOTIMP"),
        (HEADER + COUNTS + b"\x01a\0\0\1\0\3", "REFUSED"),
        (HEADER + COUNTS + b"\x01a\0\0\xfb\0\1", "REFUSED"),
        (HEADER + COUNTS + QUESTION, "NXDOMAIN"),
    ],
)
def test_hostile_bytes(wire: bytes, rcode: str | None) -> None:
    """What is no query gets silence, a broken one FORMERR, an unserved one its own code; none of them raises."""
    reply = cluster.answer(wire, "udp")
    assert (reply is None) == (rcode is None)
    if reply is not None:
        assert reply[:2] == wire[:2]
        assert RCODE[reply[3] & 0x0F] == rcode


def test_a_later_edns_version_gets_badvers() -> None:
    """An OPT of version 1 gets BADVERS, 16, with an OPT of version 0 (RFC 6891 section 6.1.3)."""
    reply = cluster.answer(HEADER + b"\0\1\0\0\0\0\0\1" + QUESTION + b"\0\0\x29\x04\xd0\0\1\0\0\0\0", "udp")
    (opt,) = DNSRecord.parse(reply).ar
    assert (opt.edns_rcode, opt.edns_ver, opt.edns_len) == (1, 0, 1232)


def test_mutated_queries_never_raise() -> None:
    """20,000 queries with random bytes changed, cut or added get silence or a reply with their own id."""
    rand = random.Random(20201110)
    seeds = [query(name, qtype, edns=1232) for name in ("www.baidu.com", "x" * 63) for qtype in ("A", "TXT")]
    answered = 0
    for _ in range(20_000):
        wire = bytearray(rand.choice(seeds))
        for _ in range(rand.randrange(4)):
            wire[rand.randrange(len(wire))] = rand.randrange(256)
        wire = wire[: rand.randrange(len(wire) + 1)] + rand.randbytes(rand.choice((0, 0, 3)))
        reply = cluster.answer(bytes(wire), rand.choice(("udp", "tcp")))
        assert reply is None or (reply[:2] == wire[:2] and reply[2] & 0x80)
        answered += reply is not None
    assert answered > 10_000
