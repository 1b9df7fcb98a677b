"""TCP clients: many questions at once, answers as they come, and limits on all that a client can hold (RFC 7766)."""

import contextlib
import selectors
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import dnslib
import pytest

from nodedns import native
from nodedns.worker import clients_tcp
from tests.service.scripted import Asked, Scripted
from tests.service.service import Service


def hold_slow(asked: Asked) -> list[bytes]:
    """Answers all but names that begin with "slow"."""
    return [] if asked.name.startswith("slow") else [asked.answer()]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One worker in front of an upstream that leaves slow.test. unanswered."""
    with (
        Scripted(hold_slow) as upstream,
        Service(Path(tmp_path_factory.mktemp("tcp")), upstream.port, workers=1) as running,
        running.keeping_its_workers(lambda: again(running)),
    ):
        yield running


def again(service: Service) -> None:
    """What clients do here."""
    test_many_on_one_connection(service)
    test_a_slow_miss_holds_up_nobody(service)
    test_pieces(service)
    test_half_closed(service)
    test_nothing_left_behind(service)
    test_the_idle_are_closed(service)
    test_one_peer_cannot_take_all(service)
    test_a_client_that_does_not_read(service)


def connect(service: Service) -> socket.socket:
    """A client's connection."""
    return socket.create_connection(("127.0.0.1", service.port), 15)


def frame(name: str, id_: int = 1, qtype: str = "A") -> bytes:
    """A query with its length before it."""
    query = id_.to_bytes(2) + bytes(dnslib.DNSRecord.question(name, qtype).pack())[2:]
    return len(query).to_bytes(2) + query


def replies(sock: socket.socket, count: int) -> list[dnslib.DNSRecord]:
    """The next `count` answers."""
    found = []
    for _ in range(count):
        size = int.from_bytes(exactly(sock, 2))
        found.append(dnslib.DNSRecord.parse(exactly(sock, size)))
    return found


def exactly(sock: socket.socket, size: int) -> bytes:
    """That many octets."""
    data = b""
    while len(data) < size:
        more = sock.recv(size - len(data))
        assert more, "closed before its answer"
        data += more
    return data


def test_many_on_one_connection(service: Service) -> None:
    """A thousand queries in one write, far beyond what may be in flight: each is answered once, under its own id."""
    with connect(service) as sock:
        sock.sendall(b"".join(frame(f"n{n % 300}.test", n) for n in range(1000)))
        found = replies(sock, 1000)
    assert sorted(reply.header.id for reply in found) == list(range(1000))
    assert all(str(reply.q.qname) == f"n{reply.header.id % 300}.test." for reply in found)


def test_a_slow_miss_holds_up_nobody(service: Service) -> None:
    """Answers overtake a question whose upstream is silent, on the same connection."""
    with connect(service) as sock:
        sock.sendall(frame("slow1.test", 7) + frame("a.test", 8) + frame("no.test", 9))
        first = replies(sock, 2)
        last = replies(sock, 1)
    assert {reply.header.id for reply in first} == {8, 9}
    assert (last[0].header.id, last[0].header.rcode) == (7, 2)


def test_pieces(service: Service) -> None:
    """A query that comes octet by octet is answered; empty and short frames before it are passed over."""
    with connect(service) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for octet in b"\0\0" + b"\0\4abcd" + frame("a.test", 3):
            sock.send(bytes([octet]))
        assert [reply.header.id for reply in replies(sock, 1)] == [3]


def test_half_closed(service: Service) -> None:
    """A client that has said all it has to say, and closed its side, still gets its answers (RFC 7766 6.2.4)."""
    with connect(service) as sock:
        sock.sendall(frame("half1.test", 1) + frame("half2.test", 2))
        sock.shutdown(socket.SHUT_WR)
        assert {reply.header.id for reply in replies(sock, 2)} == {1, 2}
        assert sock.recv(1) == b""


def test_nothing_left_behind(service: Service) -> None:
    """A client that resets the connection with questions in flight disturbs nobody."""
    for _ in range(20):
        sock = connect(service)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        sock.sendall(frame("slow2.test") * 50)
        sock.close()
    with connect(service) as sock:
        sock.sendall(frame("a.test"))
        assert replies(sock, 1)[0].header.rcode == 0


def test_the_idle_are_closed(service: Service) -> None:
    """Whoever brings no whole query for the idle time is closed, whatever part of one it has brought."""
    parts = [b"", b"\xff\xff" + b"x" * 100, frame("a.test")[:-1], frame("a.test") + b"\0"]
    began, took = time.monotonic(), []
    with selectors.DefaultSelector() as select, contextlib.ExitStack() as stack:
        for part in parts:
            sock = stack.enter_context(connect(service))
            sock.sendall(part)
            select.register(sock, selectors.EVENT_READ)
        while len(took) < len(parts):
            ready = select.select(clients_tcp.IDLE + 5)
            assert ready, f"{len(took)} of {len(parts)} closed"
            for key, _ in ready:
                if refused(key.fileobj):
                    took.append(time.monotonic() - began)
                    select.unregister(key.fileobj)
    assert clients_tcp.IDLE - 0.2 < min(took) <= max(took) < clients_tcp.IDLE + 5


def test_one_peer_cannot_take_all(service: Service) -> None:
    """Connections from one address beyond its share are closed at once, those within it are served."""
    socks = [connect(service) for _ in range(clients_tcp.PER_PEER + 20)]
    try:
        closed = 0
        with selectors.DefaultSelector() as select:
            for sock in socks:
                sock.setblocking(False)
                select.register(sock, selectors.EVENT_READ)
            while closed < 20:
                ready = select.select(5)
                assert ready, f"{closed} of 20 closed"
                for key, _ in ready:
                    closed += 1
                    select.unregister(key.fileobj)
        within = next(sock for sock in socks if not refused(sock))
        within.setblocking(True)
        within.sendall(frame("a.test"))
        assert replies(within, 1)[0].header.rcode == 0
    finally:
        for sock in socks:
            sock.close()


def refused(sock: socket.socket) -> bool:
    """Has the service closed it?"""
    try:
        return sock.recv(4096) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


def test_a_client_that_does_not_read(service: Service) -> None:
    """Its questions are no longer taken once its answers pile up; memory is bounded and others are served."""
    with connect(service) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        query, sent = frame("many.test") * 50, 0
        stalled = time.monotonic() + 2
        while time.monotonic() < stalled and sent < 50_000_000:
            try:
                sent += sock.send(query)
                stalled = time.monotonic() + 2
            except BlockingIOError:
                continue
            except ConnectionError:
                break
        before = service.counters()["answers"]
        with connect(service) as other:
            other.sendall(frame("a.test"))
            assert replies(other, 1)[0].header.rcode == 0
        pid = next(iter(service.pids().values()))
        resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096
        print(f"{sent} octets of questions taken, {before} answers given, {resident >> 20} MiB resident")
        assert sent < 20_000_000
        assert resident < 64 << 20


def test_denied_over_tcp(tmp_path: Path) -> None:
    """`allow` holds for TCP as for UDP: REFUSED with EDE 18, cached or not."""
    with Scripted() as upstream, Service(tmp_path, upstream.port, workers=1) as service:
        config = service.config.read_text()
        with connect(service) as sock:
            sock.sendall(frame("a.test"))
            assert replies(sock, 1)[0].header.rcode == 0
        service.config.write_text(config.replace("[cache]", 'allow = ["192.0.2.0/24"]\n[cache]'))
        assert service.reload()["ok"], service.tail()
        with connect(service) as sock:
            sock.sendall(frame("a.test"))
            assert replies(sock, 1)[0].header.rcode == 5
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with udp:
            udp.settimeout(5)
            udp.connect(("127.0.0.1", service.port))
            query = dnslib.DNSRecord.question("a.test")
            query.add_ar(dnslib.EDNS0(udp_len=1232))
            udp.send(query.pack())
            packet = udp.recv(4096)
        assert packet[3] & 15 == 5
        assert packet.endswith((18).to_bytes(2))
        assert native.read_counters(service.map("counters"), 2)["denied"] >= 2
