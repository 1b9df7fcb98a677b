"""The miss loop of one worker inside the test: no parent, no hit thread, and the test is its clock."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from nodedns import config, native
from nodedns.core.rows import Rows
from nodedns.worker.clients_tcp import Clients
from nodedns.worker.forward import Forwarder
from nodedns.worker.job import Job, Shared
from nodedns.worker.main import open_server

SEED = 2308
PATIENCE = 20.0  # seconds; only a failing test waits this long


def shared(path: Path, size: int) -> native.Memory:
    """A zeroed file, mapped."""
    with path.open("wb+") as file:
        file.truncate(size)
        return native.map_file(file.fileno(), size, True)


class Inside:
    """Forwarder and TCP clients, wired as worker.loop does, and the port they listen on."""

    def __init__(self, home: Path, upstream: int, transport: str, zone: str) -> None:
        text = (
            f'[cluster]\ndns = "127.0.0.1:{upstream}"\n[node]\nlisten = ["127.0.0.1:1"]\n'
            f'[[zone]]\nname = "."\nforward = ["127.0.0.1:{upstream}"]\ntransport = "{transport}"\n{zone}'
        )
        self.table_file = shared(home / "cache", 1 << 20)
        native.table_format(self.table_file, SEED)
        self.counters_file = shared(home / "counters", native.counters_size(1))
        slots = shared(home / "slots", native.SLOT_SIZE)
        memories = Shared(self.table_file, self.counters_file, slots, shared(home / "samples", native.samples_size(1)))
        job = Job(0, config.parse(text), memories, (), (), -1, -1, -1, Rows())
        self.loop = asyncio.get_running_loop()
        self.server = open_server(job)
        self.forwarder = Forwarder(self.loop, self.server, job, SEED)
        self.clients = Clients(self.loop, self.server, self.forwarder)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self.writers: list[asyncio.StreamWriter] = []

    def counters(self) -> dict[str, int]:
        """Totals."""
        return native.read_counters(self.counters_file, 1)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A client's connection, ended with the block."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.writers.append(writer)
        return reader, writer


@asynccontextmanager
async def inside(home: Path, upstream: int, transport: str = "udp", zone: str = "") -> AsyncIterator[Inside]:
    """Serves until the block ends; `zone` is more of the zone's lines."""
    running = Inside(home, upstream, transport, zone)
    await running.clients.listen(running.listener)
    try:
        yield running
    finally:
        for writer in running.writers:
            writer.transport.abort()
        await running.clients.leave(0)
        running.forwarder.close()
        await until(lambda: not running.clients.connections)


async def until(there: Callable[[], object]) -> None:
    """Lets the loop turn until something holds; AssertionError after PATIENCE."""
    ends = asyncio.get_running_loop().time() + PATIENCE
    while not there():
        assert asyncio.get_running_loop().time() < ends, "what the test waits for does not come"
        await asyncio.sleep(0)


async def message(reader: asyncio.StreamReader) -> bytes:
    """The next whole message; TimeoutError after PATIENCE."""
    async with asyncio.timeout(PATIENCE):
        return await reader.readexactly(int.from_bytes(await reader.readexactly(2)))
