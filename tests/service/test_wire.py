"""What the service says to every kind of query, asked by dig and, where dig cannot, octet by octet.

The probes are those of RFC 8906 8, and the corners of dns-semantics: an answer the RFC asks for, or silence where it
asks for that; never a crash, never somebody else's data.
"""

import random
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ports import with_room
from tests.service.scripted import Scripted
from tests.service.service import Service

RANDOM_PACKETS = 10_000


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service in front of the scripted zone; at its end the same workers must still be there."""
    with (
        Scripted() as upstream,
        Service(Path(tmp_path_factory.mktemp("wire")), upstream.port) as running,
        running.keeping_its_workers(lambda: again(running)),
    ):
        yield running


def again(service: Service) -> None:
    """All that is sent octet by octet."""
    for packet, rcode in RAW.values():
        test_octets(service, packet, rcode)
    test_random_octets(service)


def dig(service: Service, *words: str) -> str:
    """dig's whole output; no retry, so that silence is seen as such."""
    command = ["dig", "@127.0.0.1", "-p", str(service.port), "+tries=1", "+timeout=3", "+nocookie", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


# words for dig -> patterns its output must have, "!" = must not have
DIG = {
    "A": ("a.test", "status: NOERROR", "192.0.2.1", "flags: qr rd ra;", "udp: 1232"),
    "AAAA": ("mixed.test AAAA", "status: NOERROR", "2001:db8::1"),
    "no EDNS": ("+noedns a.test", "status: NOERROR", "192.0.2.1", "!OPT PSEUDOSECTION"),
    "0x20": ("A.tEsT", "A.tEsT.", "status: NOERROR", "192.0.2.1"),
    "NXDOMAIN, TTL min(SOA TTL, SOA.minimum, cap)": (
        "no.test",
        "status: NXDOMAIN",
        r"\t(30|[12]?\d)\tIN\tSOA",
        "AUTHORITY: 1",
    ),
    "NODATA": ("a.test TXT", "status: NOERROR", "ANSWER: 0", "AUTHORITY: 1", "SOA"),
    "SERVFAIL": ("servfail.test", "status: SERVFAIL", "ANSWER: 0"),
    "CNAME chain": ("chain.test", "ANSWER: 3", "next.test.", "192.0.2.1"),
    "a CNAME asked for": ("chain.test CNAME", "ANSWER: 1", "next.test."),
    "unknown type": ("new.test TYPE65300", "status: NOERROR", "\\\\# 3 010203"),
    "unknown type, no such record": ("a.test TYPE1000", "status: NOERROR", "ANSWER: 0"),
    "HTTPS": ("web.test HTTPS", "ANSWER: 1", "h2"),
    "SVCB": ("web.test SVCB", "status: NOERROR", "ANSWER: 0"),
    "DS": ("+dnssec signed.test DS", "flags: do;", "1 8 2 0102030405060708"),
    "RRSIG with DO": ("+dnssec signed.test", "ANSWER: 2", "RRSIG", "flags: do;"),
    "no RRSIG without DO": ("signed.test", "ANSWER: 1", "!RRSIG"),
    "SRV": ("_s._tcp.test SRV", "0 5 53 a.test."),
    "class CH": ("version.bind CH TXT", "version.bind.\t\t\tCH\tTXT", "status: NXDOMAIN"),
    "ANY over UDP": ("+notcp a.test ANY", "HINFO", "RFC8482"),
    "ANY over TCP": ("+tcp a.test ANY", "status: NOERROR"),
    "AXFR": ("+tcp test AXFR", "Transfer failed"),
    "IXFR": ("+tcp test IXFR=1", "Transfer failed"),
    "EDNS 1": ("+edns=1 +noednsneg a.test", "status: BADVERS", "version: 0", "ANSWER: 0"),
    "EDNS 100": ("+edns=100 +noednsneg a.test", "status: BADVERS", "version: 0"),
    "unknown EDNS option": ("+ednsopt=100 a.test", "status: NOERROR", "192.0.2.1", "!OPT=100"),
    "unknown EDNS flag": ("+ednsflags=0x40 a.test", "status: NOERROR", "flags:;", "!MBZ"),
    "EDNS flags the future may use": ("+ednsflags=0x80 a.test", "status: NOERROR", "flags:;", "!MBZ"),
    "EDNS 0": ("+edns=0 a.test", "status: NOERROR", "version: 0", "udp: 1232"),
    "EDNS 1 with DO": ("+edns=1 +noednsneg +dnssec a.test", "status: BADVERS", "version: 0", "flags: do;"),
    "EDNS 1 with option": ("+edns=1 +noednsneg +ednsopt=100 a.test", "status: BADVERS", "!OPT=100"),
    "cookie is not echoed": ("+cookie a.test", "status: NOERROR", "192.0.2.1", "!COOKIE"),
    "client subnet is not echoed": ("+subnet=192.0.2.0/24 a.test", "status: NOERROR", "!CLIENT-SUBNET"),
    "reserved header bit": ("+zflag a.test", "status: NOERROR", "192.0.2.1", "!MBZ"),
    "AD asked for": ("+ad a.test", "status: NOERROR"),
    "CD copied": ("+cd a.test", "flags: qr rd ra cd;"),
    "RD copied": ("+norec a.test", "flags: qr ra;"),
    "opcode 15": ("+opcode=15 +noedns a.test", "opcode: RESERVED15, status: NOTIMP"),
    "NOTIFY": ("+opcode=notify a.test SOA", "opcode: NOTIFY, status: NOTIMP"),
    "UPDATE": ("+opcode=update a.test SOA", "opcode: UPDATE, status: NOTIMP"),
    "500 endpoints over UDP": ("+ignore many.test", "flags: qr tc rd ra;", "ANSWER: 7"),
    "500 endpoints, then TCP": ("many.test", "ANSWER: 500", r"\(TCP\)"),
    "no EDNS is 512": ("+ignore +noedns many.test", "flags: qr tc rd ra;", "ANSWER: 30", "!OPT PSEUDO"),
    "buffer 0 is 512": ("+ignore +bufsize=0 many.test", "flags: qr tc rd ra;", "ANSWER: 29"),
    "buffer 512": ("+ignore +bufsize=512 many.test", "flags: qr tc rd ra;", "ANSWER: 29", "rcvd: 50"),
    "buffer 1232": ("+ignore +bufsize=1232 many.test", "flags: qr tc rd ra;", "ANSWER: 74"),
    "buffer 65535 is ours": ("+ignore +bufsize=65535 many.test", "flags: qr tc rd ra;", "ANSWER: 74"),
}


@pytest.mark.parametrize("words", DIG.values(), ids=DIG.keys())
@pytest.mark.parametrize("proto", ["udp", "tcp"])
def test_dig(service: Service, words: tuple[str, ...], proto: str) -> None:
    """Each probe gets its answer, cold and warm alike, over UDP and, where that makes sense, over TCP."""
    asked, *wanted = words
    over = ["+tcp"] if proto == "tcp" and not {"+ignore", "+notcp"} & set(asked.split()) else []
    for _ in range(2):
        said = dig(service, *over, *asked.split())
        for text in wanted:
            found = re.search(text.removeprefix("!"), said)
            assert bool(found) != text.startswith("!"), said


def query(name: bytes, *, counts: tuple[int, int, int, int] = (1, 0, 0, 0), tail: bytes = b"") -> bytes:
    """A query with whatever header counts and tail."""
    head = b"\x12\x34\x01\x00" + b"".join(n.to_bytes(2) for n in counts)
    return head + name + b"\0\1\0\1" + tail


A = b"\1a\4test\0"
OPT = b"\0\0\x29\x04\xd0\0\0\0\0\0\0"
LONGEST = b"".join(b"\x3f" + b"a" * 63 for _ in range(3)) + b"\x3d" + b"a" * 61 + b"\0"

# octets -> the RCODE that must come, None for silence
RAW = {
    "a header alone": (b"\x12\x34\1\0\0\0\0\0\0\0\0\0", 1),
    "QDCOUNT 0": (query(A, counts=(0, 0, 0, 0))[:12], 1),
    "QDCOUNT 2": (query(A, counts=(2, 0, 0, 0), tail=A + b"\0\1\0\1"), 1),
    "an answer": (b"\x12\x34\x81\0\0\1\0\0\0\0\0\0" + A + b"\0\1\0\1", None),
    "11 octets": (query(A)[:11], None),
    "nothing": (b"", None),
    "cut in the name": (query(A)[:16], 1),
    "cut in the type": (query(A)[:-3], 1),
    "two OPT": (query(A, counts=(1, 0, 0, 2), tail=OPT + OPT), 1),
    "OPT not at the root": (query(A, counts=(1, 0, 0, 1), tail=b"\1x" + OPT), 1),
    "an answer record in a query": (query(A, counts=(1, 1, 0, 0), tail=A + b"\0\1\0\1\0\0\0\0\0\0"), 1),
    "counts that lie": (query(A, counts=(1, 0, 0, 9), tail=OPT), 1),
    "trailing octets": (query(A, tail=b"junk"), 1),
    "a pointer in the question": (query(b"\xc0\x0c"), 1),
    "a pointer to itself": (query(b"\1a\xc0\x0e"), 1),
    "a label of 64": (query(b"\x40" + b"a" * 64 + b"\0"), 1),
    "a name of 255": (query(LONGEST), 3),
    "a name of 256": (query(LONGEST[:-1] + b"\1a\0"), 1),
    "an option that passes its end": (query(A, counts=(1, 0, 0, 1), tail=OPT[:-1] + b"\4\0\1\0\x09"), 1),
    "type 0": (query(A)[:-4] + b"\0\0\0\1", 1),
    "type OPT": (query(A)[:-4] + b"\0\x29\0\1", 1),
    "the root": (query(b"\0"), 3),
}


@pytest.mark.parametrize(("packet", "rcode"), RAW.values(), ids=RAW.keys())
def test_octets(service: Service, packet: bytes, rcode: int | None) -> None:
    """Each malformed or borderline packet gets its RCODE, or no answer at all; a good one behind it is answered."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(5)
        sock.connect(("127.0.0.1", service.port))
        sock.send(packet)
        sock.send(b"\xab\xcd" + query(A)[2:])
        replies = {reply[:2]: reply for reply in (sock.recv(4096) for _ in range(1 if rcode is None else 2))}
    assert replies.pop(b"\xab\xcd")[3] & 15 == 0
    assert [reply[3] & 15 for reply in replies.values()] == ([] if rcode is None else [rcode])


def test_random_octets(service: Service) -> None:
    """Random packets, and good ones with random octets changed: what comes back answers something that was sent."""
    chance = random.Random(2308)
    good = [query(A), query(A, counts=(1, 0, 0, 1), tail=OPT), query(b"\4many\4test\0")]
    with with_room(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:
        sock.connect(("127.0.0.1", service.port))
        sock.settimeout(5)
        for n in range(RANDOM_PACKETS):
            packet = bytearray(chance.choice(good) if n % 2 else chance.randbytes(chance.randrange(1, 600)))
            for _ in range(chance.randrange(3)):
                packet[chance.randrange(len(packet))] = chance.randrange(256)
            packet[:2] = n.to_bytes(2)[: len(packet)]
            sock.send(packet)
            if n % 100 == 99:  # a good one behind them; its answer says that the rest has been dealt with
                sock.send(b"\xff\xff" + query(A)[2:])
                while (reply := sock.recv(4096))[:2] != b"\xff\xff":
                    assert reply[2] & 0x80
                    assert int.from_bytes(reply[:2]) <= n
                assert reply.endswith(b"\xc0\0\2\1")  # 192.0.2.1
