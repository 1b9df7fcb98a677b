"""Questions to upstreams: what is taken for a reply, what is tried next, and how long a client waits at most."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from itertools import groupby
from pathlib import Path

import dnslib
import pytest

from tests.ports import free_port
from tests.service.scripted import Asked, Scripted
from tests.service.service import Service

START = Callable[..., Service]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[START]:
    """Starts a service in front of the given ports, one worker, ended with the test."""
    running = []

    def run(*ports: int, transport: str = "udp", policy: str = "random") -> Service:
        service = Service(tmp_path, ports[0], workers=1, transport=transport, forward=ports, policy=policy)
        running.append(service)
        return service

    yield run
    for service in running:
        service.__exit__(None, None, None)


@contextmanager
def client(service: Service) -> Iterator[socket.socket]:
    """A UDP client."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(6)
        sock.connect(("127.0.0.1", service.port))
        yield sock


def ask(service: Service, name: str, qtype: str = "A") -> dnslib.DNSRecord:
    """One question over UDP, with EDNS."""
    query = dnslib.DNSRecord.question(name, qtype)
    query.add_ar(dnslib.EDNS0(udp_len=1232))
    with client(service) as sock:
        sock.send(query.pack())
        return dnslib.DNSRecord.parse(sock.recv(4096))


def ask_tcp(service: Service, name: str, qtype: str = "A") -> dnslib.DNSRecord:
    """One question over TCP."""
    query = bytes(dnslib.DNSRecord.question(name, qtype).pack())
    with socket.create_connection(("127.0.0.1", service.port), 6) as sock, sock.makefile("rb") as file:
        sock.sendall(len(query).to_bytes(2) + query)
        return dnslib.DNSRecord.parse(file.read(int.from_bytes(file.read(2))))


def ede(reply: dnslib.DNSRecord) -> int | None:
    """INFO-CODE of the reply's Extended DNS Error."""
    options = [o for r in reply.ar if r.rtype == 41 for o in r.rdata if o.code == 15]
    return int.from_bytes(options[0].data[:2]) if options else None


def wrong_id(asked: Asked) -> bytes:
    return (asked.id ^ 1).to_bytes(2) + asked.answer()[2:]


def wrong_question(asked: Asked) -> bytes:
    reply = asked.answer()
    return reply[:13] + bytes([reply[13] ^ 1]) + reply[14:]


def no_reply(asked: Asked) -> bytes:
    return asked.packet


def malformed(asked: Asked) -> bytes:
    return asked.answer()[:-1]


@pytest.mark.parametrize(
    ("wrong", "counted"),
    [
        (wrong_id, "upstream_strays"),
        (wrong_question, "upstream_strays"),
        (no_reply, "upstream_strays"),
        (malformed, "upstream_malformed"),
    ],
)
def test_the_true_reply_wins(start: START, wrong: Callable[[Asked], bytes], counted: str) -> None:
    """A wrong packet before the right one is counted and passed over, never turned into an error (RFC 5452 9.1)."""
    with Scripted(lambda asked: [wrong(asked), asked.answer()]) as upstream:
        service = start(upstream.port)
        reply = ask(service, "a.test")
    assert [str(r.rdata) for r in reply.rr] == ["192.0.2.1"]
    counters = service.counters()
    found = {name: counters[name] for name in ("upstream_strays", "upstream_malformed")}
    again = len(upstream.asked) - 1
    assert 0 <= again <= service.late()
    assert 1 <= found[counted] <= 1 + 2 * again  # of what is answered twice, the rest are strays
    assert sum(found.values()) <= 1 + 2 * again


def test_another_peer_is_not_heard(start: START) -> None:
    """A packet with the right id and question from another port never reaches the worker: its sockets are connected."""
    with Scripted() as upstream, closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as other:

        def forge(asked: Asked) -> list[bytes]:
            forged = asked.answer()[:-4] + b"\x06\x06\x06\x06"
            other.sendto(forged, asked.peer)
            return [asked.answer()]

        upstream.handler = forge
        reply = ask(start(upstream.port), "a.test")
    assert [str(r.rdata) for r in reply.rr] == ["192.0.2.1"]


def test_ports_and_ids_cannot_be_foreseen(start: START) -> None:
    """200 questions one by one leave by at least eight ports, under ids of both halves, hardly any twice."""
    with Scripted() as upstream:
        service = start(upstream.port)
        for n in range(200):
            ask(service, f"n{n}.test")
    ids = [asked.id for asked in upstream.asked]
    assert len({asked.peer for asked in upstream.asked}) >= 8
    assert 60 <= sum(i >> 15 for i in ids) <= 140  # fair coins leave this range once in a hundred million runs
    assert len(set(ids)) > 190  # 200 draws of 65,536 meet by chance less than once a run


def test_truncated_is_asked_over_tcp(start: START) -> None:
    """A reply with TC=1 is fetched whole over TCP; the UDP client gets what fits it, a TCP client all of it."""
    with Scripted() as upstream:
        service = start(upstream.port)
        first, whole = ask(service, "many.test"), ask_tcp(service, "many.test")
    assert first.header.tc == 1
    assert len(whole.rr) == 500
    protos = [asked.proto for asked in upstream.asked]
    assert (protos[0], protos[-1]) == ("udp", "tcp")
    assert len(protos) - 2 <= 2 * service.late()  # by both ways each time


def test_too_big_for_the_table_is_served(start: START) -> None:
    """An answer beyond a large slot is served whole, counted and asked for anew; 500 endpoints are cached."""
    with Scripted() as upstream:
        service = start(upstream.port, transport="tcp")
        for _ in range(2):
            assert len(ask_tcp(service, "huge.test", "TXT").rr) == 120
            assert len(ask_tcp(service, "many.test").rr) == 500
    assert [name for name, _ in groupby(asked.name for asked in upstream.asked)] == [
        "huge.test.",
        "many.test.",
        "huge.test.",
    ]
    assert len(upstream.asked) - 3 <= service.late()
    assert service.counters()["too_big"] == 2


@pytest.mark.parametrize(("transport", "attempts"), [("udp", 3), ("tcp", 3)])
def test_silence_ends_in_time(start: START, transport: str, attempts: int) -> None:
    """An upstream that hears and says nothing: SERVFAIL with EDE 22 while its client waits, then the failure cache."""
    with Scripted(lambda asked: []) as upstream:
        service = start(upstream.port, transport=transport)
        began = time.monotonic()
        reply = ask(service, "a.test")
        took = time.monotonic() - began
        again = ask(service, "a.test")
        print(f"{transport}: gave up after {took:.2f} s")
    assert (reply.header.rcode, ede(reply), again.header.rcode) == (2, 22, 2)
    assert service.counters()["exhausted"] == 1
    assert len(upstream.asked) == attempts


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_closed_ports_are_not_waited_for(start: START, transport: str) -> None:
    """Nobody listens: SERVFAIL with EDE 23 at once."""
    service = start(free_port(), free_port(), transport=transport)
    reply = ask(service, "a.test")
    assert (reply.header.rcode, ede(reply)) == (2, 23)
    assert service.counters()["upstream_timeouts"] == 0


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_the_other_upstream_answers(start: START, transport: str) -> None:
    """One of two upstreams is closed: no question fails, and none waits for a time-out."""
    with Scripted() as upstream:
        service = start(free_port(), upstream.port, transport=transport, policy="sequential")
        replies = [ask(service, f"n{n}.test") for n in range(20)]
    assert {reply.header.rcode for reply in replies} == {3}
    assert service.counters()["upstream_timeouts"] <= len(upstream.asked) - 20


@pytest.mark.parametrize(("policy", "shares"), [("sequential", (40, 0)), ("round_robin", (20, 20)), ("random", None)])
def test_policies(start: START, policy: str, shares: tuple[int, int] | None) -> None:
    """Forty questions fall on two upstreams as the policy says; what is asked again may go to either."""
    with Scripted() as one, Scripted() as two:
        service = start(one.port, two.port, policy=policy)
        for n in range(40):
            ask(service, f"n{n}.test")
        found = len(one.asked), len(two.asked)
    again = service.late()
    assert 0 <= sum(found) - 40 <= again
    if shares:
        assert all(abs(n - share) <= again for n, share in zip(found, shares, strict=True)), found
    else:
        assert min(found) > 5


def test_tcp_is_pipelined_and_answered_out_of_order(start: START) -> None:
    """Fifty questions at once share a few streams; replies in reverse order, in pieces, still reach their askers."""
    held: list[Asked] = []
    all_here = threading.Event()

    def gather(asked: Asked) -> list[bytes]:
        held.append(asked)
        if len(held) == 50:
            all_here.set()
        return []

    with Scripted(gather) as upstream:
        service = start(upstream.port, transport="tcp")
        with client(service) as sock:
            for n in range(50):
                sock.send((n).to_bytes(2) + bytes(dnslib.DNSRecord.question(f"n{n}.test").pack())[2:])
            assert all_here.wait(5)
            by_peer = {stream.getpeername(): stream for stream in upstream.connections}
            for asked in reversed(held):
                reply = asked.answer()
                framed = len(reply).to_bytes(2) + reply
                for piece in (framed[:1], framed[1:20], framed[20:]):
                    by_peer[asked.peer].sendall(piece)
            replies = [dnslib.DNSRecord.parse(sock.recv(4096)) for _ in range(50)]
    assert {(r.header.id, str(r.q.qname)) for r in replies} == {(n, f"n{n}.test.") for n in range(50)}
    assert len(upstream.connections) <= 2


@pytest.mark.parametrize("junk", [b"", b"\0\0", b"\0\1x", b"\0\x0c" + b"\xff" * 12], ids=["none", "empty", "1", "12"])
def test_joined_replies(start: START, junk: bytes) -> None:
    """Replies to twenty questions in one segment, other frames between them: each reaches its asker."""
    held: list[Asked] = []
    all_here = threading.Event()

    def gather(asked: Asked) -> list[bytes]:
        held.append(asked)
        if len(held) == 20:
            all_here.set()
        return []

    with Scripted(gather) as upstream:
        service = start(upstream.port, transport="tcp")
        with client(service) as sock:
            for n in range(20):
                sock.send((n).to_bytes(2) + bytes(dnslib.DNSRecord.question(f"n{n}.test").pack())[2:])
            assert all_here.wait(5)
            replies = [asked.answer() for asked in held[:20]]
            joined = b"".join(junk + len(reply).to_bytes(2) + reply for reply in replies)
            upstream.connections[0].sendall(joined)
            headers = [dnslib.DNSRecord.parse(sock.recv(4096)).header for _ in range(20)]
        counters = service.counters()
    assert {(header.id, header.rcode) for header in headers} == {(n, 3) for n in range(20)}  # and not SERVFAIL
    assert counters["upstream_connects"] - 1 <= counters["upstream_timeouts"]


def test_a_closed_connection_costs_nothing(start: START) -> None:
    """The upstream closes an idle connection; the next question opens another and is answered."""
    with Scripted() as upstream:
        service = start(upstream.port, transport="tcp")
        for n in range(3):
            assert ask(service, f"n{n}.test").header.rcode == 3
            upstream.connections[-1].shutdown(socket.SHUT_RDWR)
        assert service.counters()["exhausted"] == 0
    assert len(upstream.connections) == 3


def test_a_dead_connection_is_noticed(start: START) -> None:
    """A stream that goes silent: what was in flight is asked again on a fresh one, which later questions use."""
    silent: set[tuple[str, int]] = set()

    def blackhole(asked: Asked) -> list[bytes]:
        return [] if asked.peer in silent else [asked.answer()]

    with Scripted(blackhole) as upstream:
        service = start(upstream.port, transport="tcp")
        assert ask(service, "n0.test").header.rcode == 3
        silent.add(upstream.asked[-1].peer)
        for name in ("n1.test", "n2.test", "n3.test"):  # the first is in flight, the others find it known
            assert ask(service, name).header.rcode == 3
            assert service.counters()["upstream_timeouts"] == 1
