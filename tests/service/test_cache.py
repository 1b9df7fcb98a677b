"""One cache for all workers, one question in flight for all who ask it."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from nodedns import native
from tests.service.load import Query
from tests.service.service import DEADLINE, Authority, Service


def ask(sock: socket.socket, query: Query, id_: int = 1) -> None:
    """Sends it."""
    sock.send(id_.to_bytes(2) + query.packet)


def client(service: Service) -> socket.socket:
    """A UDP client on a port of its own."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.settimeout(DEADLINE)
    sock.connect(("127.0.0.1", service.port))
    return sock


def served_by(service: Service, before: list[int]) -> int:
    """The slot whose answers have grown."""
    return next(slot for slot, (old, new) in enumerate(zip(before, received(service), strict=True)) if new > old)


def received(service: Service) -> list[int]:
    """UDP queries received by each slot so far: totals over one slot more, less those before it."""
    counters = service.map("counters")
    sums = [native.read_counters(counters, slots)["received"] for slots in range(1, service.workers + 1)]
    return [total - (sums[slot - 1] if slot else 0) for slot, total in enumerate(sums)]


@pytest.fixture
def service(tmp_path: Path, authority: Authority) -> Iterator[Service]:
    """Without a monitor: its questions would count."""
    with Service(tmp_path, authority.port, metrics='listen = "none"\n') as running:
        yield running


def test_a_miss_through_one_worker_is_a_hit_through_another(service: Service, authority: Authority) -> None:
    """The second worker answers from the table what the first one asked for: the upstream saw one query."""
    query = Query("shared.load.test")
    slots = set()
    for _ in range(64):  # the kernel steers by source port: 64 ports all on one of two sockets happen once in 10**19
        before = received(service)
        with client(service) as sock:
            ask(sock, query)
            assert query.right(sock.recv(4096))
        slots.add(served_by(service, before))
    assert slots == {0, 1}
    assert 0 <= authority.asked()["shared.load.test"] - 1 <= service.late()


def test_a_lost_reply_is_asked_for_again(service: Service, authority: Authority) -> None:
    """An upstream that never answers gets every attempt, and the client SERVFAIL with an Extended DNS Error in time."""
    with client(service) as sock:
        sock.send(b"\0\1\1\0\0\1\0\0\0\0\0\1" + Query("silent.load.test").packet[10:] + b"\0\0\x29\x04\xd0\0\0\0\0\0\0")
        reply = sock.recv(4096)
    assert reply[3] & 15 == 2
    assert reply[-2:] == (22).to_bytes(2)  # RFC 8914 4.23: No Reachable Authority
    assert authority.asked()["silent.load.test"] == 3


def test_a_failure_is_remembered(service: Service, authority: Authority) -> None:
    """A second client of the same unanswered question is refused at once and the upstream left alone (RFC 9520)."""
    test_a_lost_reply_is_asked_for_again(service, authority)
    with client(service) as sock:
        ask(sock, Query("silent.load.test"))
        assert sock.recv(4096)[3] & 15 == 2
    assert authority.asked()["silent.load.test"] == 3
