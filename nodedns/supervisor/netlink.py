"""Netlink without a library, for the two things the parent does all the time: the sign of life, and listening.

Sources: netlink(7), rtnetlink(7), linux/netfilter/nfnetlink.h, linux/netfilter/nf_tables.h.
"""

import contextlib
import os
import socket
import struct
from collections.abc import Iterable, Iterator

from nodedns.config import Endpoint

_NETFILTER = 12  # NETLINK_NETFILTER: Python knows no name for it
_ERROR = 2  # NLMSG_ERROR
_REQUEST, _CREATE = 0x1, 0x400
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11
_NFTABLES = 10  # NFNL_SUBSYS_NFTABLES
_NEWSETELEM, _DELSETELEM = _NFTABLES << 8 | 12, _NFTABLES << 8 | 14
_INET = 1  # NFPROTO_INET
_NESTED = 0x8000
_NFNLGRP_NFTABLES = 7
_ROUTE_GROUPS = 0x1 | 0x10 | 0x100  # RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR
_OF_LINKS = range(16, 22)  # RTM_NEWLINK to RTM_DELADDR; the link's index stands at one place in all of them

TABLE = b"nodedns\0"


def _attribute(kind: int, value: bytes) -> bytes:
    length = 4 + len(value)
    return struct.pack("=HH", length, kind) + value + bytes(-length % 4)


def _message(kind: int, flags: int, family: int, resource: int, body: bytes = b"") -> bytes:
    # nfgenmsg: the resource id of a batch's ends is the subsystem, in network order
    return struct.pack("=IHHIIBBH", 20 + len(body), kind, flags, 0, 0, family, 0, socket.htons(resource)) + body


def _elements(endpoints: Iterable[Endpoint], timeout_ms: int) -> bytes:
    """NFTA_SET_ELEM_LIST_ELEMENTS: keys are an address and a port, each padded to four octets."""
    body = b""
    for at in endpoints:
        address = socket.inet_pton(socket.AF_INET6 if ":" in at.address else socket.AF_INET, at.address)
        key = _attribute(1 | _NESTED, _attribute(1, address + struct.pack("!H2x", at.port)))
        timeout = _attribute(4, struct.pack("!Q", timeout_ms)) if timeout_ms else b""
        body += _attribute(1 | _NESTED, key + timeout)
    return _attribute(3 | _NESTED, body)


def batch(steered: Iterable[Endpoint], hold: int) -> bytes:
    """One transaction that gives every element of `alive` its whole `hold` seconds again.

    An element's time cannot be set anew by older kernels, and one that has run out cannot be deleted: add, which does
    nothing to one that is there, delete, add.
    """
    parts = [_message(_BATCH_BEGIN, _REQUEST, 0, _NFTABLES)]
    for version in (4, 6):
        of = [at for at in steered if (":" in at.address) == (version == 6)]
        if of:
            where = _attribute(1, TABLE) + _attribute(2, f"alive{version}\0".encode())
            fresh, bare = where + _elements(of, hold * 1000), where + _elements(of, 0)
            parts.append(_message(_NEWSETELEM, _REQUEST | _CREATE, _INET, 0, fresh))
            parts.append(_message(_DELSETELEM, _REQUEST, _INET, 0, bare))
            parts.append(_message(_NEWSETELEM, _REQUEST | _CREATE, _INET, 0, fresh))
    parts.append(_message(_BATCH_END, _REQUEST, 0, _NFTABLES))
    return b"".join(parts)


class SignOfLife:
    """Says to the kernel that we answer. Must be said again within `hold` seconds."""

    def __init__(self, steered: tuple[Endpoint, ...], hold: int) -> None:
        self._batch = batch(steered, hold)
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, _NETFILTER)

    def give(self) -> str:
        """ "" when the kernel took it, else why not: ENOENT, the table is not there."""
        with contextlib.suppress(BlockingIOError):
            while self._socket.recv(4096):
                pass  # complaints about an earlier one
        try:
            self._socket.send(self._batch)
            # The kernel carries a batch out within send(2); it answers only to complain.
            code = struct.unpack_from("=i", self._socket.recv(4096), 16)[0]
        except BlockingIOError:
            return ""
        except OSError as error:
            return error.strerror or str(error)
        return os.strerror(-code) if code else ""

    def close(self) -> None:
        """Ends it; the kernel lets the elements time out."""
        self._socket.close()


class Ears:
    """Hears that somebody changes links, addresses or rules; `fds` are to be read, by ours(), when readable."""

    def __init__(self, link: str) -> None:
        self.link = link
        self._sockets = (
            socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE),
            socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, _NETFILTER),
        )
        self._sockets[0].bind((0, _ROUTE_GROUPS))
        self._sockets[1].bind((0, 1 << (_NFNLGRP_NFTABLES - 1)))
        self.learn()

    @property
    def fds(self) -> tuple[int, ...]:
        return tuple(sock.fileno() for sock in self._sockets)

    def learn(self) -> None:
        """Finds our link's index again."""
        try:
            self._index = socket.if_nametoindex(self.link) if self.link else 0
        except OSError:
            self._index = 0

    def ours(self) -> bool:
        """Reads all there is. Did any of it concern our link, our table or our chains?"""
        # a list, so that every datagram is read whatever the first one says
        return any([any(_concerns(kind, message, self._index) for kind, message in parts) for parts in self._read()])

    def _read(self) -> Iterator[list[tuple[int, bytes]]]:
        for sock in self._sockets:
            with contextlib.suppress(BlockingIOError):
                while True:
                    try:
                        yield list(_messages(sock.recv(1 << 18)))
                    except OSError as error:
                        if isinstance(error, BlockingIOError):
                            raise
                        yield [(_ERROR, b"")]  # ENOBUFS: more than fits; ours may have been among it

    def close(self) -> None:
        for sock in self._sockets:
            sock.close()


def _messages(datagram: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 16 <= len(datagram):
        length, kind = struct.unpack_from("=IH", datagram, at)
        if length < 16:
            return
        yield kind, datagram[at : at + length]
        at += (length + 3) & ~3


def _concerns(kind: int, message: bytes, index: int) -> bool:
    if kind in _OF_LINKS:
        return len(message) >= 24 and struct.unpack_from("=i", message, 20)[0] == index
    if kind in (_NEWSETELEM, _DELSETELEM):
        return False  # the sign of life, and its end
    # Our table, and the comment and the chains of our rules in the tables of others, have our name in them.
    return kind == _ERROR or (kind >> 8 == _NFTABLES and b"nodedns" in message.lower())
