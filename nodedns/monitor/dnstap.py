"""dnstap: answers to a receiver on a Unix socket, in a bidirectional Frame Stream (core/dnstap.py).

Nothing waits for the receiver: frames stand in a bounded queue that the kernel takes from as it can, and what finds no
room, or no connection, is dropped and counted.
"""

import asyncio
import os
import socket
import time
from collections import deque
from collections.abc import Sequence

from nodedns import __version__, native
from nodedns.config import Config
from nodedns.core import dnstap
from nodedns.core.figures import HOWS
from nodedns.core.rows import Rows, server_name
from nodedns.core.sample import Sample, mapped
from nodedns.journal import log

BUFFER = 1 << 20
"""Octets that wait: a second of 5,000 answers of 200 octets."""
PATIENCE = 5.0
"""Seconds for a receiver's handshake."""
FAREWELL = 0.2
"""Seconds for its FINISH, half of what the monitor has to leave in."""
AGAIN, AGAIN_MOST = 1.0, 30.0
"""Seconds until it is tried again, doubled each time."""
SAY = 10.0
"""Seconds between two events that tell what was dropped."""


class Refused(Exception):
    """The receiver does not speak as it should."""


class Dnstap:
    """One receiver."""

    def __init__(self, config: Config, counters: native.Memory, rows: Rows) -> None:
        assert config.dnstap.socket is not None
        self._path, self._hits, self._counters = config.dnstap.socket, config.dnstap.hits, counters
        self._identity = (config.dnstap.identity or os.uname().nodename).encode()
        self._version = (config.dnstap.version or f"nodedns {__version__}").encode()
        ours = {server_name(at): (mapped(at.address), at.port) for at in config.node.listen}
        self._servers = [ours.get(name[0], (b"", 0)) if name else (b"", 0) for name in rows.rows]
        self._sock: socket.socket | None = None
        self._queue: deque[bytes] = deque()
        self._queued = self._begun = 0  # octets in the queue; those of its first frame that have left
        self._pumping = False
        self._dropped, self._due = 0, 0.0  # since it was last told
        self._again, self._told = AGAIN, False

    def take(self, samples: Sequence[Sample], missed: int) -> None:
        """Queues those that are wanted."""
        wanted = [one for one in samples if self._hits != "none" or one.how == HOWS.index("miss")]
        lost = 0
        offset = time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        for one in wanted:
            if self._sock is None or self._queued >= BUFFER:
                lost += 1
            else:
                self._put(dnstap.data(dnstap.message(self._answer(one, offset), self._identity, self._version)))
        self._lose(lost + missed)
        self._pump()

    def _answer(self, one: Sample, offset: int) -> dnstap.Answer:
        server, port = self._servers[one.row] if one.row < len(self._servers) else (b"", 0)
        answered = one.when + offset
        asked = answered - one.took
        return dnstap.Answer(asked, answered, one.client, one.port, server, port, bool(one.proto), one.wire, one.weight)

    def _put(self, frame: bytes) -> None:
        self._queue.append(frame)
        self._queued += len(frame)

    def _lose(self, n: int) -> None:
        self._dropped += n
        if n:
            native.count_parent(self._counters, "dnstap_dropped", n)
        now = time.monotonic()
        if self._dropped and now >= self._due and self._sock is not None:  # that there is no connection was told
            dropped, self._dropped, self._due = self._dropped, 0, now + SAY
            log("dnstap_dropped", f"{self._path} did not take {dropped} messages in time", messages=dropped)

    def _pump(self) -> None:
        """Gives the kernel what it takes."""
        sock, sent = self._sock, 0
        try:
            while sock and self._queue:
                self._begun += sock.send(memoryview(self._queue[0])[self._begun :])
                if self._begun == len(self._queue[0]):
                    self._queued -= len(self._queue.popleft())
                    self._begun = 0
                    sent += 1
        except BlockingIOError:
            pass
        except OSError:  # who reads from it learns it, too: one place ends a connection
            assert sock is not None
            sock.shutdown(socket.SHUT_RDWR)
        if sent:
            native.count_parent(self._counters, "dnstap_sent", sent)
        if sock and bool(self._queue) != self._pumping:
            loop = asyncio.get_running_loop()
            self._pumping = bool(self._queue)
            loop.add_writer(sock, self._pump) if self._pumping else loop.remove_writer(sock)

    async def connect(self) -> float:
        """One connection's life; the seconds until the next."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.setblocking(False)
            why = "the receiver has closed the connection"
            try:
                await self._shake_hands(sock)
                self._sock, self._again, self._told = sock, AGAIN, False
                log("dnstap_up", f"{self._path}: the receiver takes messages")
                if await asyncio.get_running_loop().sock_recv(sock, 1):
                    why = "the receiver says what it must not say"
            except (OSError, Refused) as error:
                why = getattr(error, "strerror", None) or str(error) or "no handshake in time"
            except asyncio.CancelledError:
                await self._leave(sock)
                raise
            finally:
                self._forget(sock)
        if not self._told:
            self._told = True
            log("dnstap_down", f"{self._path}: {why}; it is tried again")
        wait, self._again = self._again, min(2 * self._again, AGAIN_MOST)
        return wait

    async def _shake_hands(self, sock: socket.socket) -> None:
        """OSError (TimeoutError is one), Refused."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(PATIENCE):
            await loop.sock_connect(sock, self._path)
            await loop.sock_sendall(sock, dnstap.control(dnstap.READY))
            kind, types = await _control(sock)
            if kind != dnstap.ACCEPT or dnstap.CONTENT_TYPE not in types:
                raise Refused("the receiver does not accept protobuf:dnstap.Dnstap")
            await loop.sock_sendall(sock, dnstap.control(dnstap.START))

    async def _leave(self, sock: socket.socket) -> None:
        """Says STOP and hears FINISH, if there is time."""
        if self._sock is None or self._queue:
            return
        try:
            async with asyncio.timeout(FAREWELL):
                await asyncio.get_running_loop().sock_sendall(sock, dnstap.control(dnstap.STOP))
                await _control(sock)
        except (OSError, Refused):
            return

    def _forget(self, sock: socket.socket) -> None:
        if self._pumping:
            asyncio.get_running_loop().remove_writer(sock)
        lost = len(self._queue)
        self._queue.clear()
        self._sock, self._queued, self._begun, self._pumping = None, 0, 0, False
        self._lose(lost)


async def _control(sock: socket.socket) -> tuple[int, list[bytes]]:
    """The next frame, which must be a control frame. OSError, Refused."""
    escape, size = await _octets(sock, 4), int.from_bytes(await _octets(sock, 4))
    if escape != bytes(4) or size > dnstap.CONTROL_MAX:
        raise Refused("the receiver says what is no control frame")
    try:
        return dnstap.parse_control(await _octets(sock, size))
    except ValueError as error:
        raise Refused(f"the receiver says {error}") from error


async def _octets(sock: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        more = await asyncio.get_running_loop().sock_recv(sock, count - len(found))
        if not more:
            raise Refused("the receiver has closed the connection")
        found += more
    return found
