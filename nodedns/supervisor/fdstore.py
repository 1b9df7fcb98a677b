"""systemd's store of descriptors (FileDescriptorStoreMax=, sd_notify(3) FDSTORE=1): the listening sockets outlive the
parent.

A stored socket stays bound and keeps queueing while nobody reads it, so what comes between a parent's death and the
next start is answered. The other side of it: a stored socket that no one adopts swallows its share of an SO_REUSEPORT
group. So every stored descriptor is adopted or removed before READY=1.
"""

import os
import socket
from collections.abc import MutableMapping

from nodedns.config import Endpoint
from nodedns.journal import log
from nodedns.supervisor import systemd

FIRST = 3
"""SD_LISTEN_FDS_START of sd_listen_fds(3)."""


def name_of(kind: socket.SocketKind, slot: int | str, endpoint: Endpoint) -> str:
    """The name a socket is stored under; `slot` is a worker's, or what else it is for. FDNAME= takes no colon
    (sd_notify(3))."""
    proto = "udp" if kind == socket.SOCK_DGRAM else "tcp"
    return f"{proto}-{slot}-{endpoint.address.replace(':', '_')}-{endpoint.port}"


class Store:
    """What the former parent left with systemd, by name, until it is adopted or removed."""

    def __init__(self, environ: MutableMapping[str, str] = os.environ, first: int = FIRST) -> None:
        self.held: dict[str, list[int]] = {}
        self.adopted = 0
        count, names = environ.pop("LISTEN_FDS", ""), environ.pop("LISTEN_FDNAMES", "").split(":")
        if environ.pop("LISTEN_PID", "") != str(os.getpid()) or not count.isdigit():
            return
        for at in range(int(count)):
            os.set_inheritable(first + at, False)
            self.held.setdefault(names[at] if at < len(names) else "", []).append(first + at)

    def adopt(self, kind: socket.SocketKind, slot: int | str, endpoint: Endpoint) -> int | None:
        """The stored socket of that slot and address, None when there is none that is what its name says."""
        name = name_of(kind, slot, endpoint)
        fds = self.held.pop(name, [])
        right = next((fd for fd in fds if _is(fd, kind, endpoint)), None)
        if fds != [right]:
            # A name is all that FDSTOREREMOVE= takes, so what is right goes with the rest, and is stored again.
            self._remove(name, [fd for fd in fds if fd != right])
            if right is not None:
                keep(right, kind, slot, endpoint)
        self.adopted += right is not None
        return right

    def has(self, endpoint: Endpoint) -> bool:
        """Is a socket of this address among them? Then it is we who hold the port."""
        suffix = name_of(socket.SOCK_DGRAM, 0, endpoint).removeprefix("udp-0")
        return any(fds and name.endswith(suffix) for name, fds in self.held.items())

    def remove_rest(self) -> None:
        """Closes what nobody adopted, here and with systemd."""
        for name, fds in self.held.items():
            self._remove(name, fds)
        self.held.clear()

    def _remove(self, name: str, fds: list[int]) -> None:
        for fd in fds:
            log("socket_removed", f"stored socket {name or fd} is of another config: removed")
            os.close(fd)
        if fds:
            systemd.notify("FDSTOREREMOVE=1", f"FDNAME={name}")


def keep(fd: int, kind: socket.SocketKind, slot: int | str, endpoint: Endpoint) -> None:
    """Hands a copy of the socket to systemd; without systemd, nothing."""
    if os.environ.get("NOTIFY_SOCKET"):
        # FDPOLL=0: a socket with an error pending is still ours; systemd would drop it from the store.
        systemd.notify("FDSTORE=1", f"FDNAME={name_of(kind, slot, endpoint)}", "FDPOLL=0", fds=(fd,))


def _is(fd: int, kind: socket.SocketKind, endpoint: Endpoint) -> bool:
    """A name is a promise; the socket itself is asked."""
    try:
        with socket.socket(fileno=os.dup(fd)) as sock:
            at = sock.getsockname()[:2]
            right = sock.type == kind and at == (endpoint.address, endpoint.port)
            right = right and bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT))
    except OSError as error:
        log("socket_refused", f"stored socket {fd}: {error.strerror}")
        return False
    return right
