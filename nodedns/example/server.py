"""The example cluster on a socket: UDP and TCP on one address, one process, one wait.

It is an upstream for a first look and for tests, not a server to rely on: nothing here is tuned for speed.
By hand: `python -m nodedns.example.server --port 5300`.
"""

import argparse
import contextlib
import os
import selectors
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator

from nodedns.example.cluster import answer

MAX_CONNECTIONS = 256
"""Far above the few connections a forwarder keeps, far below the usual limit of 1024 descriptors."""

IDLE_SECONDS = 30.0
"""Longer than forwarders keep a connection they do not use (CoreDNS's `expire` is 10 s): the client closes first."""

UDP_BURST = 64
"""Datagrams per wake-up: TCP clients get their turn in between, however fast UDP comes."""

OUTPUT_LIMIT = 256 * 1024
"""Bytes of replies made in one turn, four of the largest: a client that does not read is not read from."""


class _Connection:
    """One TCP client: what it sent and is not a whole query yet, and what it has not taken yet (RFC 7766)."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.received = bytearray()
        self.waiting = bytearray()
        self.active_at = time.monotonic()

    def turn(self, readable: bool) -> bool:
        """Read, answer and write what is possible without waiting; False when the client is gone."""
        try:
            if readable and not self._read():
                return False
            self._answer()
            self._write()
        except BlockingIOError:
            return True
        except OSError:
            return False
        return True

    def _read(self) -> bool:
        data = self.sock.recv(65536)
        self.received += data
        return bool(data)

    def _answer(self) -> None:
        while self._has_query() and len(self.waiting) < OUTPUT_LIMIT:
            end = 2 + int.from_bytes(self.received[:2])
            reply = answer(bytes(self.received[2:end]), "tcp")
            del self.received[:end]
            self.active_at = time.monotonic()
            if reply is not None:
                self.waiting += struct.pack("!H", len(reply)) + reply

    def _write(self) -> None:
        while self.waiting:
            del self.waiting[: self.sock.send(self.waiting)]
            self.active_at = time.monotonic()

    def _has_query(self) -> bool:
        return len(self.received) >= 2 and len(self.received) >= 2 + int.from_bytes(self.received[:2])

    def events(self) -> int:
        """What to wait for: no reading while there is work in hand, so a client makes us hold one turn at most."""
        return selectors.EVENT_WRITE if self.waiting or self._has_query() else selectors.EVENT_READ


class _Server:
    def __init__(self, udp: socket.socket, tcp: socket.socket, life_fd: int) -> None:
        self.udp = udp
        self.tcp = tcp
        self.life_fd = life_fd
        self.connections: set[_Connection] = set()
        self.selector = selectors.DefaultSelector()
        for fileobj, turn in ((udp, self._udp_turn), (tcp, self._accept)):
            self.selector.register(fileobj, selectors.EVENT_READ, turn)
        self.selector.register(life_fd, selectors.EVENT_READ)

    def run(self) -> None:
        while True:
            for ready, events in self.selector.select(self._next_idle()):
                if ready.fd == self.life_fd:
                    if not os.read(self.life_fd, 64):
                        return
                elif isinstance(ready.data, _Connection):
                    self._connection_turn(ready.data, bool(events & selectors.EVENT_READ))
                else:
                    ready.data()
            self._close_idle()

    def close(self) -> None:
        for connection in tuple(self.connections):
            self._drop(connection)
        self.selector.close()

    def _udp_turn(self) -> None:
        # An OSError here is an empty queue or one client's own fault: the server goes on either way.
        with contextlib.suppress(OSError):
            for _ in range(UDP_BURST):
                query, client = self.udp.recvfrom(65535)
                reply = answer(query, "udp")
                if reply is not None:
                    self.udp.sendto(reply, client)

    def _accept(self) -> None:
        try:
            sock, _ = self.tcp.accept()
        except OSError:
            return
        if len(self.connections) >= MAX_CONNECTIONS:
            sock.close()
            return
        sock.setblocking(False)
        connection = _Connection(sock)
        self.connections.add(connection)
        self.selector.register(sock, selectors.EVENT_READ, connection)

    def _connection_turn(self, connection: _Connection, readable: bool) -> None:
        if connection.turn(readable):
            self.selector.modify(connection.sock, connection.events(), connection)
        else:
            self._drop(connection)

    def _next_idle(self) -> float | None:
        if not self.connections:
            return None
        oldest = min(connection.active_at for connection in self.connections)
        return max(0.0, oldest + IDLE_SECONDS - time.monotonic())

    def _close_idle(self) -> None:
        limit = time.monotonic() - IDLE_SECONDS
        for connection in tuple(self.connections):
            if connection.active_at <= limit:
                self._drop(connection)

    def _drop(self, connection: _Connection) -> None:
        self.connections.discard(connection)
        self.selector.unregister(connection.sock)
        connection.sock.close()


@contextlib.contextmanager
def listening(address: str, port: int) -> Iterator[tuple[socket.socket, socket.socket]]:
    """A UDP and a TCP socket on the same `address` and `port`, not blocking; port 0 is the kernel's choice.

    OSError when the address is not this machine's or the port is taken.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as udp, socket.socket(family, socket.SOCK_STREAM) as tcp:
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        tcp.bind((address, port))
        udp.bind((address, tcp.getsockname()[1]))
        tcp.listen(MAX_CONNECTIONS)
        udp.setblocking(False)
        tcp.setblocking(False)
        yield udp, tcp


def serve(address: str, port: int, ready: Callable[[], None], life_fd: int) -> None:
    """Answer on `address` and `port` until `life_fd` (a pipe whose other end the parent holds) is at its end.

    `ready` is called once, after both sockets listen. OSError when they cannot be opened.
    """
    with listening(address, port) as (udp, tcp):
        ready()
        _run(udp, tcp, life_fd)


def _run(udp: socket.socket, tcp: socket.socket, life_fd: int) -> None:
    with contextlib.closing(_Server(udp, tcp, life_fd)) as server:
        server.run()


def main(argv: list[str] | None = None) -> int:
    """Serve by hand until Ctrl-C, or until --life-fd is at its end. Exit codes: 0 left as asked, 1 no socket."""
    parser = argparse.ArgumentParser(prog="python -m nodedns.example.server", description="serve the example cluster")
    parser.add_argument("--address", default="127.0.0.1", help="an IP address of this machine")
    parser.add_argument("--port", type=int, default=5300, help="UDP and TCP port; 0 takes a free one")
    parser.add_argument("--life-fd", type=int, help="leave when this inherited descriptor, a pipe, is at its end")
    given = parser.parse_args(argv)
    life_fd, held = (given.life_fd, None) if given.life_fd is not None else os.pipe()
    try:
        with listening(given.address, given.port) as (udp, tcp):
            print(f"answering on {given.address} port {udp.getsockname()[1]}, UDP and TCP", flush=True)
            _run(udp, tcp, life_fd)
    except KeyboardInterrupt:
        return 0
    except OSError as error:
        print(f"cannot listen on {given.address} port {given.port}: {error.strerror}", file=sys.stderr)
        return 1
    finally:
        if held is not None:
            os.close(held)
    return 0


if __name__ == "__main__":
    sys.exit(main())
