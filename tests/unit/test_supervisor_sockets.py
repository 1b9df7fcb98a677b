"""Listening sockets, who holds a port, and the probe, on the kernel's own sockets."""

import contextlib
import os
import re
import select
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from nodedns.config import Endpoint
from nodedns.supervisor import sockets
from nodedns.supervisor.errors import HostError
from nodedns.supervisor.fdstore import Store
from nodedns.supervisor.owner import is_of, owners
from nodedns.supervisor.poller import Poller
from nodedns.supervisor.probe import Probe
from tests.ports import free_port

ME = f"pid {os.getpid()} ("
UDP, TCP = socket.SOCK_DGRAM, socket.SOCK_STREAM


def has_ipv6() -> bool:
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6, UDP) as sock:
        sock.bind(("::1", 0))
        return True
    return False


NEEDS_IPV6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no ::1")
V6, V6_ANY = pytest.param("::1", marks=NEEDS_IPV6), pytest.param("::", marks=NEEDS_IPV6)


@contextlib.contextmanager
def slots_of(listen: list[Endpoint], count: int) -> Iterator[list[sockets.SlotSockets]]:
    opened = sockets.open_slots(listen, count, Store({}))
    try:
        yield opened
    finally:
        for fd in [fd for slot in opened for fd in (*slot.udp, *slot.tcp)]:
            os.close(fd)


def option(fd: int, level: int, name: int) -> int:
    with socket.socket(fileno=os.dup(fd)) as sock:
        return sock.getsockopt(level, name)


@pytest.mark.parametrize(
    ("address", "level", "names"),
    [
        ("127.0.0.1", socket.IPPROTO_IP, [sockets.IP_FREEBIND]),
        pytest.param("::1", socket.IPPROTO_IPV6, [sockets.IPV6_FREEBIND, socket.IPV6_V6ONLY], marks=NEEDS_IPV6),
    ],
)
def test_each_slot_has_a_pair_for_each_address(address: str, level: int, names: list[int]) -> None:
    """Every slot gets one UDP and one TCP socket an address, not blocking, in one SO_REUSEPORT group."""
    listen = [Endpoint(address, free_port()), Endpoint(address, free_port())]
    with slots_of(listen, 3) as opened:
        assert len(opened) == 3
        for fds, kind in [(slot.udp, UDP) for slot in opened] + [(slot.tcp, TCP) for slot in opened]:
            for fd, endpoint in zip(fds, listen, strict=True):
                with socket.socket(fileno=os.dup(fd)) as sock:
                    assert sock.type == kind
                    assert sock.getsockname()[:2] == (endpoint.address, endpoint.port)
                assert not os.get_blocking(fd)
                assert option(fd, socket.SOL_SOCKET, socket.SO_REUSEPORT)
                assert [option(fd, level, name) for name in names] == [1] * len(names)
                assert option(fd, socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == (kind == TCP)


def test_buffer_is_as_asked_or_said(capfd: pytest.CaptureFixture[str]) -> None:
    """With CAP_NET_ADMIN a UDP socket holds two seconds of peak; without, one line says what was got."""
    with slots_of([Endpoint("127.0.0.1", free_port())], 2) as opened:
        got = option(opened[0].udp[0], socket.SOL_SOCKET, socket.SO_RCVBUF)
    said = capfd.readouterr().err
    assert (f"got {got // 1024}" in said) == (got < sockets.RECEIVE_BUFFER)
    assert said.count("\n") == (got < sockets.RECEIVE_BUFFER)


@pytest.mark.parametrize(("kind", "name"), [(UDP, "UDP"), (TCP, "TCP")])
@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", V6, V6_ANY])
@pytest.mark.parametrize("reuse", [False, True])
def test_taken_port_is_refused_with_its_owner(kind: int, name: str, address: str, reuse: bool) -> None:
    """A port that somebody has, on our address or on all, sharing it or not, is refused by a line with his pid."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    port = free_port()
    endpoint = Endpoint("::1" if address == "::1" else "127.0.0.1", port)
    with socket.socket(family, kind) as other:
        if reuse:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind((address, port))
        if kind == TCP:
            other.listen()
        before = os.listdir("/proc/self/fd")
        with pytest.raises(HostError) as caught:
            sockets.open_slots([endpoint], 2, Store({}))
        assert os.listdir("/proc/self/fd") == before
    assert str(caught.value).startswith(f"node.listen: {name} {endpoint} is taken by another process; stop {ME}")


def test_taken_port_of_metrics() -> None:
    """Is refused in the same words; UDP does not matter, nor that the address is on no interface yet."""
    os.close(sockets.open_metrics(Endpoint("192.0.2.1", free_port()), Store({})))
    endpoint = Endpoint("127.0.0.1", free_port())
    with socket.socket(type=UDP) as other:
        other.bind((endpoint.address, endpoint.port))
        os.close(sockets.open_metrics(endpoint, Store({})))
    with socket.socket() as other:
        other.bind((endpoint.address, endpoint.port))
        other.listen()
        with pytest.raises(HostError) as caught:
            sockets.open_metrics(endpoint, Store({}))
    assert str(caught.value).startswith(f"metrics.listen: TCP {endpoint} is taken by another process; stop {ME}")


def name_of(pid: int) -> str:
    with open(f"/proc/{pid}/comm", encoding="ascii") as file:
        return file.read().strip()


@pytest.mark.parametrize("kind", [UDP, TCP])
def test_a_neighbour_is_let_be_by_its_name(kind: socket.SocketKind) -> None:
    """By that name alone, and only where it shares."""
    port = free_port()
    mine = name_of(os.getpid())
    with socket.socket(socket.AF_INET, kind) as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", port))
        if kind == TCP:
            other.listen()
        assert not is_of("node-cache", socket.AF_INET, kind, "127.0.0.1", port)
        sockets.check_free(Endpoint("127.0.0.1", port), "x", beside=mine)
        with pytest.raises(HostError, match=f"stop {re.escape(ME)}"):
            sockets.check_free(Endpoint("127.0.0.1", port), "x", beside="node-cache")
    with socket.socket(socket.AF_INET, kind) as alone:
        alone.bind(("127.0.0.1", port))
        if kind == TCP:
            alone.listen()
        with pytest.raises(HostError, match="is taken by another process"):
            sockets.open_slots([Endpoint("127.0.0.1", port)], 1, Store({}), mine)


def test_missing_address_is_refused_with_the_command_that_adds_it() -> None:
    """An address of no interface is told apart from a taken one (RFC 5737: 192.0.2.0/24 is nobody's)."""
    with pytest.raises(
        HostError, match=r"UDP 192\.0\.2\.1:53 is on no interface; add it .*address add 192\.0\.2\.1/32"
    ):
        sockets.open_slots([Endpoint("192.0.2.1", 53)], 1, Store({}))


def test_second_address_that_fails_leaves_nothing_open() -> None:
    """A start that fails half-way closes what it had opened."""
    before = os.listdir("/proc/self/fd")
    with pytest.raises(HostError):
        sockets.open_slots([Endpoint("127.0.0.1", free_port()), Endpoint("192.0.2.1", 53)], 2, Store({}))
    assert os.listdir("/proc/self/fd") == before


@pytest.mark.parametrize("kind", [UDP, TCP])
def test_owner_of_a_free_port_is_nobody(kind: socket.SocketKind) -> None:
    """Where nobody listens, nobody is named."""
    assert list(owners(socket.AF_INET, kind, "127.0.0.1", free_port())) == []


def test_owner_of_a_hostile_name() -> None:
    """A process calls itself what it likes, and the doctor prints it on root's terminal."""
    comm = Path("/proc/self/comm")
    before = comm.read_bytes()
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        try:
            comm.write_bytes(b"\x1b]0;x\x07")
            (owner,) = owners(socket.AF_INET, TCP, *sock.getsockname())
        finally:
            comm.write_bytes(before)
    assert str(owner) == rf"pid {os.getpid()} (\027]0;x\007)"


def test_probe_ends_when_every_address_has_answered() -> None:
    """Only a reply with our id and the QR bit counts, and silence is asked again."""
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(socket.socket(socket.AF_INET, UDP)) for _ in range(2)]
        for server in servers:
            server.bind(("127.0.0.1", 0))
            server.settimeout(5)
        endpoints = [Endpoint(*server.getsockname()) for server in servers]
        poller = Poller()
        probe = Probe(poller, endpoints, now=100.0, kinds=(UDP,))
        query, client = servers[0].recvfrom(512)
        assert query[2:] == bytes.fromhex("0100 0001 0000 0000 0000") + b"\7nodedns\7invalid\0" + bytes.fromhex(
            "0001 0001"
        )
        others = bytes([query[0] ^ 1, query[1], query[2] | 0x80]) + query[3:]
        for reply in (query, others, query[:2] + b"\x81\x80", b""):
            servers[0].sendto(reply, client)
            poller.wait(5)
        assert not probe.answered
        assert probe.silent == f"{endpoints[0]} over UDP, {endpoints[1]} over UDP"
        servers[0].sendto(query[:2] + b"\x81\x80" + query[4:], client)
        poller.wait(5)
        assert probe.silent == f"{endpoints[1]} over UDP"
        assert servers[1].recv(512) == query
        probe.ask(probe.deadline)
        assert (probe.asked, servers[1].recv(512)) == (2, query)
        assert select.select([servers[0]], [], [], 0)[0] == []
        probe.close()
        assert probe.answered


def test_probe_asks_over_tcp_until_it_is_answered() -> None:
    """A stream that is refused, or closed without an answer, is asked again; an answer in one has two octets more."""
    poller = Poller()
    with socket.create_server(("127.0.0.1", 0), backlog=5) as server:
        endpoint = Endpoint(*server.getsockname())
        server.settimeout(5)
        probe = Probe(poller, [endpoint], now=0.0, kinds=(TCP,))
        server.accept()[0].close()
        poller.wait(5)
        assert probe.silent == f"{endpoint} over TCP"
        probe.ask(1.0)
        stream, _ = server.accept()
        with stream:
            query = stream.recv(512)
            assert int.from_bytes(query[:2]) == len(query) - 2
            stream.sendall(query[:4] + b"\x81\x83" + query[6:])
            poller.wait(5)
    assert probe.answered


def test_probe_bears_an_address_where_nobody_listens() -> None:
    """ECONNREFUSED is an answer of the kernel, not of a server: it is asked again."""
    poller = Poller()
    probe = Probe(poller, [Endpoint("127.0.0.1", free_port())], now=0.0)
    for now in (1.0, 2.0):
        probe.ask(now)
        poller.wait(0)
    assert not probe.answered
    probe.close()
