"""Who holds a port, from /proc: the one thing a person asks after "address already in use"."""

import contextlib
import os
import socket
from collections.abc import Iterator
from typing import NamedTuple

_FILES = {
    (socket.AF_INET, socket.SOCK_DGRAM): "udp",
    (socket.AF_INET6, socket.SOCK_DGRAM): "udp6",
    (socket.AF_INET, socket.SOCK_STREAM): "tcp",
    (socket.AF_INET6, socket.SOCK_STREAM): "tcp6",
}
_CLOSE_STATES = {"06", "08"}  # TIME_WAIT and CLOSE_WAIT hold no listening port (include/net/tcp_states.h)


class Owner(NamedTuple):
    """A process; prints as "pid 812 (dnsmasq)"."""

    pid: int
    name: str

    def __str__(self) -> str:
        return f"pid {self.pid} ({self.name})"


def owners(family: socket.AddressFamily, kind: socket.SocketKind, address: str, port: int) -> Iterator[Owner]:
    """Who has a socket on `address` or on any address; nobody when it cannot be seen (not root)."""
    inodes = set(_inodes(family, kind, address, port))
    if family == socket.AF_INET:  # an IPv6 wildcard socket takes IPv4 as well
        inodes |= set(_inodes(socket.AF_INET6, kind, f"::ffff:{address}", port))
    for pid in filter(str.isdigit, os.listdir("/proc")) if inodes else ():
        # A process may end while it is looked at, and another user's is not ours to read.
        with contextlib.suppress(OSError):
            if any(_target(f"/proc/{pid}/fd/{fd}") in inodes for fd in os.listdir(f"/proc/{pid}/fd")):
                with open(f"/proc/{pid}/comm", "rb") as file:
                    yield Owner(int(pid), file.read().decode(errors="replace").strip())


def _target(link: str) -> str:
    try:
        return os.readlink(link)
    except FileNotFoundError:
        return ""  # closed meanwhile, such as our own look into our own directory


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
