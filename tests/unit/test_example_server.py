"""The example cluster on a socket: a real child process, asked by dig and by hand."""

import os
import random
import shutil
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from dnslib import DNSRecord

from nodedns.example import cluster, server
from tests.ports import free_port

PATIENCE = 20.0  # seconds; only a failing test waits this long. Less than server.IDLE_SECONDS
ROOT = Path(server.__file__).parents[2]

needs_dig = pytest.mark.skipif(shutil.which("dig") is None, reason="dig is missing: apt-get install bind9-dnsutils")


def query(name: str, qtype: str = "A") -> bytes:
    return bytes(DNSRecord.question(name, qtype).pack())


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """The example server as a child on a free loopback port; leaving it is a test of its life pipe."""
    read_end, write_end = os.pipe()
    command = [sys.executable, "-m", "nodedns.example.server", "--port", "0", "--life-fd", str(read_end)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, pass_fds=[read_end], text=True) as child:
        os.close(read_end)
        assert child.stdout is not None
        yield int(child.stdout.readline().split("port ")[1].split(",")[0])
        os.close(write_end)
        assert child.wait(PATIENCE) == 0


def dig(port: int, *arguments: str) -> list[str]:
    command = ["dig", "@127.0.0.1", "-p", str(port), "+time=20", "+tries=1", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.splitlines()


@needs_dig
@pytest.mark.parametrize("transport", ["+notcp", "+tcp"])
@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        (["kubernetes.default.svc.cluster.local"], ["10.96.0.1"]),
        (["-x", "10.96.0.10"], ["kube-dns.kube-system.svc.cluster.local."]),
        (["big.default.svc.cluster.local"], list(cluster.BIG)),
        (["nope.cluster.local"], []),
    ],
)
def test_dig_gets_the_answers(port: int, transport: str, arguments: list[str], lines: list[str]) -> None:
    """dig reads the same answers over UDP, with its retry over TCP where TC says so, and over TCP at once."""
    assert dig(port, "+short", transport, *arguments) == lines


@needs_dig
def test_dig_sees_the_extended_error(port: int) -> None:
    """dig shows the SERVFAIL and its reason."""
    shown = "\n".join(dig(port, "servfail.default.svc.cluster.local"))
    assert "status: SERVFAIL" in shown
    assert "on purpose" in shown


def framed(wire: bytes) -> bytes:
    return struct.pack("!H", len(wire)) + wire


def read_reply(stream: socket.socket) -> bytes:
    with stream.makefile("rb", buffering=0) as file:
        size = file.read(1) or b""
        if not size:
            return b""
        (length,) = struct.unpack("!H", size + (file.read(1) or b""))
        data = b""
        while len(data) < length:
            data += file.read(length - len(data)) or b""
        return data


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)


def test_tcp_is_pipelined_and_in_pieces(port: int) -> None:
    """200 queries in one write are all answered, and so is one whose bytes come one at a time (RFC 7766)."""
    wires = [query("web.default.svc.cluster.local") for _ in range(200)]
    with connect(port) as stream:
        stream.sendall(b"".join(map(framed, wires)))
        assert [read_reply(stream)[:2] for _ in wires] == [wire[:2] for wire in wires]
        for byte in framed(wires[0]):
            stream.sendall(bytes([byte]))
        assert read_reply(stream)[:2] == wires[0][:2]


def test_a_client_that_does_not_read_stops_nobody(port: int) -> None:
    """One connection asks for 3 MB and reads none while another is served; then the first gets its replies."""
    big = query("_http._tcp.big.default.svc.cluster.local", "SRV")
    with socket.socket() as greedy, connect(port) as modest:
        greedy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        greedy.settimeout(PATIENCE)
        greedy.connect(("127.0.0.1", port))
        greedy.sendall(framed(big) * 120)
        wire = query("kubernetes.io")
        modest.sendall(framed(wire))
        assert read_reply(modest)[:2] == wire[:2]
        assert all(len(read_reply(greedy)) > 20_000 for _ in range(120))


def answered(udp: socket.socket, wire: bytes) -> bool:
    """True once a reply with the query's id comes; asks up to ten times, as a full socket buffer drops datagrams."""
    for _ in range(10):
        udp.send(wire)
        try:
            while udp.recv(65535)[:2] != wire[:2]:
                pass
        except TimeoutError:
            continue
        return True
    return False


def test_garbage_leaves_the_server_well(port: int) -> None:
    """Random datagrams and streams, and connections cut in the middle, do not keep a later query from its answer."""
    rand = random.Random(7766)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.connect(("127.0.0.1", port))
        udp.settimeout(0.5)
        for _ in range(500):
            udp.send(rand.randbytes(rand.randrange(600)))
        for _ in range(20):
            with connect(port) as stream:
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                stream.sendall(rand.randbytes(3000))
        assert answered(udp, query("kubernetes.io"))


def test_connections_are_bounded(port: int) -> None:
    """Of 300 connections the server keeps 256; those answer, the others are closed, and a later one is served."""
    wire = framed(query("kubernetes.io"))
    streams = [connect(port) for _ in range(300)]
    served = 0
    for stream in streams:
        try:
            stream.sendall(wire)
            served += bool(read_reply(stream))
        except ConnectionError:
            continue
    for stream in streams:
        stream.close()
    assert served == server.MAX_CONNECTIONS
    with connect(port) as stream:
        stream.sendall(wire)
        assert read_reply(stream)


def test_serve_closes_idle_connections_and_leaves_at_the_pipes_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """`serve` says ready once it listens, closes a connection nobody uses, and returns when its parent's pipe ends."""
    monkeypatch.setattr(server, "IDLE_SECONDS", 0.1)
    free = free_port()
    read_end, write_end = os.pipe()
    listens = threading.Event()
    thread = threading.Thread(target=server.serve, args=("127.0.0.1", free, listens.set, read_end))
    thread.start()
    try:
        assert listens.wait(PATIENCE)
        with connect(free) as stream:
            assert stream.recv(1) == b""
    finally:
        os.close(write_end)
        thread.join(PATIENCE)
        os.close(read_end)
    assert not thread.is_alive()


def test_a_taken_port_is_one_clear_line(port: int, capfd: pytest.CaptureFixture[str]) -> None:
    """Starting on a port in use exits with 1 and names the address, the port and the reason."""
    assert server.main(["--port", str(port)]) == 1
    assert capfd.readouterr().err == f"cannot listen on 127.0.0.1 port {port}: Address already in use\n"
