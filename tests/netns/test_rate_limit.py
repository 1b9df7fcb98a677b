"""`node.rate_limit`: what a client may ask, by packets from addresses that are not loopback's."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from nodedns import native
from tests.netns.conftest import say
from tests.ports import with_room
from tests.service.load import Query
from tests.service.service import DEADLINE, Authority, Service

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


def udp(service: Service, source: str, count: int, to: str = SERVED) -> int:
    """How many of so many questions at once are answered; every other one is counted as limited."""
    before, answered = service.counters()["limited"], 0

    def accounted() -> bool:
        nonlocal answered
        answered += len(native.udp_recv(sock.fileno()))
        return answered + service.counters()["limited"] - before >= count

    with with_room(socket.socket(type=socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)) as sock:
        sock.bind((source, 0))
        sock.connect((to, 5300))
        assert native.udp_send(sock.fileno(), [n.to_bytes(2) + QUERY.packet for n in range(count)]) == count
        service.await_(accounted, "through with the questions")
    return answered


def tcp_rcodes(source: str) -> list[int]:
    """Of two questions at once."""
    packet = b"\0\1" + QUERY.packet
    with (
        socket.create_connection((SERVED, 5300), DEADLINE, (source, 0)) as sock,
        sock.makefile("rb") as file,
    ):
        sock.sendall(2 * (len(packet).to_bytes(2) + packet))
        return [file.read(int.from_bytes(file.read(2)))[3] & 15 for _ in range(2)]


def test_rate_limit(service: Service) -> None:
    """A second's worth at once, then by the rate; another client and loopback do not feel it."""
    began = time.monotonic()

    def since() -> int:
        """What the rate has given back by now."""
        return int((time.monotonic() - began) * RATE)

    assert udp(service, "127.0.0.1", 60, "127.0.0.1") == 60  # from here on the name is in the cache
    assert RATE <= (greedy := udp(service, GREEDY, 10)) <= RATE + since()
    greedy_tcp = tcp_rcodes(GREEDY)
    assert greedy_tcp[1] == 5
    assert tcp_rcodes(MODEST) == [0, 5]
    assert (modest := udp(service, MODEST, 10)) <= since()
    assert service.counters()["limited"] == 10 - greedy + greedy_tcp.count(5) + 1 + 10 - modest
