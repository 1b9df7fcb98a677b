"""An upstream that is written by its name. We ask ourselves for its address, by the zone the name is in, and again when
that answer's life is over; meanwhile the old address serves.
"""

from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address
from typing import TYPE_CHECKING

from nodedns import native
from nodedns.config import Endpoint
from nodedns.core.entries import Entry
from nodedns.core.zones import row_of, wire_name
from nodedns.worker.question import Question, Transport

if TYPE_CHECKING:
    from nodedns.worker.forward import Forwarder

TYPES = (1, 28)  # A, AAAA: the second is asked for when the first has nothing
PENDING = 8192  # questions that wait for the address
AGAIN = 5.0  # seconds until a name without an address is asked for again


class NamedUpstream:
    """The transport to whatever address the name has; `make` gives the one to an address."""

    def __init__(self, forwarder: "Forwarder", server: Endpoint, make: Callable[[Endpoint], Transport]) -> None:
        self.forwarder = forwarder
        self.server = server
        self.make = make
        self.inner: Transport | None = None
        self.pending: list[Question] = []
        self.asked = False
        self.until = 0.0  # loop time

    def send(self, question: Question) -> None:
        """Queues the question on the address, or keeps it until there is one."""
        if self.until <= self.forwarder.loop.time() and not self.asked:
            self.ask(TYPES[0])
        if self.inner is not None:
            self.forwarder.send(self.inner, question)
        elif len(self.pending) < PENDING:
            question.carrier = None
            self.pending.append(question)

    def ask(self, qtype: int) -> None:
        """Asks ourselves."""
        self.asked = True
        key = wire_name(self.server.address) + qtype.to_bytes(2) + b"\0\1\0"
        row = row_of(self.server.address, [route.name for route in self.forwarder.routes])
        self.forwarder.ask_tcp(key, row, lambda entry: self.told(qtype, entry))

    def told(self, qtype: int, blob: bytes) -> None:
        """The answer's first address of the type is taken; without one, the other type is asked for."""
        entry = Entry.unpack(blob)
        found = [
            at for at in entry.ttl_at[: entry.section[0]] if entry.wire[at - 4 : at] == qtype.to_bytes(2) + b"\0\1"
        ]
        if not found and qtype == TYPES[0]:
            return self.ask(TYPES[1])
        self.asked = False
        self.until = self.forwarder.loop.time() + AGAIN
        if found:
            size = int.from_bytes(entry.wire[found[0] + 4 : found[0] + 6])
            address = str(ip_address(entry.wire[found[0] + 6 : found[0] + 6 + size]))
            self.inner = self.make(replace(self.server, address=address, server_name=self.server.tls_name))
            self.until += max(0.0, (entry.expires - native.now()) / 1000 - AGAIN)
        return self.flush()

    def flush(self) -> None:
        """Passes on what waited, or gives it back when there is no address. The address's own transport is flushed by
        itself."""
        if self.asked:
            return
        pending, self.pending = self.pending, []
        for question in pending:
            if self.inner is None:
                self.forwarder.refused(question, None)
            elif self.forwarder.asking.get(question.key) is question:
                self.forwarder.send(self.inner, question)

    def tick(self, now: float) -> None:
        """So does its clock go."""

    def close(self) -> None:
        """And it is closed."""
