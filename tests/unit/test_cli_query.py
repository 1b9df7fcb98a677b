"""`nodedns query`: every branch against the example cluster, and against servers that lie."""

import os
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import pycares
import pytest
from dnslib import CAA, NAPTR, QTYPE, RD, RR, TXT, A, DNSLabel, DNSRecord

from nodedns import query, query_wire
from nodedns.example import server
from tests.ports import free_port

PATIENCE = 30.0  # seconds; only a failing test waits this long
SVC = "default.svc.cluster.local"
OWNERS_KNOWN = int(pycares.__version__.split(".")[0]) >= 5
"""pycares 4 gives no owner and few TTLs: what it prints is tested by RDATA alone."""


class Endpoint(NamedTuple):
    address: str
    port: int


@pytest.fixture(scope="module", params=["127.0.0.1", "::1"])
def cluster(request: pytest.FixtureRequest) -> Iterator[Endpoint]:
    """The example cluster on a free port of each loopback address."""
    read_end, write_end = os.pipe()
    with server.listening(request.param, free_port()) as (udp, _):
        endpoint = Endpoint(request.param, udp.getsockname()[1])
    listens = threading.Event()
    thread = threading.Thread(target=server.serve, args=(*endpoint, listens.set, read_end))
    thread.start()
    assert listens.wait(PATIENCE)
    yield endpoint
    os.close(write_end)
    thread.join(PATIENCE)
    os.close(read_end)


@pytest.mark.parametrize("tcp", [False, True])
@pytest.mark.parametrize(
    ("name", "qtype", "line"),
    [
        (f"kubernetes.{SVC}", "A", f"kubernetes.{SVC}.\t30\tIN\tA\t10.96.0.1"),
        (f"kubernetes.{SVC}.", "type1", f"kubernetes.{SVC}.\t30\tIN\tA\t10.96.0.1"),
        (f"baidu.{SVC}", "a", "www.a.shifen.com.\t300\tIN\tA\t180.101.49.11"),
        (f"big.{SVC}", "A", f"big.{SVC}.\t30\tIN\tA\t10.244.3.250"),
        ("www.yahoo.com", "AAAA", "new-fp-shed.wg1.b.yahoo.com.\t60\tIN\tAAAA\t2001:db8::30"),
        (f"_https._tcp.kubernetes.{SVC}", "SRV",
         f"_https._tcp.kubernetes.{SVC}.\t30\tIN\tSRV\t0 100 443 kubernetes.{SVC}."),
        ("1.0.96.10.in-addr.arpa", "PTR", f"1.0.96.10.in-addr.arpa.\t30\tIN\tPTR\tkubernetes.{SVC}."),
        ("dns-version.cluster.local", "TXT", 'dns-version.cluster.local.\t30\tIN\tTXT\t"1.1.0"'),
        ("baidu.com", "MX", "baidu.com.\t600\tIN\tMX\t10 mail.baidu.com."),
        ("cluster.local", "NS", "cluster.local.\t5\tIN\tNS\tns.dns.cluster.local."),
        ("kubernetes.io", "CAA", 'kubernetes.io.\t3600\tIN\tCAA\t0 issue "letsencrypt.org"'),
        (f"baidu.{SVC}", "CNAME", f"baidu.{SVC}.\t30\tIN\tCNAME\twww.baidu.com."),
        (".", "SOA", ".\t86400\tIN\tSOA\ta.root-servers.net. nstld.verisign-grs.com. 2020111000 1800 900 604800 86400"),
        ("www.microsoft.com", "HTTPS", "www.microsoft.com.\t3600\tIN\tHTTPS\t1 . alpn=h3,h2"),
        (f"unknown-type.{SVC}", "TYPE65280", f"unknown-type.{SVC}.\t30\tIN\tTYPE65280\t\\# 4 0A60000A"),
        (f"big.{SVC}", "ANY", f"big.{SVC}.\t30\tIN\tA\t10.244.3.250"),
    ],
)  # fmt: skip
def test_answers(
    cluster: Endpoint, capfd: pytest.CaptureFixture[str], *, name: str, qtype: str, line: str, tcp: bool
) -> None:
    """Each type prints its records as a zone file has them, the asked one last, and exits with 0."""
    assert query.run(name, qtype, cluster, tcp, PATIENCE) == 0
    out, err = capfd.readouterr()
    last = out.splitlines()[-1]
    assert last == line or (not OWNERS_KNOWN and last.split("\t")[3:] == line.split("\t")[3:])
    assert err == ""


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("qtype", ["A", "DS"])
@pytest.mark.parametrize(
    ("name", "word"),
    [
        (f"nope.{SVC}", "NXDOMAIN"),
        (SVC, "NODATA"),
        (f"servfail.{SVC}", "SERVFAIL"),
        ("kubernetes", "SERVFAIL"),
        (f"blackhole.{SVC}", "TIMEOUT"),
    ],
)
def test_failures(
    cluster: Endpoint, capfd: pytest.CaptureFixture[str], *, name: str, qtype: str, word: str, raw: bool
) -> None:
    """Each failure exits with 1 and one line on stderr: its word, the question, the server, what to do next."""
    seconds = 0.3 if word == "TIMEOUT" else PATIENCE
    assert query.run(name, qtype, cluster, False, seconds, raw=raw) == 1
    out, err = capfd.readouterr()
    assert err.startswith(f"{word}: {name}. {qtype} at {query_wire.where(cluster)}: ")
    assert err.count("\n") == 1
    assert bool(out) == (raw and word != "TIMEOUT")


@pytest.mark.parametrize("qtype", ["A", "DS"])
@pytest.mark.parametrize("tcp", [False, True])
def test_nobody_listens(capfd: pytest.CaptureFixture[str], qtype: str, tcp: bool) -> None:
    """A closed port is UNREACHABLE at once, not a timeout."""
    with server.listening("127.0.0.1", free_port()) as (udp, _):
        closed = Endpoint("127.0.0.1", udp.getsockname()[1])
    assert query.run("kubernetes.io", qtype, closed, tcp, PATIENCE) == 1
    assert capfd.readouterr().err.startswith("UNREACHABLE: kubernetes.io. ")


def test_raw_shows_the_whole_reply(cluster: Endpoint, capfd: pytest.CaptureFixture[str]) -> None:
    """--raw prints status, flags, EDNS with the Extended DNS Error, the sections and the server, as dig does."""
    query.run(f"servfail.{SVC}", "A", cluster, True, PATIENCE, raw=True)
    shown = capfd.readouterr().out.splitlines()
    assert shown[0].startswith(";; opcode: QUERY, status: SERVFAIL, id: ")
    assert shown[1:7] == [
        ";; flags: qr rd ra; QUERY: 1, ANSWER: 0, AUTHORITY: 0, ADDITIONAL: 1",
        ";; OPT PSEUDOSECTION:",
        "; EDNS: version: 0, flags:; udp: 1232",
        '; EDE: 0 (Other Error): "the example cluster fails this name on purpose"',
        ";; QUESTION SECTION:",
        f";servfail.{SVC}.\tIN\tA",
    ]
    assert shown[-2:] == [f";; SERVER: {query_wire.where(cluster)} (TCP)", ";; MSG SIZE  rcvd: 115"]


def test_raw_shows_the_negative_answers_soa(cluster: Endpoint, capfd: pytest.CaptureFixture[str]) -> None:
    """--raw prints the SOA of an NXDOMAIN, which c-ares hides."""
    query.run("nope.cluster.local", "A", cluster, False, PATIENCE, raw=True)
    soa = "cluster.local.\t5\tIN\tSOA\tns.dns.cluster.local. hostmaster.cluster.local. 1604984400 7200 1800 86400 5"
    assert soa in capfd.readouterr().out.splitlines()


@pytest.mark.parametrize(
    ("name", "qtype", "expected"),
    [
        ("kubernetes.io", "WHAT", "'WHAT' is no type; TYPEnnn or one of A A6 AAAA "),
        ("kubernetes.io", "TYPE0", "'TYPE0' is no type"),
        ("kubernetes.io", "TYPE65536", "'TYPE65536' is no type"),
        ("kubernetes.io", "AXFR", "'AXFR' is no type"),
        ("kubernetes.io", "\x1b[2J", "'\\027[2J' is no type"),
        ("", "A", "'' is no domain name: it has an empty label"),
        ("a..b", "A", "'a..b' is no domain name: it has an empty label"),
        ("a\\", "A", "its last backslash escapes nothing"),
        ("a\\256", "A", "is no domain name"),
        ("x" * 64, "A", "a label has at most 63 bytes"),
        (".".join(["x" * 63] * 4), "A", "a name 255"),
        ("b\u00fc" + "x" * 70, "A", "is no domain name"),
    ],
)
def test_usage(capfd: pytest.CaptureFixture[str], name: str, qtype: str, expected: str) -> None:
    """What cannot be asked exits with 2, says why on stderr, and sends nothing."""
    assert query.run(name, qtype, Endpoint("127.0.0.1", 9), False, 0.3) == 2
    out, err = capfd.readouterr()
    assert expected in err
    assert (out, err[:-1].isprintable(), err[-1]) == ("", True, "\n")


@contextmanager
def liar(*replies: Callable[[bytes], bytes], tcp: bool = False) -> Iterator[Endpoint]:
    """A server for one query that sends what `replies` make of it, then closes."""
    with server.listening("127.0.0.1", free_port()) as (udp, listener):
        udp.settimeout(PATIENCE)
        listener.settimeout(PATIENCE)

        def lie() -> None:
            if tcp:
                stream, _ = listener.accept()
                with stream:
                    asked = stream.recv(65535)[2:]
                    stream.sendall(b"".join(reply(asked) for reply in replies))
                return
            asked, client = udp.recvfrom(65535)
            for reply in replies:
                udp.sendto(reply(asked), client)

        thread = threading.Thread(target=lie)
        thread.start()
        yield Endpoint("127.0.0.1", udp.getsockname()[1])
        thread.join(PATIENCE)


def answers(*records: RR) -> Callable[[bytes], bytes]:
    def reply(asked: bytes) -> bytes:
        message = DNSRecord.parse(asked).reply()
        message.add_answer(*records)
        return bytes(message.pack())

    return reply


RIGHT = answers(RR("x.example", QTYPE.A, ttl=1, rdata=A("192.0.2.1")))
LOOP = b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4\1\2\3\4"


@pytest.mark.parametrize(
    ("replies", "code", "word"),
    [
        ([lambda q: bytes([q[0] ^ 1]) + RIGHT(q)[1:], RIGHT], 0, ""),
        ([lambda q: RIGHT(q).replace(b"\x01x", b"\x01y"), RIGHT], 0, ""),
        ([lambda q: q, RIGHT], 0, ""),
        ([lambda q: RIGHT(q)[:11], RIGHT], 0, ""),
        ([lambda q: RIGHT(q).replace(b"\x01x", b"\x01y")], 1, "TIMEOUT"),
        ([lambda q: q[:2] + b"\x80\1\0\0\0\0\0\0\0\0"], 1, "FORMERR"),
        ([lambda q: q[:2] + b"\x80\0\0\0\0\0\0\0\0\0"], 1, "TIMEOUT"),
        ([lambda q: RIGHT(q)[:-5]], 1, "BADREPLY"),
        ([lambda q: q[:2] + b"\x80\0\0\1\0\2\0\0\0\0" + q[12:-11] + LOOP[:1] + b"\xff" + LOOP[2:]], 1, "BADREPLY"),
        ([answers(RR("x.example", QTYPE.CAA, rdata=RD(b"\0\5issue\xff")))], 1, "BADREPLY"),
        ([answers(RR("x.example", QTYPE.CAA, rdata=CAA(0, "issue", "x")))], 1, "NODATA"),
    ],
)  # fmt: skip
def test_only_the_querys_own_reply_counts(
    capfd: pytest.CaptureFixture[str], replies: list[Callable[[bytes], bytes]], code: int, word: str
) -> None:
    """A reply with another id or question is passed over (RFC 5452); one that cannot be read is BADREPLY."""
    seconds = 0.5 if word == "TIMEOUT" else PATIENCE
    with liar(*replies) as endpoint:
        assert query.run("x.example", "A", endpoint, False, seconds, raw=True) == code
    assert capfd.readouterr().err.startswith(word)


@pytest.mark.parametrize(
    "reply",
    [
        lambda q: b"",
        lambda q: b"\0",
        lambda q: b"\0\xff" + RIGHT(q),
        lambda q: struct.pack("!H", len(RIGHT(q))) + b"\0\0" + RIGHT(q)[2:],
    ],
)
def test_a_broken_tcp_reply(capfd: pytest.CaptureFixture[str], reply: Callable[[bytes], bytes]) -> None:
    """A connection that closes early or carries another query's reply is BADREPLY, without waiting for the timeout."""
    with liar(reply, tcp=True) as endpoint:
        assert query.run("x.example", "DS", endpoint, True, PATIENCE) == 1
    assert capfd.readouterr().err.startswith("BADREPLY")


@pytest.mark.parametrize("qtype", ["A", "DS"])
def test_tcp_is_tcp(capfd: pytest.CaptureFixture[str], qtype: str) -> None:
    """With `tcp` a server that answers over TCP alone is enough, through c-ares too."""
    with liar(lambda q: struct.pack("!H", len(RIGHT(q))) + RIGHT(q), tcp=True) as endpoint:
        query.run("x.example", qtype, endpoint, True, PATIENCE)
    assert capfd.readouterr().out == "x.example.\t1\tIN\tA\t192.0.2.1\n"


@pytest.mark.parametrize("qtype", ["AAAA", "DS"])
def test_a_chain_without_an_end_is_nodata(cluster: Endpoint, capfd: pytest.CaptureFixture[str], qtype: str) -> None:
    """A CNAME to a name without the asked type is NODATA."""
    assert query.run("www.baidu.com", qtype, cluster, False, PATIENCE) == 1
    assert capfd.readouterr().err.startswith("NODATA: www.baidu.com. ")


HOSTILE = b'\x1b]0;owned\x07"\\\xff\n'


@pytest.mark.parametrize(
    ("qtype", "raw", "record", "shown"),
    [
        ("TXT", False, RR("x.example", QTYPE.TXT, rdata=TXT([HOSTILE])), '"\\027]0;owned\\007\\"\\\\\\255\\010"'),
        ("TXT", True, RR("x.example", QTYPE.TXT, rdata=TXT([HOSTILE])), '"\\027]0;owned\\007\\"\\\\\\255\\010"'),
        pytest.param("A", False, RR(DNSLabel([b"\x1b.", b"example"]), QTYPE.A, rdata=A("192.0.2.1")),
                     "\\027\\..example.", marks=pytest.mark.skipif(not OWNERS_KNOWN, reason="pycares 4 has no owners")),
        ("A", True, RR(DNSLabel([b"\x1b.", b"example"]), QTYPE.A, rdata=A("192.0.2.1")), "\\027\\..example."),
        ("CAA", False, RR("x.example", QTYPE.CAA, rdata=CAA(0, "issue", "\x1b[2J\n")), '"\\027[2J\\010"'),
        ("CAA", True, RR("x.example", QTYPE.CAA, rdata=CAA(0, "issue", "\x1b[2J\n")), '"\\027[2J\\010"'),
        ("NAPTR", True, RR("x.example", QTYPE.NAPTR, rdata=NAPTR(1, 2, b"\x1b", b"", b"", "x")), '1 2 "\\027" '),
        ("NAPTR", True, RR("x.example", QTYPE.NAPTR, rdata=NAPTR(1, 2, b"\xff", b"", b"", "x")), "\\# 11 0001"),
        ("TYPE99", True, RR("x.example", QTYPE.CNAME, rdata=RD(b"\4\x1b[2J\0")), "\tCNAME\t\\027[2J."),
    ],
)  # fmt: skip
def test_hostile_text_is_printed_harmless(
    capfd: pytest.CaptureFixture[str], *, qtype: str, raw: bool, record: RR, shown: str
) -> None:
    """No byte of a reply reaches the terminal but printable ASCII: the rest comes as decimal escapes."""
    with liar(answers(record)) as endpoint:
        query.run("x.example", qtype, endpoint, False, PATIENCE, raw=raw)
    out = capfd.readouterr().out
    assert all(character in "\t\n" or " " <= character <= "~" for character in out)
    assert shown in out
