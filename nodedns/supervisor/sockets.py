"""The listening sockets: opened once, held by the parent as plain descriptors for as long as the service lives.

Each worker slot has one UDP and one TCP socket a listen address, all of them in one SO_REUSEPORT group: the kernel
spreads clients over the slots by their address and port. The set never changes, so a packet that waits in the socket
of a dead worker is answered by the next one.

What knows of others that hold our ports is imported when there is one: the parent lives long and stays small.
"""

import errno
import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from nodedns.config import Endpoint
from nodedns.config_model import NODE_CACHE
from nodedns.journal import log
from nodedns.supervisor.errors import HostError
from nodedns.supervisor.fdstore import Store, keep

# Not all of these have names in the socket module of Python 3.11 (linux/in.h, linux/in6.h, asm-generic/socket.h).
IP_FREEBIND = 15
IPV6_FREEBIND = 78
SO_RCVBUFFORCE = 33
SO_DETACH_REUSEPORT_BPF = 68

RECEIVE_BUFFER = 32 * 2**20
"""Bytes: 40,000 small queries at the 768 bytes the kernel charges for each, two seconds of a node's peak."""

BACKLOG = 1024
"""TCP connections that may wait to be accepted while a worker is born anew, a tenth of a second at 10,000 a second."""

_KIND = {socket.SOCK_DGRAM: "UDP", socket.SOCK_STREAM: "TCP"}


class SlotSockets(NamedTuple):
    """One slot's descriptors, one a listen address, in the config's order."""

    udp: tuple[int, ...]
    tcp: tuple[int, ...]


def open_slots(listen: Sequence[Endpoint], slots: int, store: Store, beside: str = "none") -> list[SlotSockets]:
    """The sockets of `slots` worker slots: adopted from the store, else opened and stored. A process named `beside` may
    have some, too.

    HostError when an address is missing or taken; what was opened is closed then, what is stored stays so.
    """
    for endpoint in listen:
        if not store.has(endpoint):
            check_free(endpoint, "node.listen", beside=beside)
    opened: list[socket.socket] = []

    def held(kind: socket.SocketKind, slot: int, endpoint: Endpoint) -> int:
        fd = store.adopt(kind, slot, endpoint)
        if fd is None:
            opened.append(_first(endpoint, kind) if slot == 0 and beside != "none" else _listening(endpoint, kind))
            fd = opened[-1].fileno()
            keep(fd, kind, slot, endpoint)
        return fd

    try:
        fds = [held(kind, slot, endpoint) for slot in range(slots) for kind in _KIND for endpoint in listen]
    except BaseException:
        for sock in opened:
            sock.close()
        raise
    if opened:
        _report_buffer(opened[0])
    # Plain numbers: a socket object collected in a child would close whatever has its number there.
    for sock in opened:
        sock.detach()
    n = len(listen)
    return [SlotSockets(tuple(fds[i : i + n]), tuple(fds[i + n : i + 2 * n])) for i in range(0, len(fds), 2 * n)]


def open_metrics(endpoint: Endpoint, store: Store, beside: str = "none") -> int:
    """The socket of the monitor's HTTP, adopted or opened and stored. HostError when it is taken. An address that is on
    no interface yet will do: DNS must not wait for the one that DHCP will give.

    One for all its lives: while there is no monitor, a scrape waits. A node-cache `beside` us is scraped at the same
    port of all addresses; one that is named is ours alone.
    """
    fd = store.adopt(socket.SOCK_STREAM, "metrics", endpoint)
    if fd is None:
        _check(endpoint, socket.SOCK_STREAM, "metrics.listen", beside, absent=True)
        fd = _listening(endpoint, socket.SOCK_STREAM, "metrics.listen").detach()
        keep(fd, socket.SOCK_STREAM, "metrics", endpoint)
    return fd


def open_private() -> tuple[int, Endpoint]:
    """A UDP socket of our own on loopback and a port of the kernel's choice: the canary's. OSError as bind(2)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
        sock.bind(("127.0.0.1", 0))
        address, port = sock.getsockname()
        return sock.detach(), Endpoint(address, port)


def spread(fd: int) -> None:
    """Has the kernel choose the socket for a packet itself, in the group of `fd`: a program that a former life has
    given it goes. OSError from a kernel that cannot (before Linux 5.3)."""
    with socket.socket(fileno=os.dup(fd)) as sock, suppress(FileNotFoundError):
        sock.setsockopt(socket.SOL_SOCKET, SO_DETACH_REUSEPORT_BPF, 0)


def family_of(endpoint: Endpoint) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in endpoint.address else socket.AF_INET


def check_free(endpoint: Endpoint, what: str, beside: str = "none") -> None:
    """HostError when UDP or TCP of `endpoint`, which is `what` to a person, cannot be had, or only be shared with other
    processes than those named `beside`.

    Binds once without SO_REUSEPORT: with it, a second server of the same user would share our queries unnoticed.
    """
    for kind in _KIND:
        _check(endpoint, kind, what, beside)


def _check(endpoint: Endpoint, kind: socket.SocketKind, what: str, beside: str, absent: bool = False) -> None:
    try:
        _bind_alone(endpoint, kind, absent=absent)
    except OSError as error:
        from nodedns.supervisor.owner import is_of

        where = (family_of(endpoint), kind, endpoint.address, endpoint.port)
        if error.errno != errno.EADDRINUSE or not is_of(beside, *where):
            raise HostError(f"{what}: {_refusal(error, endpoint, kind)}") from error


def _bind_alone(endpoint: Endpoint, kind: socket.SocketKind, *, absent: bool = False) -> None:
    family = family_of(endpoint)
    with socket.socket(family, kind) as sock:
        if absent:
            _bind_absent(sock)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if kind == socket.SOCK_STREAM:  # a connection in TIME_WAIT is nobody's
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((endpoint.address, endpoint.port))


def _bind_absent(sock: socket.socket) -> None:
    """Lets an address be bound that is on no interface."""
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_FREEBIND, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)


def _refusal(error: OSError, endpoint: Endpoint, kind: socket.SocketKind) -> str:
    where = f"{_KIND[kind]} {endpoint}"
    if error.errno == errno.EADDRINUSE:
        from nodedns.supervisor.owner import is_of, named, owners, unit

        there = (family_of(endpoint), kind, endpoint.address, endpoint.port)
        if is_of(NODE_CACHE, *there):
            its = next(map(str, named(NODE_CACHE)), NODE_CACHE)
            return f'{where} is {its}\'s; to take over from it, set node.beside = "{NODE_CACHE}" (docs/migrate.md)'
        who = next(map(str, owners(*there)), None) or unit(*there)
        advice = f"stop {who}" if who else "find who has it (as root: ss -lnup, ss -lntp)"
        return f"{where} is taken by another process; {advice}, or choose another address"
    if error.errno == errno.EADDRNOTAVAIL:
        prefix = 128 if ":" in endpoint.address else 32
        add = f"ip link add nodelocaldns type dummy; ip address add {endpoint.address}/{prefix} dev nodelocaldns"
        return f"{where} is on no interface; add it ({add}), or choose another address"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"{where} is not permitted; ports below 1024 need root or CAP_NET_BIND_SERVICE"
    return f"{where}: {error.strerror}; choose another address"


def _first(endpoint: Endpoint, kind: socket.SocketKind) -> socket.socket:
    """Our first one where others may be: they get the queries for now."""
    from nodedns.supervisor.group import others, stand_back

    before = others(endpoint, kind)
    sock = _listening(endpoint, kind)
    if before:
        stand_back(endpoint, kind, sock.fileno(), before)
    return sock


def _listening(endpoint: Endpoint, kind: socket.SocketKind, what: str = "node.listen") -> socket.socket:
    family = family_of(endpoint)
    sock = socket.socket(family, kind | socket.SOCK_NONBLOCK)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        # An address may be gone for the moment its interface is rebuilt; the sockets are there when it returns.
        _bind_absent(sock)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if kind == socket.SOCK_STREAM:  # connections of a former life may still be in TIME_WAIT
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        else:
            _grow_buffer(sock)
        sock.bind((endpoint.address, endpoint.port))
        if kind == socket.SOCK_STREAM:
            sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise HostError(f"{what}: {_refusal(error, endpoint, kind)}") from error
    return sock


def _grow_buffer(sock: socket.socket) -> None:
    # The kernel doubles what it is given, for its own overhead (socket(7)): that is what the charge of 768 bytes
    # counts.
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER // 2)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER // 2)


def _report_buffer(sock: socket.socket) -> None:
    got = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    if got < RECEIVE_BUFFER:
        wanted = f"wanted {RECEIVE_BUFFER // 1024} KiB a UDP socket, got {got // 1024}"
        log(
            "buffer_small",
            f"{wanted}: fewer queries can wait while a worker is born anew; run as root or raise net.core.rmem_max",
        )
