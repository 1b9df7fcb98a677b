"""Who holds a port, from /proc: the one thing a person asks after "address already in use"."""

import contextlib
import os
import socket
from collections.abc import Iterator

_FILES = {
    (socket.AF_INET, socket.SOCK_DGRAM): "udp",
    (socket.AF_INET6, socket.SOCK_DGRAM): "udp6",
    (socket.AF_INET, socket.SOCK_STREAM): "tcp",
    (socket.AF_INET6, socket.SOCK_STREAM): "tcp6",
}
_CLOSE_STATES = {"06", "08"}  # TIME_WAIT and CLOSE_WAIT hold no listening port (include/net/tcp_states.h)


def owner(family: socket.AddressFamily, kind: socket.SocketKind, address: str, port: int) -> str | None:
    """ "pid 812 (dnsmasq)" for the socket on `address` or on any address, None when it cannot be found (or seen: not
    root)."""
    inodes = set(_inodes(family, kind, address, port))
    if family == socket.AF_INET:  # an IPv6 wildcard socket takes IPv4 as well
        inodes |= set(_inodes(socket.AF_INET6, kind, f"::ffff:{address}", port))
    for pid in filter(str.isdigit, os.listdir("/proc")) if inodes else ():
        # A process may end while it is looked at, and another user's is not ours to read.
        with contextlib.suppress(OSError):
            for fd in os.listdir(f"/proc/{pid}/fd"):
                if os.readlink(f"/proc/{pid}/fd/{fd}") in inodes:
                    with open(f"/proc/{pid}/comm", "rb") as file:
                        return f"pid {pid} ({file.read().decode(errors='replace').strip()})"
    return None


def _inodes(family: socket.AddressFamily, kind: socket.SocketKind, address: str, port: int) -> Iterator[str]:
    """ "socket:[INODE]" of each matching line of /proc/net (proc(5)): "sl local remote state ... uid timeout inode"."""
    wildcard = "0" * (8 if family == socket.AF_INET else 32)
    wanted = {f"{_hex(family, address)}:{port:04X}", f"{wildcard}:{port:04X}"}
    with contextlib.suppress(OSError), open(f"/proc/net/{_FILES[family, kind]}", encoding="ascii") as file:
        for line in file:
            words = line.split()
            if words[1] in wanted and words[3] not in _CLOSE_STATES:
                yield f"socket:[{words[9]}]"


def _hex(family: socket.AddressFamily, address: str) -> str:
    """The address as /proc/net writes it: each 32-bit word in the machine's own order."""
    packed = socket.inet_pton(family, address)
    words = memoryview(packed).cast("I")
    return "".join(f"{word:08X}" for word in words)
