"""sd_notify(3) without its library: each state is one datagram."""

import os
import socket
import time

from nodedns.supervisor.log import WARNING, log

READY = "READY=1"
STOPPING = "STOPPING=1"

PATIENCE = 1.0
"""Seconds to wait for room in systemd's queue. A lost READY=1 would end the start, a longer wait would hold up the
parent's loop."""


def reloading() -> str:
    """The state for a reload's begin: systemd tells an old READY=1 from a new one by the time (sd_notify(3),
    Type=notify-reload)."""
    return f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}"


def notify(*states: str) -> bool:
    """Sends the states in one datagram to $NOTIFY_SOCKET. False when there is none or it does not take it (logged)."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            sock.settimeout(PATIENCE)
            sock.sendto("\n".join(states).encode(), f"\0{address[1:]}" if address[0] == "@" else address)
    except OSError as error:
        log(WARNING, f"systemd did not take {states[0]!r} at {address}: {error.strerror or error}")
        return False
    return True
