"""A node-cache beside us: its sockets have our addresses and ports, too, until it ends (`node.beside`).

While both live, all queries go to one of the two: to node-cache until we have answered on every address, and again from
the moment in which we are told to stop; to us in between. So whoever ends has none waiting in its sockets.
"""

import os
import socket
from collections.abc import Sequence
from contextlib import suppress

from nodedns.config import Endpoint
from nodedns.journal import log
from nodedns.supervisor.group import Group
from nodedns.supervisor.sockets import SlotSockets

_DISCARD = 9  # RFC 863: nothing from there will ever come


class Neighbour:
    """What of `slots`' addresses it shares. `here`: it had a socket at the last look. `taking`: all queries are ours,
    else its."""

    def __init__(self, listen: Sequence[Endpoint], slots: Sequence[SlotSockets]) -> None:
        self._groups: list[Group] = []
        for number, at in enumerate(listen):
            self._groups.append(Group(at, socket.SOCK_DGRAM, [slot.udp[number] for slot in slots]))
            self._groups.append(Group(at, socket.SOCK_STREAM, [slot.tcp[number] for slot in slots]))
        self._given: dict[int, bytes | None] = {}
        self.here = self.taking = False

    def turn(self, taking: bool) -> None:
        """From now on all queries to us, or to it."""
        self.taking = taking
        self.look()

    def look(self) -> None:
        """To be called now and then: it may come and go."""
        was, self.here = self.here, False
        for number, group in enumerate(self._groups):
            row = group.row()
            self.here = self.here or not all(row)
            wanted = group.wanted(row, self.taking)
            if number not in self._given or self._given[number] != wanted:
                group.attach(wanted)
                self._given[number] = wanted
        if was and not self.here:
            log(
                "neighbour_left",
                "node-cache has left our ports: take node.beside out of the config",
            )

    def forget(self) -> None:
        """Ends what a former life has arranged."""
        for group in self._groups:
            group.attach(None)

    def leave(self) -> None:
        """At the very end, with nothing left to read: out of the groups, before the kernel closes socket by socket what
        we and systemd hold. A UDP socket that is connected, and a stream that does not listen, are in nobody's way."""
        for at, kind, fds in self._groups:
            for fd in fds:
                with socket.socket(fileno=os.dup(fd)) as sock, suppress(OSError):
                    if kind == socket.SOCK_STREAM:
                        sock.shutdown(socket.SHUT_RD)
                    else:
                        sock.connect(("::1" if ":" in at.address else "127.0.0.1", _DISCARD))
        self.forget()
