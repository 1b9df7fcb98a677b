"""One real question to each of some addresses, through the parent's poller: the proof before READY=1 and of a
canary."""

import contextlib
import os
import socket
from collections.abc import Callable, Iterable

from nodedns.config import Endpoint
from nodedns.supervisor.poller import Poller
from nodedns.supervisor.sockets import family_of

AGAIN = 0.5
"""Seconds between questions: a local answer takes less than a millisecond, and a starting node may be 100 times
slower."""

# RFC 1035 4.1: RD, one question, nodedns.invalid., type A, class IN. We answer it ourselves (RFC 6761 6.4), over UDP
# and TCP; it goes through socket, parser and `allow`, and needs no upstream and no cache. No row of the counters has it
# (native/question.c).
_QUESTION = b"\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x07nodedns\x07invalid\x00\x00\x01\x00\x01"


_KINDS = {socket.SOCK_DGRAM: "UDP", socket.SOCK_STREAM: "TCP"}


class Probe:
    """Asks every endpoint over UDP and TCP until each has answered both. `deadline` is when to ask again, in seconds of
    the caller's clock."""

    def __init__(
        self, poller: Poller, endpoints: Iterable[Endpoint], now: float, kinds: Iterable[socket.SocketKind] = _KINDS
    ) -> None:
        self._poller = poller
        self._id = os.urandom(2)
        self.asked = 0
        kinds = tuple(kinds)
        self._waiting: dict[tuple[Endpoint, socket.SocketKind], int | None] = {
            (endpoint, kind): None for endpoint in endpoints for kind in kinds
        }
        try:
            self.ask(now)
        except OSError:
            self.close()
            raise

    @property
    def answered(self) -> bool:
        return not self._waiting

    @property
    def silent(self) -> str:
        """Who has not answered yet, for a message."""
        return ", ".join(f"{endpoint} over {_KINDS[kind]}" for endpoint, kind in self._waiting)

    def ask(self, now: float) -> None:
        """Asks, or asks again, who has not answered. OSError when there is no socket to be had."""
        self.deadline = now + AGAIN
        self.asked += 1
        for who in self._waiting:
            self._ask(who)

    def _ask(self, who: tuple[Endpoint, socket.SocketKind]) -> None:
        endpoint, kind = who
        fd = self._waiting[who]
        if fd is not None and kind == socket.SOCK_STREAM:
            self._poller.close(fd)  # a stream that was refused, or on which nothing comes, will not become better
            fd = self._waiting[who] = None
        if fd is None:
            fd = _connected(endpoint, kind)
            if fd is None:
                return
            self._waiting[who] = fd
            self._poller.watch(fd, self._reader(who, fd))
        length = len(self._id + _QUESTION).to_bytes(2) if kind == socket.SOCK_STREAM else b""
        # Nobody listens there yet (ECONNREFUSED of the last question, or ENOTCONN), or no room: asked again.
        with contextlib.suppress(OSError):
            os.write(fd, length + self._id + _QUESTION)

    def close(self) -> None:
        while self._waiting:
            fd = self._waiting.popitem()[1]
            if fd is not None:
                self._poller.close(fd)

    def _reader(self, who: tuple[Endpoint, socket.SocketKind], fd: int) -> Callable[[], None]:
        def read() -> None:
            try:
                reply = os.read(fd, 512)
            except BlockingIOError:
                return
            except OSError:
                reply = b""
            if who[1] == socket.SOCK_STREAM:
                if not reply:  # refused, or closed: asked again in time, and until then there is nothing to hear
                    self._poller.unwatch(fd)
                reply = reply[2:]
            # Any answer will do, REFUSED too: `allow` may well not name this node.
            if reply[:2] == self._id and len(reply) >= 12 and reply[2] & 0x80 and self._waiting.get(who) == fd:
                del self._waiting[who]
                self._poller.close(fd)

        return read


def _connected(endpoint: Endpoint, kind: socket.SocketKind) -> int | None:
    """Connected: the kernel drops what comes from anyone else. From loopback: our rules send that to nobody else. None
    when there is no way there now: without our link and a default route, until the link is put right.

    A stream to ourselves is established, or refused, before connect(2) returns; one that is not yet is asked again.
    """
    with socket.socket(family_of(endpoint), kind | socket.SOCK_NONBLOCK) as sock:
        sock.bind(("::1" if ":" in endpoint.address else "127.0.0.1", 0))
        try:
            sock.connect((endpoint.address, endpoint.port))
        except (BlockingIOError, ConnectionRefusedError):
            pass
        except OSError:
            return None
        return sock.detach()
