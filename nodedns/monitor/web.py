"""HTTP/1.1, as much of it as a scraper needs: one GET or HEAD a connection, within bounds that a hostile one cannot
move.

Who connects and says nothing, or does not read what it has asked for, holds a place until somebody else needs it: then
the one that has held its own longest goes. So stalled connections, however many, keep nobody out.
"""

import asyncio
import re
import socket
import time
from collections.abc import Callable
from typing import NamedTuple

MAX_HEAD = 8192
"""Octets of a request: Prometheus sends 400."""
MAX_ASKING = 256
"""Connections whose request is not there yet, some kilobytes each."""
MAX_READING = 8
"""Connections that have not taken all of their page, up to two megabytes each."""
PATIENCE = 5.0
"""Seconds from accept to the last octet taken; Prometheus gives up after 10."""

_REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    431: "Request Header Fields Too Large",
    503: "Service Unavailable",
}
_REQUEST = re.compile(rb"([!-~]+) (/[!-~]*) HTTP/1\.[01]\r\n((?:[!#-'*+.^-z|~0-9A-Z-]+:[^\r\n\0]*\r\n)*)\r\n")


class Reply(NamedTuple):
    """What a page is."""

    status: int
    body: bytes
    kind: str = "text/plain; charset=utf-8"


Pages = dict[str, Callable[[str], Reply]]
"""By path; each gets the Accept header, "" for none."""


class Web:
    """Serves `pages` on a listening socket until close()."""

    def __init__(self, pages: Pages) -> None:
        self.pages = pages
        self._asking: dict[_Connection, None] = {}  # the oldest first
        self._reading: dict[_Connection, None] = {}
        self._server: asyncio.Server | None = None

    async def listen(self, fd: int) -> None:
        """Begins. The descriptor is this process's own."""
        sock = socket.socket(fileno=fd)
        self._server = await asyncio.get_running_loop().create_server(lambda: _Connection(self), sock=sock)

    def join(self, connection: "_Connection") -> None:
        """One more that may ask."""
        _enter(connection, self._asking, MAX_ASKING)

    def answered(self, connection: "_Connection") -> None:
        """It has only to read."""
        self._asking.pop(connection, None)
        _enter(connection, self._reading, MAX_READING)

    def left(self, connection: "_Connection") -> None:
        """It is gone."""
        self._asking.pop(connection, None)
        self._reading.pop(connection, None)

    async def close(self, patience: float) -> None:
        """Accepts no more; who is being answered has so many seconds left."""
        if self._server:
            self._server.close()
        ends = time.monotonic() + patience
        while self._reading and time.monotonic() < ends:  # noqa: ASYNC110 (a moment at the end of a life)
            await asyncio.sleep(0.01)

    def reply(self, head: bytes) -> tuple[Reply, bool]:
        """The answer to a request, and whether its body is left out (HEAD)."""
        found = _REQUEST.fullmatch(head)
        if not found:
            return Reply(400, b"expected GET or HEAD in HTTP/1.1\n"), False
        method, target, fields = found.groups()
        page = self.pages.get(target.partition(b"?")[0].decode("ascii"))
        if page is None:
            return Reply(404, f"known here: {' '.join(self.pages)}\n".encode()), method == b"HEAD"
        if method not in (b"GET", b"HEAD"):
            return Reply(405, b"expected GET or HEAD\n"), False
        accept = re.search(rb"^accept:([^\r\n]*)", fields, re.IGNORECASE | re.MULTILINE)
        return page(accept[1].decode("latin-1") if accept else ""), method == b"HEAD"


def _enter(connection: "_Connection", places: "dict[_Connection, None]", most: int) -> None:
    if len(places) >= most:
        next(iter(places)).drop()
    places[connection] = None


class _Connection(asyncio.Protocol):
    def __init__(self, web: Web) -> None:
        self._web, self._head = web, bytearray()
        self._transport: asyncio.Transport
        self._answered = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._web.join(self)
        self._limit = asyncio.get_running_loop().call_later(PATIENCE, self._late)

    def data_received(self, data: bytes) -> None:
        if self._answered:
            return
        self._head += data
        end = self._head.find(b"\r\n\r\n", 0, MAX_HEAD)
        if end >= 0:
            self._answer(*self._web.reply(bytes(self._head[: end + 4])))
        elif len(self._head) > MAX_HEAD:
            self._answer(Reply(431, f"expected at most {MAX_HEAD} octets\n".encode()))

    def _answer(self, reply: Reply, bare: bool = False) -> None:
        self._answered = True
        self._web.answered(self)
        allow = "Allow: GET, HEAD\r\n" if reply.status == 405 else ""
        head = (
            f"HTTP/1.1 {reply.status} {_REASONS[reply.status]}\r\nContent-Type: {reply.kind}\r\n"
            f"Content-Length: {len(reply.body)}\r\n{allow}Connection: close\r\n\r\n"
        )
        self._transport.write(head.encode())
        if not bare:
            self._transport.write(reply.body)
        self._transport.close()

    def _late(self) -> None:
        if not self._answered:
            self._answer(Reply(408, f"expected a request within {PATIENCE:g} s\n".encode()))
            self._limit = asyncio.get_running_loop().call_later(PATIENCE, self.drop)
        else:  # it does not read what it has asked for
            self.drop()

    def drop(self) -> None:
        """Ends it at once."""
        self._web.left(self)
        self._transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self._limit.cancel()
        self._web.left(self)
