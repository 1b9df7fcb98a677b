"""Where a zone's questions go, and what its entries are made by."""

from typing import TYPE_CHECKING

from nodedns.config import Zone
from nodedns.core.upstreams import ATTEMPTS, Health, Picker
from nodedns.worker.question import Policy, Transport
from nodedns.worker.tcp import TcpUpstream
from nodedns.worker.udp import UdpUpstream

if TYPE_CHECKING:
    from nodedns.worker.forward import Forwarder


class Route:
    """A zone's upstreams, and its policy for entries."""

    __slots__ = ("attempts", "first", "flying", "health", "most", "picker", "policy", "stale", "tcp")

    def __init__(self, zone: Zone, policy_: Policy, forwarder: "Forwarder") -> None:
        self.policy = policy_
        self.stale = zone.serve_stale
        self.most = zone.max_concurrent
        self.flying = 0  # questions
        self.picker = Picker(zone.policy, len(zone.forward))
        self.health = Health(len(zone.forward))
        self.tcp: list[Transport] = [forwarder.transport(TcpUpstream, e.address, e.port) for e in zone.forward]
        self.first = self.tcp  # what a question is first sent by
        self.attempts = [(seconds, forwarder.waiting.setdefault(seconds, {})) for seconds in ATTEMPTS[zone.transport]]
        if zone.transport == "udp":
            self.first = [forwarder.transport(UdpUpstream, e.address, e.port) for e in zone.forward]
