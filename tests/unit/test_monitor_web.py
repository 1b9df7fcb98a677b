"""monitor.web and monitor.pages: bounds on who reads slowly, and what is said of health."""

import asyncio
import os
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from nodedns import config, native
from nodedns.core.rows import Rows
from nodedns.core.service import State
from nodedns.monitor import pages, web
from nodedns.monitor.pages import Pages
from nodedns.monitor.web import Reply, Web
from nodedns.worker.job import MonitorJob, Shared

GET = b"GET /page HTTP/1.1\r\nHost: x\r\n\r\n"
LARGE = os.urandom(4 << 20)


@pytest.fixture(autouse=True)
def nobody_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that is about that sets its own limit."""
    monkeypatch.setattr(web, "PATIENCE", 120.0)


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[Web, tuple[str, int]]]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        at = listener.getsockname()
        server = Web({"/page": lambda _accept: Reply(200, LARGE)})
        await server.listen(listener.detach())
        yield server, at
        await server.close(0)


async def asks(at: tuple[str, int], limit: int = 1 << 16) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """One that has begun to get its page; by `limit` octets, and no more until it is read from."""
    reader, writer = await asyncio.open_connection(*at, limit=limit)
    writer.write(GET)
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    return reader, writer


async def cut_short(reader: asyncio.StreamReader) -> bool:
    """Does the page end too soon?"""
    try:
        await asyncio.wait_for(reader.readexactly(len(LARGE)), 60)
    except (asyncio.IncompleteReadError, ConnectionResetError):
        return True
    return False


async def end(*writers: asyncio.StreamWriter) -> None:
    """At once."""
    for writer in writers:
        writer.transport.abort()
    await asyncio.sleep(0)


def test_slow_readers_make_room() -> None:
    """Of those that do not take what they have asked for, MAX_READING stay; who reads gets all of it."""

    async def scene() -> None:
        async with serving() as (_, at):
            slow = [await asks(at, 512) for _ in range(web.MAX_READING + 4)]
            assert [await cut_short(reader) for reader, _ in slow] == [True] * 4 + [False] * web.MAX_READING
            await end(*(writer for _, writer in slow))

    asyncio.run(scene())


def test_who_does_not_read_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """When its time is over."""
    monkeypatch.setattr(web, "PATIENCE", 2.0)

    async def scene() -> None:
        async with serving() as (server, at):
            reader, writer = await asks(at, 512)
            await asyncio.wait_for(server.close(120), 60)
            assert await cut_short(reader)
            await end(writer)

    asyncio.run(scene())


def test_a_leaving_monitor_finishes_what_it_has_in_hand() -> None:
    """And takes nothing new."""

    async def scene() -> None:
        async with serving() as (server, at):
            reader, writer = await asks(at)
            closing = asyncio.create_task(server.close(120))
            assert (await asyncio.wait_for(reader.read(-1), 60)).endswith(LARGE)
            await asyncio.wait_for(closing, 60)
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(*at)
            await end(writer)

    asyncio.run(scene())


class Here:
    """Pages over memory of this test's own."""

    def __init__(self) -> None:
        parsed = config.parse('[cluster]\ndns = "10.96.0.10"\n')
        self.counters, table = memory(native.counters_size(1)), memory(1 << 20)
        native.table_format(table, 1)
        shared = Shared(table, self.counters, self.counters, self.counters)
        self.pages = Pages(MonitorJob(parsed, shared, 1, Rows(), None, False, -1, -1, -1, -1))

    def state(self, state: State) -> None:
        native.note_parent(self.counters, "state", list(State).index(state))

    def asked(self) -> tuple[int, int]:
        return self.pages.health("").status, self.pages.ready("").status


def memory(size: int) -> native.Memory:
    with tempfile.TemporaryFile() as file:
        file.truncate(size)
        return native.map_file(file.fileno(), size, True)


@pytest.mark.parametrize(
    ("state", "silent", "health", "ready"),
    [
        (State.READY, [], 200, 200),
        (State.RELOADING, [], 200, 200),
        (State.STARTING, [], 200, 503),
        (State.STEERING, [], 200, 503),
        (State.READY, ["a"], 200, 503),
        (State.READY, ["a", "b"], 503, 503),
        (State.LAMEDUCK, [], 503, 503),
        (State.RELEASING, [], 503, 503),
        (State.STOPPING, [], 503, 503),
        (State.FAILING, [], 503, 503),
    ],
)
def test_health(state: State, silent: list[str], health: int, ready: int) -> None:
    here = Here()
    here.state(state)
    here.pages.judge(silent, [0.001, 0.5])
    assert here.asked() == (health, ready)


def test_no_verdict_is_none_of_health(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the first one, and when the last one is old."""
    here = Here()
    here.state(State.READY)
    assert here.pages.health("") == Reply(503, b"nobody was asked yet\n")
    here.pages.judge([], [0.001])
    assert here.asked() == (200, 200)
    monkeypatch.setattr(pages, "FRESH", 0.0)
    assert here.asked() == (503, 503)


def test_probes_are_counted() -> None:
    """By how long they took, in Prometheus's sense of a bound; a second with a silent address once."""
    here = Here()
    here.pages.judge(["a", "b"], [0.00025, 0.0002501, 3.0])
    counted = native.read_parent(here.counters)
    assert {name: n for name, n in counted.items() if n} == {
        "probe_1": 1,
        "probe_2": 1,
        "probe_6": 1,
        "probe_us": 3_000_500,
        "probes_failed": 1,
    }
