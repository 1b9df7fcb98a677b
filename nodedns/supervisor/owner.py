"""Who holds a port: the one thing a person asks after "address already in use".

/proc says which process, to a root that may look into others. Our unit's may not (that takes CAP_SYS_PTRACE); to it the
kernel still says in which cgroup a socket was made, which is the name of a unit or a container (sock_diag(7)).
"""

import contextlib
import os
import socket
import struct
import sys
from collections.abc import Iterator
from typing import NamedTuple

from nodedns.core.spelling import printable

_FILES = {
    (socket.AF_INET, socket.SOCK_DGRAM): "udp",
    (socket.AF_INET6, socket.SOCK_DGRAM): "udp6",
    (socket.AF_INET, socket.SOCK_STREAM): "tcp",
    (socket.AF_INET6, socket.SOCK_STREAM): "tcp6",
}
# include/net/tcp_states.h: LISTEN; UDP is CLOSE, or ESTABLISHED when it is connected, and then takes its peer's alone
_BOUND = {socket.SOCK_DGRAM: {"01", "07"}, socket.SOCK_STREAM: {"0A"}}
_CONNECTED = "01"

_CGROUPS = ("/sys/fs/cgroup", "/sys/fs/cgroup/unified")  # alone, or beside version 1 (cgroups(7))
# linux/netlink.h, linux/sock_diag.h, linux/inet_diag.h: struct nlmsghdr, and the front of struct inet_diag_req_v2; a
# dump of sockets that listen, UDP's being "closed" (include/net/tcp_states.h).
_HEADER, _REQUEST = struct.Struct("=IHHII"), struct.Struct("=BBBBI48x")
_SOCK_DIAG_BY_FAMILY, _REQUEST_DUMP = 20, 0x301
_NETLINK_SOCK_DIAG, _DIAG_CGROUP_ID = 4, 21
_LISTENING = 1 << 7 | 1 << 10
_PROTOCOLS = {socket.SOCK_DGRAM: socket.IPPROTO_UDP, socket.SOCK_STREAM: socket.IPPROTO_TCP}


class Owner(NamedTuple):
    """A process; prints as "pid 812 (dnsmasq)". Anybody's may have any name: `name` is printable."""

    pid: int
    name: str

    def __str__(self) -> str:
        return f"pid {self.pid} ({self.name})"


def owners(family: socket.AddressFamily, kind: socket.SocketKind, address: str, port: int) -> Iterator[Owner]:
    """Who has a socket on `address` or on any address; nobody when it cannot be seen (not root)."""
    return _held(_taking(family, kind, address, port))


def named(name: str) -> Iterator[Owner]:
    """The processes of that name, without those that are seen to be in another network namespace."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/comm", "rb") as file:
            if file.read().strip() == name.encode() and _in_our_network(pid):
                yield Owner(int(pid), name)


def _in_our_network(pid: str) -> bool:
    try:
        return os.readlink(f"/proc/{pid}/ns/net") == os.readlink("/proc/self/ns/net")
    except PermissionError:
        return True  # as far as can be seen


def is_of(name: str, family: socket.AddressFamily, kind: socket.SocketKind, address: str, port: int) -> bool:
    """Are the sockets there those of a process of that name, as far as can be seen? To our unit, which sees no other
    process's, it is enough that one of that name runs, in the cgroup that the kernel names where it does."""
    seen = {owner.name for owner in owners(family, kind, address, port)}
    if seen:
        return seen == {name}
    where = unit(family, kind, address, port)
    return any(where is None or where in _cgroups_of(owner.pid) for owner in named(name))


def _cgroups_of(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/cgroup", encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""  # it has ended


def sockets_at(family: socket.AddressFamily, kind: socket.SocketKind, address: str, port: int) -> list[int]:
    """Inodes of the sockets on this very address that take queries, in the kernel's order."""
    exact = f"{_hex(family, address)}:{port:04X}"
    return [inode for local, state, inode in _lines(family, kind) if local == exact and state != _CONNECTED]


def _taking(family: socket.AddressFamily, kind: socket.SocketKind, address: str, port: int) -> set[int]:
    """Inodes of the sockets that a bind to this address meets."""
    inodes = _inodes(family, kind, address, port)
    if family == socket.AF_INET:  # an IPv6 wildcard socket takes IPv4 as well
        inodes |= _inodes(socket.AF_INET6, kind, f"::ffff:{address}", port)
    return inodes


def _held(inodes: set[int]) -> Iterator[Owner]:
    """Each process that has one of them."""
    links = {f"socket:[{inode}]" for inode in inodes}
    for pid in filter(str.isdigit, os.listdir("/proc")) if inodes else ():
        # A process may end while it is looked at, and another user's is not ours to read.
        with contextlib.suppress(OSError):
            if any(_target(f"/proc/{pid}/fd/{fd}") in links for fd in os.listdir(f"/proc/{pid}/fd")):
                with open(f"/proc/{pid}/comm", "rb") as file:
                    yield Owner(int(pid), printable(file.read().strip()))


def _target(link: str) -> str:
    try:
        return os.readlink(link)
    except FileNotFoundError:
        return ""  # closed meanwhile, such as our own look into our own directory


def _inodes(family: socket.AddressFamily, kind: socket.SocketKind, address: str, port: int) -> set[int]:
    wildcard = "0" * (8 if family == socket.AF_INET else 32)
    wanted = {f"{_hex(family, address)}:{port:04X}", f"{wildcard}:{port:04X}"}
    return {inode for local, _state, inode in _lines(family, kind) if local in wanted}


def _lines(family: socket.AddressFamily, kind: socket.SocketKind) -> Iterator[tuple[str, str, int]]:
    """Local address, state and inode of each socket that holds its port, from "sl local remote state ... uid timeout
    inode" (proc(5), /proc/net/tcp)."""
    with contextlib.suppress(OSError), open(f"/proc/net/{_FILES[family, kind]}", encoding="ascii") as file:
        for line in file:
            words = line.split()
            if words[3] in _BOUND[kind]:
                yield words[1], words[3], int(words[9])


def _hex(family: socket.AddressFamily, address: str) -> str:
    """The address as /proc/net writes it: each 32-bit word in the machine's own order."""
    packed = socket.inet_pton(family, address)
    words = memoryview(packed).cast("I")
    return "".join(f"{word:08X}" for word in words)


def unit(family: socket.AddressFamily, kind: socket.SocketKind, address: str, port: int) -> str | None:
    """The unit or container with a socket on `address` or on any address; None where the kernel does not say."""
    with contextlib.suppress(OSError):
        wanted = {family: {socket.inet_pton(family, address), bytes(4 if family == socket.AF_INET else 16)}}
        wanted.setdefault(socket.AF_INET6, {bytes(16)})  # an IPv6 wildcard socket takes IPv4 as well
        for version, addresses in wanted.items():
            for local, at, cgroup in _diagnosed(version, _PROTOCOLS[kind]):
                if at == port and local in addresses and (name := _cgroup(cgroup)):
                    return name
    return None


def _diagnosed(family: socket.AddressFamily, protocol: int) -> Iterator[tuple[bytes, int, int]]:
    """Address, port and cgroup of each socket that listens."""
    length = 4 if family == socket.AF_INET else 16
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG) as sock:
        request = _REQUEST.pack(family, protocol, 0, 0, _LISTENING)
        sock.send(_HEADER.pack(_HEADER.size + len(request), _SOCK_DIAG_BY_FAMILY, _REQUEST_DUMP, 1, 0) + request)
        while True:
            rest = memoryview(sock.recv(1 << 16))
            while rest:
                size, kind, *_ = _HEADER.unpack_from(rest)
                if kind != _SOCK_DIAG_BY_FAMILY:  # the end of the dump, or an error
                    return
                # struct inet_diag_msg: 4 octets, port, port of the peer, address, ...; 72 octets, then attributes.
                message, rest = bytes(rest[_HEADER.size : size]), rest[size + 3 & ~3 :]
                yield message[8 : 8 + length], int.from_bytes(message[4:6]), _attribute(message[72:], _DIAG_CGROUP_ID)


def _attribute(attributes: bytes, wanted: int) -> int:
    """A number among them, 0 when it is not there (rtnetlink(7))."""
    while len(attributes) >= 4:
        size, kind = struct.unpack_from("=HH", attributes)
        if kind == wanted:
            return int.from_bytes(attributes[4:size], sys.byteorder)
        attributes = attributes[max(size, 4) + 3 & ~3 :]
    return 0


def _cgroup(number: int) -> str | None:
    """A cgroup's number is its directory's inode. Its name is that of the innermost unit in its path."""
    for top in _CGROUPS:
        if os.path.exists(f"{top}/cgroup.controllers"):
            for path, _, _ in os.walk(top):
                if os.stat(path).st_ino == number:
                    parts = [part for part in path.split("/") if part.endswith((".service", ".scope"))]
                    return parts[-1] if parts else None
    return None
