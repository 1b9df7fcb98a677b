"""Questions to one upstream over TCP (RFC 7766): few streams, many questions on each, replies in any order.

A stream that lets an attempt's time pass without a single octet is given up, whatever the kernel thinks of it: the next
question opens a fresh one. It is still heard for a while, for it may only be slow.
"""

import asyncio
import socket
from typing import TYPE_CHECKING

from nodedns import native
from nodedns.worker.ids import free_id
from nodedns.worker.meter import TCP
from nodedns.worker.question import Question

if TYPE_CHECKING:
    from nodedns.worker.forward import Forwarder

STREAMS = 2  # to one upstream and worker while none is full: one may die, the other serves (RFC 7766 6.2.2: few)
HELD_MAX = 16384  # questions a stream carries: a quarter of the ids, so that a random one is free at once
IDLE = 10.0  # seconds without a question before a stream is closed: CoreDNS's `expire`, and below most servers' own
LINGER = 5.0  # seconds a given-up stream is still heard: no question lives longer
CONNECT = 1.5  # seconds: a SYN that is lost is sent again after one; two attempts that fail so end before 4.5 s


class Stream(asyncio.Protocol):
    """One connection. Until it stands, questions gather in `out`."""

    def __init__(self, upstream: "TcpUpstream") -> None:
        self.upstream = upstream
        self.forwarder = upstream.forwarder
        self.transport: asyncio.Transport | None = None
        self.held: dict[int, Question] = {}
        self.out: list[bytes] = []
        self.buffer = b""
        self.heard = self.asked = upstream.forwarder.loop.time()
        self.until = 0.0
        self.dead = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected: what gathered leaves."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        sock: socket.socket = transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.dead:
            transport.abort()
        self.flush()

    def send(self, question: Question) -> None:
        """Queues a question."""
        id_ = free_id(self.held)
        question.carried(self, self.held, id_)
        packet = self.wire(native.make_query(question.key, id_))
        self.out.append(len(packet).to_bytes(2))
        self.out.append(packet)

    def wire(self, packet: bytes) -> bytes:
        """As it is sent."""
        return packet

    def flush(self) -> None:
        """Writes what is queued, in one piece (RFC 7766 8)."""
        if self.out and self.transport is not None and not self.dead:
            self.forwarder.server.add("upstream_tcp", len(self.out) // 2)
            self.upstream.count(len(self.out) // 2)
            self.asked = self.forwarder.loop.time()
            self.transport.write(b"".join(self.out))
            self.out = []

    def data_received(self, data: bytes) -> None:
        """Replies, whole and in parts."""
        self.heard = self.forwarder.loop.time()
        buffer = self.buffer + data if self.buffer else data
        at, end, matched = 0, len(buffer), 0
        find, reply = self.held.get, self.forwarder.reply
        while at + 2 <= end and (stop := at + 2 + (buffer[at] << 8 | buffer[at + 1])) <= end:
            message = buffer[at + 2 : stop]
            at = stop
            question = find(int.from_bytes(message[:2]))
            if question is not None and reply(question, message, self):
                matched += 1
            elif question is None:
                self.forwarder.server.add("upstream_strays")
        self.buffer = buffer[at:]
        self.forwarder.server.add("upstream_replies", matched)
        self.forwarder.flush()

    def silent(self, question: Question) -> None:
        """An attempt's time passed: the stream is given up unless it has said something in that time."""
        if self.heard < question.since and self in self.upstream.streams:
            self.upstream.streams.remove(self)
            self.upstream.retired.add(self)
            self.until = self.forwarder.loop.time() + LINGER

    def connection_lost(self, exc: Exception | None) -> None:
        """The peer closed, or the network broke: what it carried is asked anew."""
        self.fail()
        self.forwarder.flush()

    def fail(self) -> None:
        """Ends the stream and gives back its questions."""
        if not self.dead:
            self.forwarder.meter.opened(self.upstream.row, -1)
        self.dead = True
        self.upstream.streams.discard(self)
        self.upstream.retired.discard(self)
        if self.transport is not None:
            self.transport.abort()
        held = list(self.held.values())
        self.held.clear()
        for question in held:
            self.forwarder.refused(question, self)


class TcpUpstream:
    """The transport to one endpoint."""

    stream = Stream
    way = TCP

    def __init__(self, forwarder: "Forwarder", address: str, port: int, row: int | None) -> None:
        self.forwarder = forwarder
        self.row = row
        self.fresh = 0  # streams opened since questions were last counted
        self.peer = (address, port)
        self.streams: set[Stream] = set()
        self.retired: set[Stream] = set()
        self.tasks: set[asyncio.Task[None]] = set()

    def send(self, question: Question) -> None:
        """Queues the question on the stream that carries least; another one is opened when the first is busy, or all
        are full.
        """
        stream = min((s for s in self.streams if len(s.held) < HELD_MAX), key=lambda s: len(s.held), default=None)
        if stream is None or (len(self.streams) < STREAMS and len(stream.held) >= HELD_MAX // 16):
            stream = self.open()
        stream.send(question)

    def count(self, questions: int) -> None:
        """Questions have left."""
        fresh, self.fresh = min(self.fresh, questions), 0
        self.forwarder.meter.sent(self.row, self.way, questions, fresh)

    def open(self) -> Stream:
        """A stream, connecting."""
        stream = self.stream(self)
        self.streams.add(stream)
        self.fresh += 1
        self.forwarder.meter.opened(self.row, 1)
        self.forwarder.server.add("upstream_connects")
        task = self.forwarder.loop.create_task(self.connect(stream))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return stream

    async def connect(self, stream: Stream) -> None:
        """Connects within the time of a first attempt."""
        try:
            async with asyncio.timeout(CONNECT):
                await self.handshake(stream)
        except OSError:  # TimeoutError is one
            stream.fail()
            self.forwarder.flush()

    async def handshake(self, stream: Stream) -> None:
        """Connects the stream. OSError."""
        await self.forwarder.loop.create_connection(lambda: stream, *self.peer)

    def flush(self) -> None:
        """Sends what is queued on each stream."""
        for stream in tuple(self.streams):
            stream.flush()

    def tick(self, now: float) -> None:
        """Closes streams that carry nothing for long, and given-up ones."""
        idle = [s for s in self.streams if not s.held and now - max(s.asked, s.heard) > IDLE]
        over = [s for s in self.retired if not s.held or s.until < now]
        for stream in (*idle, *over):
            stream.fail()

    def close(self) -> None:
        """Closes every stream."""
        for stream in (*self.streams, *self.retired):
            stream.held.clear()
            stream.fail()
