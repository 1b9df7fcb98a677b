"""TCP clients (RFC 7766): many queries on a connection at once, answers as they come, limits on everything a client can
hold.

A message is two octets of length and a query. Hits are answered where they are read; a miss goes to the forwarder and
its answer follows when it comes, out of order if need be.
"""

import asyncio
import contextlib
import socket
from collections import Counter
from ipaddress import ip_address

from nodedns import native
from nodedns.worker.forward import Forwarder
from nodedns.worker.question import Answer

CONNECTIONS = 1024  # a worker: at 4 KiB of buffers each, 4 MiB
PER_PEER = 256  # of these from one address: a node has one for all its host-network pods
PENDING = 128  # misses in flight on a connection: knot-resolver's pipeline limit is 100
IDLE = 10.0  # seconds without a whole query before a connection is closed: CoreDNS's own (RFC 7766 6.2.3: seconds)
ACCEPTING = 3  # turns of the loop from accept(2) to connection_made(): who is between them is a client, too
UNREAD = 65536 * 2  # octets a client may leave unread, two answers of the greatest length; then we read no more


def mapped(host: str) -> bytes:
    """16 octets of an address, v4 mapped."""
    packed = ip_address(host.partition("%")[0]).packed
    return packed if len(packed) == 16 else bytes(10) + b"\xff\xff" + packed


class Connection(asyncio.Protocol):
    """One client's connection."""

    def __init__(self, clients: "Clients", listener: int) -> None:
        self.clients = clients
        self.listener = listener  # which of our addresses it came to
        self.buffer = b""
        self.pending = 0
        self.stalled = False  # the client does not read
        self.ended = False  # the client has closed its side
        self.asked = False  # a whole query has come

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Accepted, or closed at once when there are too many."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.set_write_buffer_limits(UNREAD)
        sock: socket.socket = transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.host, self.port = transport.get_extra_info("peername")[:2]
        self.peer = mapped(self.host)
        self.last = self.clients.loop.time()
        self.clients.accept(self)

    def data_received(self, data: bytes) -> None:
        """Queries, whole and in parts."""
        self.buffer += data
        self.take()
        self.clients.forwarder.flush()
        self.clients.answered()

    def take(self) -> None:
        """Answers or files whole queries while the client reads its answers and may have more in flight."""
        while self.pending < PENDING and not self.stalled and self.take_some():
            pass
        self.throttle()

    def take_some(self) -> bool:
        """Takes queries until a write is worth it. False when no whole one is left or no more may be in flight."""
        buffer, at, end, out, size = self.buffer, 0, len(self.buffer), [], 0
        while self.pending < PENDING and size < UNREAD:
            stop = at + 2 + int.from_bytes(buffer[at : at + 2])
            if at + 2 > end or stop > end:
                break
            found = self.clients.server.lookup(buffer[at + 2 : stop], self.peer, self.port, self.listener)
            at = stop
            self.asked = True
            self.last = self.clients.loop.time()
            if isinstance(found, bytes):
                if found:
                    out += [len(found).to_bytes(2), found]
                    size += len(found)
            else:
                self.pending += 1
                key, zone, query = found
                self.clients.forwarder.ask_tcp(key, zone, self.answerer(query))
        self.buffer = buffer[at:]
        if out:
            self.transport.write(b"".join(out))  # may call pause_writing
        return size >= UNREAD

    def answerer(self, query: bytes) -> Answer:
        """What the forwarder calls with the entry of a miss."""

        def answer(entry: bytes) -> None:
            self.pending -= 1
            self.clients.answered()
            if self.transport.is_closing():
                return
            message = self.clients.server.render_tcp(entry, query)
            self.transport.write(len(message).to_bytes(2) + message)
            self.last = self.clients.loop.time()
            if self.buffer and self.pending == PENDING - 1:
                self.clients.loop.call_soon(self.data_received, b"")  # what waited for a place
            elif self.ended and not self.pending:
                self.transport.close()
            self.throttle()

        return answer

    def throttle(self) -> None:
        """Reads on only from a client that is within its limits."""
        if self.stalled or self.pending >= PENDING:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()

    def pause_writing(self) -> None:
        """The client does not read its answers."""
        self.stalled = True
        self.throttle()

    def resume_writing(self) -> None:
        """It does again."""
        self.stalled = False
        self.data_received(b"")

    def eof_received(self) -> bool:
        """The client has asked all it had to: it still gets its answers (RFC 7766 6.2.4). True keeps the connection."""
        self.ended = True
        return self.pending > 0

    def connection_lost(self, exc: Exception | None) -> None:
        """Gone."""
        self.clients.forget(self)


class Clients:
    """All TCP clients of one worker."""

    def __init__(self, loop: asyncio.AbstractEventLoop, server: native.Server, forwarder: Forwarder) -> None:
        self.loop = loop
        self.server = server
        self.forwarder = forwarder
        self.listeners: list[asyncio.Server] = []
        self.connections: set[Connection] = set()
        self.by_host: Counter[str] = Counter()
        self.idle: asyncio.Event | None = None  # while leaving

    async def listen(self, sock: socket.socket, number: int = 0) -> None:
        """Accepts on an inherited listening socket, that of our address `number`."""
        sock.setblocking(False)
        self.listeners.append(await self.loop.create_server(lambda: Connection(self, number), sock=sock))

    def accept(self, connection: Connection) -> None:
        """Takes a connection in, or closes it: over a limit."""
        self.server.add("tcp_accepted")
        self.connections.add(connection)
        self.by_host[connection.host] += 1
        if len(self.connections) > CONNECTIONS or self.by_host[connection.host] > PER_PEER:
            self.server.add("tcp_refused")
            connection.transport.abort()

    def forget(self, connection: Connection) -> None:
        """A connection is gone."""
        self.connections.discard(connection)
        self.by_host[connection.host] -= 1
        if not self.by_host[connection.host]:
            del self.by_host[connection.host]
        self.answered()

    def answered(self) -> None:
        """Something is over; the last such thing ends the wait of a leaving worker."""
        if self.idle is not None and not self.busy():
            self.idle.set()

    def busy(self) -> bool:
        """Does anyone wait for an answer, or is about to? Who has come and not asked yet may just have lost another
        worker in the same reload, and must not lose this one before its question is here."""
        return any(connection.pending or not connection.asked for connection in self.connections)

    def tick(self, now: float) -> None:
        """Closes the idle: no whole query for long and none in flight, or answers left unread as long."""
        for connection in tuple(self.connections):
            if now - connection.last > IDLE and (connection.stalled or not connection.pending):
                self.server.add("tcp_idle")
                connection.transport.abort()

    async def leave(self, patience: float) -> None:
        """Stops accepting, gives misses in flight and new clients `patience` seconds, closes every connection."""
        for listener in self.listeners:
            listener.close()
        for _ in range(ACCEPTING):
            await asyncio.sleep(0)
        if self.busy():
            self.idle = asyncio.Event()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.idle.wait(), patience)
        for connection in tuple(self.connections):
            connection.transport.close()
