"""One real question to each of some addresses, through the parent's poller: the proof before READY=1 and of a
canary."""

import os
import socket
from collections.abc import Callable, Iterable

from nodedns.config import Endpoint
from nodedns.supervisor.poller import Poller
from nodedns.supervisor.sockets import family_of

AGAIN = 0.5
"""Seconds between questions: a local answer takes less than a millisecond, and a starting node may be 100 times
slower."""

# RFC 1035 4.1: RD, one question, the root, type ANY, class IN. RFC 8482 lets us answer it with an HINFO of our own, so
# it goes through socket, parser and `allow`, and needs no upstream and no cache.
_QUESTION = b"\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\xff\x00\x01"


class Probe:
    """Asks every endpoint until each has answered. `deadline` is when to ask again, in seconds of the caller's
    clock."""

    def __init__(self, poller: Poller, endpoints: Iterable[Endpoint], now: float) -> None:
        self._poller = poller
        self._id = os.urandom(2)
        self.asked = 0
        self._waiting: dict[int, Endpoint] = {}
        try:
            for endpoint in endpoints:
                fd = _connected(endpoint)
                self._waiting[fd] = endpoint
                poller.watch(fd, self._reader(fd))
        except OSError:
            self.close()
            raise
        self.ask(now)

    @property
    def answered(self) -> bool:
        return not self._waiting

    @property
    def silent(self) -> str:
        """Who has not answered yet, for a message."""
        return ", ".join(map(str, self._waiting.values()))

    def ask(self, now: float) -> None:
        self.deadline = now + AGAIN
        self.asked += 1
        for fd in self._waiting:
            try:
                os.write(fd, self._id + _QUESTION)
            except OSError:
                continue  # nobody listens there yet (ECONNREFUSED of the last question), or no room: asked again

    def close(self) -> None:
        while self._waiting:
            self._poller.close(self._waiting.popitem()[0])

    def _reader(self, fd: int) -> Callable[[], None]:
        def read() -> None:
            try:
                reply = os.read(fd, 512)
            except OSError:
                return
            # Any answer will do, REFUSED too: `allow` may well not name this node.
            if reply[:2] == self._id and len(reply) >= 12 and reply[2] & 0x80 and fd in self._waiting:
                del self._waiting[fd]
                self._poller.close(fd)

        return read


def _connected(endpoint: Endpoint) -> int:
    """Connected: the kernel drops what comes from anyone else."""
    with socket.socket(family_of(endpoint), socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
        sock.connect((endpoint.address, endpoint.port))
        return sock.detach()
