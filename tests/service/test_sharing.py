"""What workers share beside the entries: who asks for a key, and when a popular answer is fetched again."""

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from nodedns.core.figures import HOWS
from nodedns.worker.elsewhere import YOUNG
from tests.service.load import Query, wire
from tests.service.scripted import Asked, Scripted
from tests.service.service import DEADLINE, Authority, Service
from tests.service.test_cache import ask, client, received
from tests.service.test_drills import go_on, told_to_leave
from tests.service.test_stale import Fickle, address
from tests.service.test_upstreams import ask as answer_to

WORKERS = 4


def spread(service: Service) -> dict[int, socket.socket]:
    """A UDP client for each worker: the kernel steers by source port."""
    found: dict[int, socket.socket] = {}
    while len(found) < service.workers:
        before = received(service)
        sock = client(service)
        ask(sock, Query("localhost"))
        sock.recv(4096)
        grown = [new - old for old, new in zip(before, received(service), strict=True)]
        slot = max(range(len(grown)), key=grown.__getitem__)
        if slot in found or sum(grown) != 1:  # our own probe was counted, too
            sock.close()
        else:
            found[slot] = sock
    return found


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_equal_misses_of_all_workers_are_one_question(tmp_path: Path, authority: Authority, transport: str) -> None:
    """1,000 clients, over UDP and TCP, ask four workers the same while the upstream is slow: it is asked once."""
    query = Query("slow.load.test")
    packet = b"\0\7" + query.packet
    with Service(tmp_path, authority.port, workers=WORKERS, transport=transport) as service:
        socks = [client(service) for _ in range(100)]
        streams = [socket.create_connection(("127.0.0.1", service.port), 6) for _ in range(100)]
        try:
            for n in range(900):
                ask(socks[n % 100], query, n)
            for stream in streams:
                stream.sendall(len(packet).to_bytes(2) + packet)
            service.await_(lambda: sum(received(service)) >= 900, "asked")
            counters = service.counters
            service.await_(lambda: counters()["joined"] >= 1000 - WORKERS, "joining")
            service.await_(lambda: authority.asked().get("slow.load.test"), "asking")
            authority.asked("go")
            assert all(query.right(socks[n % 100].recv(4096)) for n in range(900))
            for stream in streams:
                with stream.makefile("rb") as file:
                    assert query.right(file.read(int.from_bytes(file.read(2))))
            asked = authority.asked()["slow.load.test"]
            print(
                f"1000 clients, {WORKERS} workers: {asked} asked, {counters()['elsewhere']} waited for another worker"
            )
            assert 0 <= asked - 1 <= service.late()
            assert counters()["elsewhere"] == WORKERS - 1
        finally:
            for sock in (*socks, *streams):
                sock.close()


def test_a_dead_owner_is_not_waited_for(tmp_path: Path, authority: Authority) -> None:
    """The worker that asks is killed: whoever waited for it asks instead, at once."""
    query = Query("slow.load.test")
    with Service(tmp_path, authority.port) as service:
        clients = spread(service)
        (owner, first), (_, second) = clients.items()
        ask(first, query)
        service.await_(lambda: authority.asked().get("slow.load.test"), "asking")
        ask(second, query)
        service.await_(lambda: service.counters()["elsewhere"] == 1, "waiting")
        asked = authority.asked()["slow.load.test"]
        began = time.monotonic()
        os.kill(service.pids()[owner], signal.SIGKILL)
        service.await_(lambda: authority.asked()["slow.load.test"] > asked, "asking again")
        waited = time.monotonic() - began
        authority.asked("go")
        for sock in (first, second):
            assert query.right(sock.recv(4096))
            sock.close()
        print(f"asked again after {waited:.3f} s")
        assert waited < 4.0  # a mark alone would hold for 4.5 s


def test_what_cannot_be_stored_keeps_nobody_waiting(tmp_path: Path) -> None:
    """An answer too long for the table: who waited for another worker's asks for itself, all at the same time."""
    release = threading.Event()

    def hold(asked: Asked) -> list[bytes]:
        release.wait(DEADLINE)
        return [asked.answer()]

    with Scripted(hold) as upstream, Service(tmp_path, upstream.port, workers=WORKERS, transport="tcp") as service:
        query = wire("huge.test") + b"\0\20\0\1"
        packet = b"\0\1\1\0\0\1\0\0\0\0\0\0" + query
        streams = [socket.create_connection(("127.0.0.1", service.port), 6) for _ in range(40)]
        for stream in streams:
            stream.sendall(len(packet).to_bytes(2) + packet)
        service.await_(lambda: service.counters()["joined"] + service.counters()["elsewhere"] == 39, "waiting")
        waiting = service.counters()["elsewhere"]
        began = time.monotonic()
        release.set()
        for stream in streams:
            with stream, stream.makefile("rb") as file:
                assert len(file.read(int.from_bytes(file.read(2)))) > 16384
        assert time.monotonic() - began < 4.0  # a mark would hold for 4.5 s
        assert 0 <= len(upstream.asked) - 1 - waiting <= service.late()
        assert waiting > 0


@pytest.fixture
def upstream() -> Iterator[Fickle]:
    with Fickle() as server:
        yield server


def prefetching(home: Path, upstream: Fickle, life: int, extra: str = "") -> Service:
    """Answers live for so many seconds, and are fetched again in the last 90 % of that."""
    (home / "nodedns.d").mkdir()
    (home / "nodedns.d/10.toml").write_text(
        f'[[zone]]\nname = "."\nsuccess = {{ max_ttl = {life}, min_ttl = {life} }}\n'
        f'prefetch = {{ hits = 3, within = "90%" }}\n{extra}'
    )
    return Service(home, upstream.port)


def hammer(service: Service, seconds: float) -> list[str]:
    """The addresses that one client of each worker got, asking all the time."""
    got, ends = [], time.monotonic() + seconds
    while time.monotonic() < ends:
        got.append(address(answer_to(service, "a.test.")))
    return got


def test_prefetch(tmp_path: Path, upstream: Fickle) -> None:
    """A popular answer is fetched again before its end: its clients see one miss in all, and the new data soon."""
    with prefetching(tmp_path, upstream, 6) as service:
        began = time.monotonic()
        hammer(service, 1.0)
        upstream.mood = "moved"
        assert hammer(service, 4.0)[-1] == "192.0.2.99"
        most = (time.monotonic() - began) / 0.6  # at the earliest so long after the last
        counters, (row,) = service.counters(), service.rows()
        misses = row["hows"][HOWS.index("miss")]
        print(f"prefetched {counters['prefetched']}, asked {len(upstream.asked)}, misses {misses}")
        assert misses == 1
        assert row["prefetched"] == (counters["prefetched"],)
        assert 2 <= counters["prefetched"] <= most
        service.await_(lambda: len(upstream.asked) > service.counters()["prefetched"], "through with the last fetch")
        assert 0 <= len(upstream.asked) - 1 - service.counters()["prefetched"] <= service.late()


@pytest.mark.parametrize("extra", ["", 'serve_stale = { max = "1h", prefer_positive = true }\n'], ids=["", "stale"])
def test_a_refresh_that_fails(tmp_path: Path, upstream: Fickle, extra: str) -> None:
    """What is known lives on to its end, and the servers are not asked again and again meanwhile."""
    with prefetching(tmp_path, upstream, 2, extra) as service:
        began, got = time.monotonic(), []
        first = address(answer_to(service, "a.test."))
        upstream.mood = "servfail"
        while time.monotonic() < began + 3 and (reply := answer_to(service, "a.test.")).header.rcode == 0:
            got.append(address(reply))
        assert set(got) == {first}
        assert time.monotonic() - began > 1.5
        assert len(upstream.asked) <= 3 + service.late()  # the first, one refresh, the miss at the end


def test_who_leaves_looks_for_what_another_asked(tmp_path: Path, authority: Authority) -> None:
    """A question that waits for another worker's answer is answered before its own leaves, once the answer is there."""
    query = Query("slow.load.test")
    with Service(tmp_path, authority.port) as service, ExitStack() as stack:
        socks = spread(service)
        owner, waiter = map(stack.enter_context, socks.values())
        ask(owner, query)
        service.await_(lambda: authority.asked().get("slow.load.test"), "asking")
        ask(waiter, query)
        service.await_(lambda: service.counters()["elsewhere"] == 1, "waiting for another")
        since = time.monotonic()
        service.await_(lambda: time.monotonic() > since + 2 * YOUNG, "looking with each tick only")
        pids = [service.pids()[slot] for slot in socks]
        told_to_leave(service, pids)
        authority.asked("go")
        for pid in pids:
            go_on(pid)
        assert query.right(owner.recv(4096))
        assert query.right(waiter.recv(4096))
        service.process.send_signal(signal.SIGCONT)
