"""One SO_REUSEPORT group: who is in it, and the program that says whose socket gets a packet (core/reuseport.py)."""

import os
import socket
import struct
from array import array
from collections.abc import Sequence
from typing import NamedTuple

from nodedns.config import Endpoint
from nodedns.core.reuseport import program
from nodedns.journal import log
from nodedns.supervisor.owner import sockets_at
from nodedns.supervisor.sockets import spread

_ATTACH = 51  # asm-generic/socket.h: Python knows no name for it


class Group(NamedTuple):
    """The sockets of one address and kind; `fds` are ours."""

    at: Endpoint
    kind: socket.SocketKind
    fds: Sequence[int]

    def row(self) -> list[bool]:
        """As they were bound, oldest first; True for ours. The kernel lists the youngest first, and for IPv6 the oldest
        (sk_add_node_rcu() in net/sock.h, __inet_hash() in inet_hashtables.c)."""
        ours = {os.fstat(fd).st_ino for fd in self.fds}
        family = socket.AF_INET6 if ":" in self.at.address else socket.AF_INET
        row = [inode in ours for inode in sockets_at(family, self.kind, self.at.address, self.at.port)]
        return row if family == socket.AF_INET6 else row[::-1]

    def wanted(self, row: Sequence[bool], taking: bool) -> bytes | None:
        """The program for such a row; None for none."""
        return program(row, 6 if ":" in self.at.address else 4, taking)

    def attach(self, code: bytes | None) -> None:
        """Gives the group this program, or takes away what it has."""
        try:
            if code is None:
                spread(self.fds[0])
            else:
                held = array("B", code)  # struct sock_fprog has its address
                fprog = struct.pack("HP", len(code) // 8, held.buffer_info()[0])
                with socket.socket(fileno=os.dup(self.fds[0])) as sock:
                    sock.setsockopt(socket.SOL_SOCKET, _ATTACH, fprog)
        except OSError as error:
            log("neighbour_error", f"node.beside: the kernel spreads queries as it likes: {error.strerror}")


def others(at: Endpoint, kind: socket.SocketKind) -> int:
    """How many are in it, before we are."""
    return len(Group(at, kind, ()).row())


def stand_back(at: Endpoint, kind: socket.SocketKind, fd: int, before: int) -> None:
    """Our first one has this moment been bound, after `before` others: they get the queries until there is more to say.
    What came in between is answered by us, if we come up."""
    group = Group(at, kind, (fd,))
    group.attach(group.wanted([False] * before + [True], taking=False))
