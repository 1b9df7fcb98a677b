"""Questions to one upstream over UDP.

A pool of connected sockets, each on a random port of the kernel's choice (RFC 5452 9.2), each replaced after some
thousand questions; a turn's questions leave together by one of them, drawn at random. A reply must come to the socket
that asked, from its peer, with the id and the question; anything else is counted and waited past, never an error.
"""

import os
import socket
import time
from typing import TYPE_CHECKING

from nodedns import native
from nodedns.worker.ids import free_id, random_id
from nodedns.worker.meter import UDP
from nodedns.worker.question import Question

if TYPE_CHECKING:
    from nodedns.worker.forward import Forwarder

POOL = 8  # sockets: 3 bits beside the id's 16 and the port's; each costs a descriptor and an epoll entry
USES = 4096  # questions a socket asks before its port is given up: at 20,000/s and 8 sockets, every 1.6 s
AGE = 30.0  # seconds after which a quiet socket's port is given up too
LINGER = 5.0  # seconds a given-up socket still listens: no question lives longer
HELD_MAX = 16384  # questions a socket waits for: a quarter of the ids, so that a random one is free at once
BATCH = 64  # native.udp_send's batch
BUFFER = 1 << 20  # octets asked for in SO_RCVBUF: a turn's replies come as one burst


def mixed(packet: bytes, question: Question) -> bytes:
    """The query with its name's letters in upper and lower case at random (draft-vixie-dnsext-dns0x20), the same in
    each attempt; a length octet is below 64 and no letter's."""
    size = len(question.key) - 5
    if not question.case:
        chance = os.urandom(size)
        name = question.key[:size]
        question.case = bytes(c ^ 0x20 & r if 97 <= c <= 122 else c for c, r in zip(name, chance, strict=True))
    return packet[:12] + question.case + packet[12 + size :]


class Port:
    """One connected socket and the questions it carries."""

    __slots__ = ("held", "out", "sock", "until", "used")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.used = 0
        self.until = time.monotonic() + AGE
        self.held: dict[int, Question] = {}
        self.out: list[bytes] = []

    def silent(self, question: Question) -> None:
        """A lost datagram says nothing about its socket."""


class UdpUpstream:
    """The transport to one endpoint."""

    def __init__(self, forwarder: "Forwarder", address: str, port: int, row: int | None, mix: bool = False) -> None:
        self.forwarder = forwarder
        self.row = row
        self.fresh = 0  # sockets opened since questions were last counted
        self.peer = (address, port)
        self.mix = mix  # upper and lower case at random
        self.family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.ports: list[Port] = []
        self.retired: list[Port] = []
        self.turn: Port | None = None  # the port of this turn
        self.unsent: list[Question] = []  # no socket was to be had: told at the end of the turn

    def send(self, question: Question) -> None:
        """Queues the question; it leaves with the next flush()."""
        port = self.turn
        if port is None or len(port.held) >= HELD_MAX:
            port = self.turn = self.draw()
            if port is None:
                question.carrier = None
                self.unsent.append(question)
                return
        id_ = free_id(port.held)
        question.carried(port, port.held, id_)
        port.used += 1
        packet = native.make_query(question.key, id_)
        port.out.append(mixed(packet, question) if self.mix else packet)

    def draw(self) -> Port | None:
        """A port at random, a new one while the pool is not full; None when the kernel gives no socket."""
        self.flush_turn()
        now = time.monotonic()
        for port in self.ports[:]:
            if port.used >= USES or port.until < now or len(port.held) >= HELD_MAX:
                self.ports.remove(port)
                self.retired.append(port)
                port.until = now + LINGER
        if len(self.ports) < POOL:
            fresh = self.open()
            if fresh is not None or not self.ports:
                return fresh
        return self.ports[random_id() % len(self.ports)]

    def open(self) -> Port | None:
        """A new connected socket."""
        sock = socket.socket(self.family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        try:
            sock.connect(self.peer)
        except OSError:
            sock.close()
            return None
        port = Port(sock)
        self.ports.append(port)
        self.fresh += 1
        self.forwarder.meter.opened(self.row, 1)
        self.forwarder.loop.add_reader(sock.fileno(), self.readable, port)
        return port

    def flush(self) -> None:
        """Sends this turn's questions."""
        self.flush_turn()
        unsent, self.unsent = self.unsent, []
        for question in unsent:
            self.forwarder.refused(question, None)

    def flush_turn(self) -> None:
        """Sends what is queued on this turn's port; what the kernel does not take is as good as lost on the way."""
        port, self.turn = self.turn, None
        if port is None or not port.out:
            return
        out, port.out = port.out, []
        self.forwarder.server.add("upstream_udp", len(out))
        fresh, self.fresh = min(self.fresh, len(out)), 0
        self.forwarder.meter.sent(self.row, UDP, len(out), fresh)
        try:
            for start in range(0, len(out), BATCH):
                native.udp_send(port.sock.fileno(), out[start : start + BATCH])
        except OSError:
            self.refuse(port)

    def refuse(self, port: Port) -> None:
        """The kernel reported an error (ECONNREFUSED, ENETUNREACH): for all the port carries, since it names none."""
        held = list(port.held.values())
        port.held.clear()
        for question in held:
            self.forwarder.refused(question, port)

    def readable(self, port: Port) -> None:
        """Replies have come."""
        forwarder = self.forwarder
        try:
            replies = native.udp_recv(port.sock.fileno())
        except OSError:
            self.refuse(port)
            forwarder.flush()
            return
        find = port.held.get
        matched = 0
        for reply in replies:
            question = find(int.from_bytes(reply[:2]))
            if question is None:
                forwarder.server.add("upstream_strays")
            elif forwarder.reply(question, reply, port):
                matched += 1
        forwarder.server.add("upstream_replies", matched)
        forwarder.flush()

    def tick(self, now: float) -> None:
        """Closes given-up sockets that carry nothing, or have lingered long enough."""
        for port in self.retired[:]:
            if not port.held or port.until < now:
                self.retired.remove(port)
                self.shut(port)

    def shut(self, port: Port) -> None:
        """Closes one socket."""
        self.forwarder.meter.opened(self.row, -1)
        self.forwarder.loop.remove_reader(port.sock.fileno())
        port.sock.close()

    def close(self) -> None:
        """Closes every socket."""
        for port in (*self.ports, *self.retired):
            self.shut(port)
