"""A port nobody else takes, and room for what comes to it."""

import os
import socket

# Below the kernel's range for clients (ip_local_port_range begins at 32768): a connection of another test, or one in
# TIME_WAIT, cannot come to hold a port of it.
LOW, COUNT = 20_000, 12_000
_given: set[int] = set()  # each once: who was given one need not have bound it yet


def free_port() -> int:
    """A loopback port that is free for UDP and TCP just now."""
    while True:
        port = LOW + int.from_bytes(os.urandom(4)) % COUNT
        if port in _given:
            continue
        with socket.socket(type=socket.SOCK_DGRAM) as udp, socket.socket() as tcp:
            try:
                udp.bind(("127.0.0.1", port))
                tcp.bind(("127.0.0.1", port))
            except OSError:
                continue
            _given.add(port)
            return port


def with_room(sock: socket.socket) -> socket.socket:
    """The same, with room for thousands of datagrams.

    What the kernel gives by default is full with 277 small ones: as many may come within one turn of the scheduler on
    a busy machine, and the next is lost by the test instead of by what it tests.
    """
    try:
        sock.setsockopt(socket.SOL_SOCKET, 33, 1 << 24)  # SO_RCVBUFFORCE
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 24)
    return sock
