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
_CONNECTED = 1
_BOUND = {socket.SOCK_DGRAM: {7, _CONNECTED}, socket.SOCK_STREAM: {10}}

_CGROUPS = ("/sys/fs/cgroup", "/sys/fs/cgroup/unified")  # alone, or beside version 1 (cgroups(7))
# linux/netlink.h, linux/sock_diag.h, linux/inet_diag.h: struct nlmsghdr, and the front of struct inet_diag_req_v2 with
# the port; struct inet_diag_msg: state, address, inode.
_HEADER, _REQUEST, _MESSAGE = struct.Struct("=IHHII"), struct.Struct("=BBBBI2s46x"), struct.Struct("=xB2x4x16s44xI")
_SOCK_DIAG_BY_FAMILY, _REQUEST_DUMP = 20, 0x301
_NETLINK_SOCK_DIAG, _DIAG_CGROUP_ID = 4, 21
_PROTOCOLS = {socket.SOCK_DGRAM: socket.IPPROTO_UDP, socket.SOCK_STREAM: socket.IPPROTO_TCP}


class _Socket(NamedTuple):
    """One that holds a port. `cgroup` is 0 where the kernel does not say."""

    address: bytes
    state: int
    inode: int
    cgroup: int


class Owner(NamedTuple):
    """A process; prints as "pid 812 (dnsmasq)". Anybody's may have any name: `name` is printable."""

    pid: int
    name: str

    def __str__(self) -> str:
        return f"pid {self.pid} ({self.name})"


def owners(family: socket.AddressFamily, kind: socket.SocketKind, address: str, port: int) -> Iterator[Owner]:
    """Who has a socket on `address` or on any address; nobody when it cannot be seen (not root)."""
    return _held({one.inode for one in _taking(family, kind, address, port)})


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
    exact = socket.inet_pton(family, address)
    found = _sockets(family, kind, port)
    return [one.inode for one in found if one.address == exact and one.state != _CONNECTED]


def _taking(family: socket.AddressFamily, kind: socket.SocketKind, address: str, port: int) -> Iterator[_Socket]:
    """The sockets that a bind to this address meets."""
    wanted = {family: {socket.inet_pton(family, address), bytes(4 if family == socket.AF_INET else 16)}}
    if family == socket.AF_INET:  # an IPv6 wildcard socket takes IPv4 as well
        wanted[socket.AF_INET6] = {bytes(16), socket.inet_pton(socket.AF_INET6, f"::ffff:{address}")}
    for version, addresses in wanted.items():
        yield from (one for one in _sockets(version, kind, port) if one.address in addresses)


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


def unit(family: socket.AddressFamily, kind: socket.SocketKind, address: str, port: int) -> str | None:
    """The unit or container with a socket on `address` or on any address; None where the kernel does not say."""
    for one in _taking(family, kind, address, port):
        if one.cgroup and (name := _cgroup(one.cgroup)):
            return name
    return None


def _sockets(family: socket.AddressFamily, kind: socket.SocketKind, port: int) -> list[_Socket]:
    """Those that hold `port`, in the kernel's order. /proc/net is the fallback of a kernel without udp_diag: it is
    given out in pieces, and where other sockets come and go meanwhile, one may be missing or be told of twice."""
    try:
        return list(_diagnosed(family, kind, port))
    except OSError:
        return list(_listed(family, kind, port))


def _diagnosed(family: socket.AddressFamily, kind: socket.SocketKind, port: int) -> Iterator[_Socket]:
    """By sock_diag(7). OSError where the kernel cannot."""
    states = sum(1 << state for state in _BOUND[kind])
    request = _REQUEST.pack(family, _PROTOCOLS[kind], 0, 0, states, port.to_bytes(2))
    length = 4 if family == socket.AF_INET else 16
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG) as sock:
        sock.send(_HEADER.pack(_HEADER.size + len(request), _SOCK_DIAG_BY_FAMILY, _REQUEST_DUMP, 1, 0) + request)
        while True:
            rest = memoryview(sock.recv(1 << 16))
            while rest:
                size, what, *_ = _HEADER.unpack_from(rest)
                message, rest = bytes(rest[_HEADER.size : size]), rest[size + 3 & ~3 :]
                if what != _SOCK_DIAG_BY_FAMILY:  # the end, or an error: both begin with a number of errno.h, negative
                    code = int.from_bytes(message[:4], sys.byteorder, signed=True)
                    if code < 0:
                        raise OSError(-code, "sock_diag")
                    return
                state, address, inode = _MESSAGE.unpack_from(message)
                cgroup = _attribute(message[_MESSAGE.size :], _DIAG_CGROUP_ID)
                yield _Socket(address[:length], state, inode, cgroup)


def _listed(family: socket.AddressFamily, kind: socket.SocketKind, port: int) -> Iterator[_Socket]:
    """By "sl local remote state ... uid timeout inode" (proc(5), /proc/net/tcp): an address is written as its 32-bit
    words in the machine's own order."""
    with contextlib.suppress(OSError), open(f"/proc/net/{_FILES[family, kind]}", encoding="ascii") as file:
        for words in map(str.split, file):
            local, _, at = words[1].partition(":")
            if at == f"{port:04X}" and int(words[3], 16) in _BOUND[kind]:
                numbers = [int(local[n : n + 8], 16) for n in range(0, len(local), 8)]
                yield _Socket(struct.pack(f"={len(numbers)}I", *numbers), int(words[3], 16), int(words[9]), 0)


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
