"""A port nobody else takes."""

import os
import socket

# Below the kernel's range for clients (ip_local_port_range begins at 32768): a connection of another test, or one in
# TIME_WAIT, cannot come to hold a port of it.
LOW, COUNT = 20_000, 12_000


def free_port() -> int:
    """A loopback port that is free for UDP and TCP just now."""
    while True:
        port = LOW + int.from_bytes(os.urandom(4)) % COUNT
        with socket.socket(type=socket.SOCK_DGRAM) as udp, socket.socket() as tcp:
            try:
                udp.bind(("127.0.0.1", port))
                tcp.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
