"""The example cluster: its names as one zone text, and the answer an authoritative server owes a query about them.

The names under cluster.local answer as CoreDNS's kubernetes plugin does (github.com/coredns/coredns,
plugin/kubernetes): TTL 30 as kubeadm sets it, a negative answer's SOA with the plugin's own default of 5 s. Names
outside the cluster stand in "." as if a forwarder had fetched them; those without a published address use the
documentation ranges of RFC 5737.

Queries are read by hand and only the table's own records go through dnslib, because dnslib refuses legal names (labels
that are not UTF-8) and spends seconds on hostile compression pointers.
"""

import struct
from collections.abc import Iterable
from typing import Any, NamedTuple

from dnslib import QTYPE, RR, SRV, A, DNSBuffer

Name = tuple[bytes, ...]
"""Lower-cased labels, most specific first, without the root's empty one: (b"www", b"baidu", b"com")."""

ZONE = r"""
cluster.local.      5 IN SOA ns.dns.cluster.local. hostmaster.cluster.local. 1604984400 7200 1800 86400 5
cluster.local.      5 IN NS  ns.dns.cluster.local.
in-addr.arpa.       5 IN SOA ns.dns.in-addr.arpa. hostmaster.in-addr.arpa. 1604984400 7200 1800 86400 5
ip6.arpa.           5 IN SOA ns.dns.ip6.arpa. hostmaster.ip6.arpa. 1604984400 7200 1800 86400 5
.               86400 IN SOA a.root-servers.net. nstld.verisign-grs.com. 2020111000 1800 900 604800 86400

ns.dns.cluster.local.                                5 IN A     10.96.0.10
dns-version.cluster.local.                          30 IN TXT   "1.1.0"
kubernetes.default.svc.cluster.local.               30 IN A     10.96.0.1
_https._tcp.kubernetes.default.svc.cluster.local.   30 IN SRV   0 100 443 kubernetes.default.svc.cluster.local.
kube-dns.kube-system.svc.cluster.local.             30 IN A     10.96.0.10
_dns._udp.kube-dns.kube-system.svc.cluster.local.   30 IN SRV   0 100 53 kube-dns.kube-system.svc.cluster.local.
_dns._tcp.kube-dns.kube-system.svc.cluster.local.   30 IN SRV   0 100 53 kube-dns.kube-system.svc.cluster.local.
baidu.default.svc.cluster.local.                    30 IN CNAME www.baidu.com.
dangling.default.svc.cluster.local.                 30 IN CNAME gone.example.com.
unknown-type.default.svc.cluster.local.             30 IN TYPE65280 \# 4 0A60000A
1.0.96.10.in-addr.arpa.                             30 IN PTR   kubernetes.default.svc.cluster.local.
10.0.96.10.in-addr.arpa.                            30 IN PTR   kube-dns.kube-system.svc.cluster.local.

baidu.com.             600 IN A     192.0.2.10
baidu.com.             600 IN MX    10 mail.baidu.com.
mail.baidu.com.        600 IN A     192.0.2.11
www.baidu.com.        1200 IN CNAME www.a.shifen.com.
www.a.shifen.com.      300 IN A     180.101.49.12
www.a.shifen.com.      300 IN A     180.101.49.11
github.com.             60 IN A     198.51.100.20
www.yahoo.com.          60 IN CNAME new-fp-shed.wg1.b.yahoo.com.
new-fp-shed.wg1.b.yahoo.com. 60 IN A 198.51.100.30
new-fp-shed.wg1.b.yahoo.com. 60 IN A 198.51.100.31
new-fp-shed.wg1.b.yahoo.com. 60 IN AAAA 2001:db8::30
www.microsoft.com.    3600 IN A     203.0.113.40
www.microsoft.com.    3600 IN HTTPS 1 . alpn=h3,h2
www.aliyun.com.        120 IN A     203.0.113.50
developer.aliyun.com.  120 IN A     203.0.113.51
kubernetes.io.        3600 IN A     203.0.113.60
kubernetes.io.        3600 IN CAA   0 issue "letsencrypt.org"
"""

WEB = tuple(f"10.244.1.{host}" for host in range(1, 31))
"""Endpoints of the headless Service web: their A records pass 512 bytes and stay below 1232."""

BIG = tuple(f"10.244.{2 + number // 250}.{1 + number % 250}" for number in range(500))
"""Endpoints of the headless Service big: its A answer, 8 KiB, is the largest a cache must hold; UDP truncates it."""

SILENT = frozenset({(b"blackhole", b"default", b"svc", b"cluster", b"local")})
FAILING = frozenset({(b"servfail", b"default", b"svc", b"cluster", b"local"), (b"kubernetes",)})
"""A bare `kubernetes` fails because CoreDNS forwards it and the node's resolver refuses single labels."""

NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED, BADVERS = 0, 1, 2, 3, 4, 5, 16

UDP_SIZE = 1232
"""Bytes, advertised and kept to: DNS Flag Day 2020's size, which passes any link unfragmented."""

FAILED_ON_PURPOSE = b"\0\0the example cluster fails this name on purpose"
"""An Extended DNS Error (RFC 8914): code 0, Other Error, and its text."""

Records = list[Any]
"""dnslib.RR objects; dnslib has no types."""


class Question(NamedTuple):
    """What a query asks: `wire` is the question section byte for byte; `udp_size` is None without EDNS."""

    wire: bytes
    labels: Name
    qtype: int
    qclass: int
    udp_size: int | None
    edns_version: int
    do: bool


class Reply(NamedTuple):
    rcode: int
    answer: Records = []
    authority: Records = []
    additional: Records = []


def key(labels: Iterable[bytes]) -> Name:
    """Labels as the table is keyed: names compare without case in ASCII alone (RFC 4343)."""
    return tuple(label.lower() for label in labels)


def _headless(service: str, addresses: tuple[str, ...]) -> Records:
    name = f"{service}.default.svc.cluster.local."
    weight = max(1, 100 // len(addresses))
    records: Records = []
    for address in addresses:
        endpoint = f"{address.replace('.', '-')}.{name}"
        records.append(RR(name, QTYPE.A, ttl=30, rdata=A(address)))
        records.append(RR(endpoint, QTYPE.A, ttl=30, rdata=A(address)))
        records.append(RR(f"_http._tcp.{name}", QTYPE.SRV, ttl=30, rdata=SRV(0, weight, 80, endpoint)))
    return records


def _index(records: Records) -> dict[Name, dict[int, Records]]:
    """{name: {type: records}}; a name with only names below it is there with no types: it exists (RFC 8020)."""
    table: dict[Name, dict[int, Records]] = {}
    for record in records:
        name = key(record.rname.label)
        for depth in range(len(name) + 1):
            table.setdefault(name[depth:], {})
        table[name].setdefault(record.rtype, []).append(record)
    return table


TABLE = _index([*RR.fromZone(ZONE), *_headless("web", WEB), *_headless("big", BIG)])


def _start_of_authority(name: Name) -> Records:
    zones = (TABLE.get(name[depth:], {}).get(QTYPE.SOA) for depth in range(len(name) + 1))
    return next(records for records in zones if records)


def _addresses_of(targets: Records) -> Records:
    """The A records of SRV targets, which CoreDNS sends along."""
    names = dict.fromkeys(key(record.rdata.target.label) for record in targets if record.rtype == QTYPE.SRV)
    return [address for name in names for address in TABLE[name].get(QTYPE.A, [])]


def look_up(name: Name, qtype: int) -> Reply:
    """The records for `name` and `qtype`; follows CNAMEs across zones, as CoreDNS does for an ExternalName."""
    chain: Records = []
    while name in TABLE:
        types = TABLE[name]
        # ANY may be answered by one RRset of the name (RFC 8482 section 4.1).
        found = next(iter(types.values()), []) if qtype == QTYPE.ANY else types.get(qtype, [])
        if found:
            return Reply(NOERROR, chain + found, additional=_addresses_of(found))
        alias = types.get(QTYPE.CNAME)
        if not alias:
            return Reply(NOERROR, chain, _start_of_authority(name))
        chain = chain + alias
        name = key(alias[0].rdata.label.label)
    return Reply(NXDOMAIN, chain, _start_of_authority(name))


def _read_name(message: bytes, at: int) -> tuple[Name, int]:
    """The labels at `at` and the offset behind them. No compression: a query has no earlier name to point to."""
    start, labels = at, []
    while length := message[at]:
        if length > 63:
            raise ValueError("a label is longer than 63 bytes, or compressed (RFC 1035 section 4.1.4)")
        labels.append(message[at + 1 : at + 1 + length])
        at += 1 + length
    if at + 1 - start > 255:
        raise ValueError("a name is longer than 255 bytes (RFC 1035 section 3.1)")
    return key(labels), at + 1


def _read(message: bytes) -> Question:
    """The one question of a query and its OPT; ValueError, IndexError or struct.error when it is not well formed."""
    counts = struct.unpack_from("!4H", message, 4)
    if counts[:3] != (1, 0, 0):
        raise ValueError("a query has one question and neither answer nor authority (RFC 9619)")
    labels, at = _read_name(message, 12)
    qtype, qclass = struct.unpack_from("!HH", message, at)
    at += 4
    wire, udp_size, ttl = message[12:at], None, 0
    for _ in range(counts[3]):
        owner, at = _read_name(message, at)
        rtype, rclass, rttl, length = struct.unpack_from("!HHIH", message, at)
        at += 10 + length
        if rtype != QTYPE.OPT:
            continue
        if owner or udp_size is not None:
            raise ValueError("an OPT belongs to the root and comes once (RFC 6891 section 6.1.1)")
        udp_size, ttl = rclass, rttl
    if at != len(message):
        raise ValueError("the sections end before or behind the message's end")
    return Question(wire, labels, qtype, qclass, udp_size, ttl >> 16 & 0xFF, bool(ttl & 0x8000))


def _decide(question: Question) -> Reply | None:
    if question.edns_version:
        return Reply(BADVERS)
    if question.qclass != 1 or question.qtype in (QTYPE.AXFR, QTYPE.IXFR):
        return Reply(REFUSED)
    if question.labels in SILENT:
        return None
    if question.labels in FAILING:
        return Reply(SERVFAIL)
    return look_up(question.labels, question.qtype)


def _header(query: bytes, rcode: int, *, bits: int = 0, counts: tuple[int, int, int, int] = (0, 0, 0, 0)) -> bytes:
    """QR and RA set, opcode, RD and CD as the client sent them (RFC 1035 section 4.1.1, RFC 4035 section 3.2.2)."""
    ident, flags = struct.unpack_from("!HH", query)
    return struct.pack("!6H", ident, 0x8080 | bits | flags & 0x7910 | rcode & 0xF, *counts)


def _opt(question: Question, rcode: int) -> bytes:
    """Our OPT for a client that sent one; DO is copied (RFC 3225 section 3), options never are (RFC 6891 section 7)."""
    if question.udp_size is None:
        return b""
    options = b""
    if rcode == SERVFAIL:
        options = struct.pack("!HH", 15, len(FAILED_ON_PURPOSE)) + FAILED_ON_PURPOSE
    extended = rcode >> 4 << 24 | (0x8000 if question.do else 0)
    return struct.pack("!BHHIH", 0, QTYPE.OPT, UDP_SIZE, extended, len(options)) + options


def _pack(query: bytes, question: Question, reply: Reply, limit: int) -> bytes:
    """The reply's bytes; with TC and no records where it passes `limit` bytes (RFC 2181 section 9)."""
    opt = _opt(question, reply.rcode)
    counts = (1, len(reply.answer), len(reply.authority), len(reply.additional) + bool(opt))
    authoritative = 0x0400 if reply.rcode in (NOERROR, NXDOMAIN) else 0
    buffer = DNSBuffer()
    buffer.append(_header(query, reply.rcode, bits=authoritative, counts=counts))
    at = buffer.offset
    buffer.append(question.wire)
    for depth, label in enumerate(question.labels):
        # Owner names point into the question, so they carry the client's own spelling of the name.
        buffer.names[question.labels[depth:]] = at
        at += 1 + len(label)
    for record in (*reply.answer, *reply.authority, *reply.additional):
        record.pack(buffer)
    if len(buffer) + len(opt) <= limit:
        return bytes(buffer.data) + opt
    header = _header(query, reply.rcode, bits=authoritative | 0x0200, counts=(1, 0, 0, int(bool(opt))))
    return header + question.wire + opt


def answer(query: bytes, proto: str) -> bytes | None:
    """The reply to one query, or None for silence: for a name that never answers, and for what is no query at all.

    `query` is one DNS message without TCP's length; `proto` is "udp" or "tcp" and decides the size a reply may have.
    """
    if len(query) < 12 or query[2] & 0x80:
        return None
    if query[2] & 0x78:
        return _header(query, NOTIMP)
    try:
        question = _read(query)
    except (ValueError, IndexError, struct.error):
        return _header(query, FORMERR)
    reply = _decide(question)
    if reply is None:
        return None
    udp_limit = min(max(question.udp_size or 0, 512), UDP_SIZE)
    return _pack(query, question, reply, udp_limit if proto == "udp" else 0xFFFF)
