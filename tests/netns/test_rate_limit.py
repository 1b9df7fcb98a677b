"""`node.rate_limit`: what a client may ask, by packets from addresses that are not loopback's."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.netns.conftest import say
from tests.service.load import Query
from tests.service.service import Authority, Service

SERVED, GREEDY, MODEST = "10.0.0.1", "10.0.0.2", "10.0.0.3"
RATE = 1  # a second to spare for each step
QUERY = Query("n1.load.test")


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    for address in (SERVED, GREEDY, MODEST):
        say("ip", "address", "add", f"{address}/32", "dev", "lo")
    (tmp_path / "nodedns.d").mkdir()
    (tmp_path / "nodedns.d/10.toml").write_text(
        f'[node]\nlisten = ["127.0.0.1:5300", "{SERVED}:5300"]\ninterface = "none"\nnetfilter = "none"\n'
        f"rate_limit = {RATE}\n"
    )
    with Authority() as authority, Service(tmp_path, authority.port) as running:
        yield running


def udp(source: str, count: int, to: str = SERVED) -> int:
    """How many of so many questions at once are answered."""
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.bind((source, 0))
        sock.connect((to, 5300))
        for n in range(count):
            sock.send(n.to_bytes(2) + QUERY.packet)
        sock.settimeout(0.2)
        answered = 0
        try:
            while sock.recv(4096):
                answered += 1
        except TimeoutError:
            return answered


def tcp_rcode(source: str) -> int:
    packet = b"\0\1" + QUERY.packet
    with socket.create_connection((SERVED, 5300), 5, (source, 0)) as sock:
        sock.sendall(len(packet).to_bytes(2) + packet)
        return sock.recv(4096)[5] & 15


def test_rate_limit(service: Service) -> None:
    """A second's worth at once, then by the rate; another client and loopback do not feel it."""
    assert udp(GREEDY, 10) == RATE
    assert tcp_rcode(GREEDY) == 5
    assert tcp_rcode(MODEST) == 0
    assert udp(MODEST, 10) == RATE - 1
    assert udp("127.0.0.1", 100, "127.0.0.1") == 100
    assert service.counters()["limited"] == 10 - RATE + 1 + 10 - RATE + 1
