"""Serve-stale (RFC 8767): what clients get when an answer has ended and no server gives another one."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import dnslib
import pytest

from nodedns import native
from tests.service.load import wire
from tests.service.scripted import Asked, Scripted
from tests.service.service import DEADLINE, Service
from tests.service.test_upstreams import ask, ask_tcp, ede

Ask = Callable[..., dnslib.DNSRecord]
STALE_ANSWER, STALE_NXDOMAIN = 3, 19
NO_REACHABLE_AUTHORITY, NETWORK_ERROR = 22, 23


class Fickle(Scripted):
    """An upstream that changes its mind: "well", "silent", "servfail", "refused" or "moved"."""

    def __init__(self) -> None:
        self.mood = "well"
        super().__init__(self.answer)

    def answer(self, asked: Asked) -> list[bytes]:
        reply = asked.reply()
        if self.mood == "well":
            return [asked.answer()]
        if self.mood == "moved":
            reply.add_answer(dnslib.RR(asked.name, 1, ttl=300, rdata=dnslib.A("192.0.2.99")))
        else:
            reply.header.rcode = {"servfail": 2, "refused": 5}.get(self.mood, 0)
        return [] if self.mood == "silent" else [bytes(reply.pack())]


@contextmanager
def serving(home: Path, upstream: Fickle, stale: str, transport: str = "udp") -> Iterator[Service]:
    """A service whose answers live for a second."""
    (home / "nodedns.d").mkdir()
    (home / "nodedns.d/10.toml").write_text(
        '[[zone]]\nname = "."\nsuccess = { max_ttl = 1, min_ttl = 1 }\ndenial = { max_ttl = 1, min_ttl = 1 }\n'
        f"serve_stale = {stale}\n"
    )
    with Service(home, upstream.port, workers=1, transport=transport) as service:
        yield service


@pytest.fixture
def upstream() -> Iterator[Fickle]:
    with Fickle() as server:
        yield server


def await_end(service: Service, name: str) -> None:
    """Waits until its answer has ended."""
    table = native.Table(service.map("cache"))
    key = wire(name) + b"\0\1\0\1\0"
    ends = time.monotonic() + DEADLINE
    while table.get(key, native.now()) is not None:
        assert time.monotonic() < ends


def address(reply: dnslib.DNSRecord) -> str:
    return str(reply.rr[0].rdata)


@pytest.mark.parametrize("asking", [ask, ask_tcp])
@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_silent_server(tmp_path: Path, upstream: Fickle, asking: Ask, transport: str) -> None:
    """After the client timer the old answer comes, with its word for it; then it is a hit, and nobody is asked."""
    with serving(tmp_path, upstream, '{ max = "1h" }', transport) as service:
        asking(service, "a.test")
        await_end(service, "a.test")
        upstream.mood = "silent"
        began = time.monotonic()
        reply = asking(service, "a.test")
        took = time.monotonic() - began
        assert (address(reply), reply.rr[0].ttl, reply.header.rcode) == ("192.0.2.1", 30, 0)
        assert 1.0 < took < 4.0  # or it has waited for the end: 4.4 s. test_limits has the exact time
        again = ask(service, "a.test")
        assert (address(again), ede(again)) == ("192.0.2.1", STALE_ANSWER)
        assert time.monotonic() - began - took < 1.6
        assert service.counters()["stale"] >= 1
        assert len([asked for asked in upstream.asked if asked.name == "a.test."]) <= 4


@pytest.mark.parametrize("mood", ["servfail", "refused"])
def test_a_server_that_fails(tmp_path: Path, upstream: Fickle, mood: str) -> None:
    """Its failure is not passed on, and does not take the old answer's place: not now, not later."""
    with serving(tmp_path, upstream, '{ max = "1h" }') as service:
        ask(service, "a.test")
        await_end(service, "a.test")
        upstream.mood = mood
        for _ in range(3):
            began = time.monotonic()
            reply = ask(service, "a.test")
            assert (address(reply), ede(reply)) == ("192.0.2.1", STALE_ANSWER)
            assert time.monotonic() - began < 1.6  # before the client timer
        assert ede(ask(service, "b.test")) != STALE_ANSWER  # of what was never known there is nothing to give


def test_a_denial(tmp_path: Path, upstream: Fickle) -> None:
    """NXDOMAIN may be stale as well, and says so."""
    with serving(tmp_path, upstream, '{ max = "1h" }') as service:
        assert ask(service, "none.test").header.rcode == 3
        await_end(service, "none.test")
        upstream.mood = "servfail"
        reply = ask(service, "none.test")
        assert (reply.header.rcode, ede(reply), reply.auth[0].ttl) == (3, STALE_NXDOMAIN, 30)


def test_what_ended_too_long_ago(tmp_path: Path, upstream: Fickle) -> None:
    """After `max` there is only the failure, within the whole budget."""
    with serving(tmp_path, upstream, "{ max = 1 }") as service:
        ask(service, "a.test")
        table = native.Table(service.map("cache"))
        entries = [found[0] for slot in range(table.slots) if (found := table.read(slot))]
        until = max(int.from_bytes(entry[24:32], "little") for entry in entries)
        ends = time.monotonic() + DEADLINE
        while native.now() <= until:
            assert time.monotonic() < ends
        upstream.mood = "silent"
        began = time.monotonic()
        reply = ask(service, "a.test")
        assert reply.header.rcode == 2
        assert ede(reply) in (NO_REACHABLE_AUTHORITY, NETWORK_ERROR)
        assert time.monotonic() - began > 4.0
        assert service.counters()["exhausted"] == 1


def test_immediate(tmp_path: Path, upstream: Fickle) -> None:
    """The old answer comes at once and the new one is fetched behind it."""
    with serving(tmp_path, upstream, '{ max = "1h", mode = "immediate" }') as service:
        ask(service, "a.test")
        await_end(service, "a.test")
        upstream.mood = "moved"
        first = ask(service, "a.test")
        assert (address(first), ede(first)) == ("192.0.2.1", STALE_ANSWER)
        ends = time.monotonic() + DEADLINE
        while address(reply := ask(service, "a.test")) != "192.0.2.99":
            assert time.monotonic() < ends
        assert ede(reply) is None


def test_a_late_answer(tmp_path: Path, upstream: Fickle) -> None:
    """A server that comes back while the last attempt runs is heard, though the client has its stale answer already."""
    with serving(tmp_path, upstream, '{ max = "1h" }') as service:
        ask(service, "a.test")
        await_end(service, "a.test")
        upstream.mood = "silent"
        assert address(ask(service, "a.test")) == "192.0.2.1"
        held = [asked for asked in upstream.asked if asked.name == "a.test." and asked.proto == "udp"][-1]
        upstream.mood = "moved"
        upstream.udp.sendto(upstream.answer(held)[0], held.peer)
        ends = time.monotonic() + DEADLINE
        while address(ask(service, "a.test")) != "192.0.2.99":
            assert time.monotonic() < ends


@pytest.mark.parametrize("prefer", [True, False])
def test_a_server_that_forgets(tmp_path: Path, upstream: Fickle, prefer: bool) -> None:
    """An empty answer in place of a known one: believed, unless the known one is preferred."""
    stale = f'{{ max = "1h", prefer_positive = {str(prefer).lower()} }}'
    with serving(tmp_path, upstream, stale) as service:
        before = address(ask(service, "a.test"))
        await_end(service, "a.test")
        upstream.mood = "empty"
        reply = ask(service, "a.test")
        assert [str(rr.rdata) for rr in reply.rr] == ([before] if prefer else [])
        assert service.counters()["stale"] == int(prefer)
        assert ask(service, "never.test").rr == []
        upstream.mood = "moved"
        await_end(service, "never.test")
        assert address(ask(service, "never.test")) == "192.0.2.99"
