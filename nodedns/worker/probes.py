"""Questions of our own to upstreams that are down: do they answer again, and do they lead back to us?

The name asked for is one nobody has, below the zone, with a token of this node's cache in it. An honest server says
NXDOMAIN. If it comes to us as a client's question, the upstream leads back here; a TXT record says so, which caches on
the way pass on.
"""

import os
from typing import TYPE_CHECKING

from nodedns import native
from nodedns.core.zones import wire_name
from nodedns.journal import log
from nodedns.worker.question import Question
from nodedns.worker.route import Route

if TYPE_CHECKING:
    from nodedns.worker.forward import Forwarder

LABEL = b"\x0cnodedns-loop"
TXT = b"\0\x10\0\1"
TIME = 1.0  # seconds a probe is held: the next one is then due
LONGEST = 255 - 9 - 17 - len(LABEL)


class Probes:
    """Those of one worker."""

    def __init__(self, forwarder: "Forwarder") -> None:
        self.forwarder = forwarder
        self.token = b"\x10" + f"{native.hash(LABEL, forwarder.seed):016x}".encode() + LABEL
        self.mark = b"\x15nodedns leads to self"
        self.flying: dict[Question, tuple[Route, int]] = {}

    def tick(self, now: float) -> None:
        """Ends what nobody answers, begins what is due."""
        for question in [question for question in self.flying if question.ends <= now]:
            route, upstream = self.flying.pop(question)
            self.forwarder.meter.unproved(route.rows[upstream])
            question.release()
        for row, route in enumerate(self.forwarder.routes):
            for upstream in route.health.due(now) if route.health.down else ():
                self.send(row, route, upstream, now)

    def send(self, row: int, route: Route, upstream: int, now: float) -> None:
        """One probe."""
        zone = wire_name(route.name)
        name = b"\x08" + os.urandom(4).hex().encode() + self.token + zone if len(zone) <= LONGEST else zone
        question = Question(name + TXT + b"\0", row, now + TIME, probe=True)
        question.since = now
        self.flying[question] = route, upstream
        self.forwarder.server.add("probes")
        self.forwarder.send(route.ways[upstream][0], question)

    def heard(self, question: Question, reply: bytes) -> bool:
        """What came for a probe; False when it is not its reply."""
        now = self.forwarder.loop.time()
        route, upstream = self.flying.get(question) or (None, 0)
        if route is None or isinstance(self.forwarder.entry(question, reply, None), int):
            return False
        del self.flying[question]
        question.release()
        if self.mark not in reply:
            route.health.heard(upstream, now - question.since, probed=True)
        elif route.health.leads_back(upstream, now):
            self.forwarder.server.add("loops")
            server = route.servers[upstream]
            text = f"{server} of zone {route.name} leads back to us: it is not asked"
            log("upstream_loop", text, upstream=server, zone=route.name)
        return True

    def reply(self, key: bytes) -> bytes | None:
        """The message that tells a prober that it has reached us; None for any other question."""
        if not key.startswith(self.token, 9) or key[-5:-1] != TXT:
            return None
        head = b"\0\0\x85\x80\0\1\0\1\0\0\0\0"
        return head + key[:-1] + b"\xc0\x0c" + TXT + b"\0\0\0\1" + len(self.mark).to_bytes(2) + self.mark
