"""Limits of the miss loop that a live service reaches only slowly: counts, idle times and ids, by the test's clock."""

import asyncio
import itertools
from pathlib import Path

import dnslib
import pytest

from nodedns import native
from nodedns.core import stale
from nodedns.core.upstreams import BUDGET
from nodedns.worker import clients_tcp, tcp
from nodedns.worker.tcp import TcpUpstream
from tests.service.inside import Inside, inside, message, until
from tests.service.load import wire
from tests.service.scripted import Scripted


def frame(name: str, id_: int = 1) -> bytes:
    """A query with its length before it."""
    query = id_.to_bytes(2) + bytes(dnslib.DNSRecord.question(name).pack())[2:]
    return len(query).to_bytes(2) + query


def upstream_of(worker: Inside) -> TcpUpstream:
    """The worker's TCP transport."""
    return next(t for t in worker.forwarder.transports.values() if isinstance(t, TcpUpstream))


def test_connections_in_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker takes so many connections and no more; the ones it has are served, and a place given up is free."""
    monkeypatch.setattr(clients_tcp, "CONNECTIONS", 3)

    async def run(upstream: Scripted) -> None:
        async with inside(tmp_path, upstream.port) as worker:
            within = []
            for n in range(3):
                within.append(await worker.connect())
                await until(lambda n=n: len(worker.clients.connections) == n + 1)
            for _ in range(2):
                reader, _ = await worker.connect()
                with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                    await message(reader)
            assert worker.counters()["tcp_refused"] == 2
            within[0][1].close()
            await until(lambda: len(worker.clients.connections) == 2)
            for reader, writer in (within[1], within[2], await worker.connect()):
                writer.write(frame("a.test"))
                assert (await message(reader)).endswith(b"\xc0\0\2\1")  # 192.0.2.1
            assert worker.clients.by_host == {"127.0.0.1": 3}

    with Scripted() as upstream:
        asyncio.run(run(upstream))


def test_unread_answers_are_bounded(tmp_path: Path) -> None:
    """Who reads nothing is asked nothing more; what is kept for it is bounded, and goes when the idle time is over."""

    async def run(upstream: Scripted) -> None:
        async with inside(tmp_path, upstream.port) as worker:
            _, writer = await worker.connect()
            writer.transport.pause_reading()
            await until(lambda: worker.clients.connections)
            (connection,) = worker.clients.connections
            most = 0

            def stalled() -> bool:
                nonlocal most
                writer.write(frame("many.test") * 50)
                most = max(most, connection.transport.get_write_buffer_size())
                return connection.stalled and writer.transport.get_write_buffer_size() > 1 << 20

            await until(stalled)
            print(f"{most} octets kept")
            assert most <= 2 * clients_tcp.UNREAD + 0xFFFF
            worker.clients.tick(connection.last + clients_tcp.IDLE - 0.1)
            assert not connection.transport.is_closing()
            worker.clients.tick(connection.last + clients_tcp.IDLE + 0.1)
            await until(lambda: not worker.clients.connections)

    with Scripted() as upstream:
        asyncio.run(run(upstream))


def test_octets_are_not_queries(tmp_path: Path) -> None:
    """Single octets keep no connection open, a miss in flight does."""

    async def run(upstream: Scripted) -> None:
        async with inside(tmp_path, upstream.port) as worker:
            _, drip = await worker.connect()
            await until(lambda: worker.clients.connections)
            (dripping,) = worker.clients.connections
            _, patient = await worker.connect()
            patient.write(frame("silent.test"))
            await until(lambda: any(c.pending for c in worker.clients.connections))
            for n, octet in enumerate(frame("a.test")[:20], 1):
                drip.write(bytes([octet]))
                await until(lambda n=n: len(dripping.buffer) == n)
            worker.clients.tick(worker.loop.time() + clients_tcp.IDLE)
            await until(lambda: len(worker.clients.connections) == 1)
            assert dripping not in worker.clients.connections

    with Scripted(lambda asked: []) as upstream:
        asyncio.run(run(upstream))


def test_idle_streams_are_closed(tmp_path: Path) -> None:
    """A stream to an upstream is closed when it has carried nothing for the idle time, and not before."""

    async def run(upstream: Scripted) -> None:
        async with inside(tmp_path, upstream.port, "tcp") as worker:
            reader, writer = await worker.connect()
            for n, (later, streams) in enumerate(((tcp.IDLE - 0.1, 1), (tcp.IDLE + 0.1, 0), (0, 1))):
                writer.write(frame(f"n{n}.test"))
                assert (await message(reader))[3] & 15 == 3
                (stream,) = upstream_of(worker).streams
                upstream_of(worker).tick(max(stream.asked, stream.heard) + later)
                assert len(upstream_of(worker).streams) == streams
            assert worker.counters()["upstream_connects"] == len(upstream.connections) == 2

    with Scripted() as upstream:
        asyncio.run(run(upstream))


def test_a_full_stream_takes_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many questions wait for a silent upstream, no stream holds so many that a free id is hard to find."""
    monkeypatch.setattr(tcp, "HELD_MAX", 16)

    async def run(upstream: Scripted) -> None:
        async with inside(tmp_path, upstream.port, "tcp") as worker:
            _, writer = await worker.connect()
            writer.write(b"".join(frame(f"n{n}.test", n) for n in range(100)))
            await until(lambda: len(worker.forwarder.asking) == 100)
            assert max(len(stream.held) for stream in upstream_of(worker).streams) == 16

    with Scripted(lambda asked: []) as upstream:
        asyncio.run(run(upstream))


@pytest.mark.parametrize(("known", "tenths"), [(True, (17,)), (False, (44, 45, 46))], ids=["stale", "nothing"])
@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_how_long_a_client_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, transport: str, known: bool, tenths: tuple[int, ...]
) -> None:
    """No server answers: after 1.7 s what has expired is given, and if there is nothing, SERVFAIL after 4.5 s."""

    async def run(upstream: Scripted) -> None:
        async with inside(tmp_path, upstream.port, transport, 'serve_stale = { max = "1h" }\n') as worker:
            reader, writer = await worker.connect()
            if known:
                writer.write(frame("a.test"))
                await message(reader)
                table = native.Table(worker.table_file)
                fresh = table.get(wire("a.test") + b"\0\1\0\1\0", native.now())
                assert fresh
                table.put(stale.kept(stale.lasting(fresh, 0), 3600), 0)
            upstream.handler = lambda asked: []
            writer.write(frame("a.test"))
            await until(lambda: worker.forwarder.asking)
            (connection,), (question,) = worker.clients.connections, worker.forwarder.asking.values()
            with monkeypatch.context() as clock:
                for n in itertools.takewhile(lambda _: connection.pending, itertools.count(1)):
                    now = question.ends - BUDGET + n / 10
                    clock.setattr(worker.loop, "time", lambda now=now: now)
                    worker.forwarder.tick(now)
            assert n in tenths
            assert (await message(reader))[3] & 15 == (0 if known else 2)
            assert worker.counters()["exhausted"] == (not known)

    with Scripted() as upstream:
        asyncio.run(run(upstream))
