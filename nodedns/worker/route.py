"""Where a zone's questions go, and what its entries are made by."""

from typing import TYPE_CHECKING

from nodedns.config import Endpoint, Zone
from nodedns.core import shape
from nodedns.core.upstreams import ATTEMPTS, HEDGED, Health, Picker
from nodedns.worker.named import NamedUpstream
from nodedns.worker.question import Policy, Row, Transport
from nodedns.worker.tcp import TcpUpstream
from nodedns.worker.udp import UdpUpstream

if TYPE_CHECKING:
    from nodedns.worker.forward import Forwarder


class Route:
    """A zone's upstreams, each with its ways, and its policy for entries.

    `ways`: by upstream the zone's own transport and the other one; `streams`: what carries a long reply.
    """

    __slots__ = (
        *("attempts", "flying", "health", "hedged", "kind", "most", "name", "picker", "policy", "rows", "servers"),
        *("shapes", "stale", "streams", "ways"),
    )

    def __init__(self, zone: Zone, policy: Policy, forwarder: "Forwarder") -> None:
        self.name = zone.name
        self.servers = zone.forward
        self.rows = [forwarder.meter.row(server) for server in zone.forward]
        self.policy = policy
        self.stale = zone.serve_stale
        self.most = zone.max_concurrent
        self.flying = 0  # questions
        self.picker = Picker(zone.policy, len(zone.forward))
        self.health = Health()
        self.kind = "tls" if zone.forward and all(server.tls for server in zone.forward) else zone.transport
        self.attempts = rows(forwarder, ATTEMPTS[self.kind])
        self.hedged = rows(forwarder, HEDGED[self.kind]) if len(zone.forward) > 1 else self.attempts
        shapes = ((zone.minimal, shape.minimal), (zone.rotate, shape.rotating))
        self.shapes = [change for wanted, change in shapes if wanted]
        self.streams = [transport(forwarder, server, zone, "tcp") for server in zone.forward]
        self.ways = [(stream, stream) for stream in self.streams]
        if self.kind != "tls":
            datagrams = [transport(forwarder, server, zone, "udp") for server in zone.forward]
            pairs = zip(datagrams, self.streams, strict=True)
            self.ways = [(udp, tcp) if self.kind == "udp" else (tcp, udp) for udp, tcp in pairs]

    def shaped(self, entry: bytes) -> bytes:
        """As the zone wants it."""
        for change in self.shapes:
            entry = change(entry)
        return entry


def rows(forwarder: "Forwarder", attempts: tuple[tuple[float, int], ...]) -> tuple[Row, ...]:
    """Attempts, each with the line its questions wait in."""
    return tuple((seconds, way, forwarder.waiting.setdefault(seconds, {})) for seconds, way in attempts)


def transport(
    forwarder: "Forwarder", server: Endpoint, zone: Zone, kind: str, name: Endpoint | None = None
) -> Transport:
    """The one transport of a kind to a server, shared by zones. One over TLS is all there is to its server. `name` is
    what the server is counted as, when that is not itself."""
    kind = "tls" if server.tls else kind
    at = (kind, server, zone.tls if server.tls else None)
    if at not in forwarder.transports:
        forwarder.transports[at] = make(forwarder, server, zone, kind, forwarder.meter.row(name or server))
    return forwarder.transports[at]


def make(forwarder: "Forwarder", server: Endpoint, zone: Zone, kind: str, row: int | None) -> Transport:
    """A new one, counted in `row`."""
    if server.is_name:
        return NamedUpstream(forwarder, server, lambda at: transport(forwarder, at, zone, kind, server))
    if kind == "udp":
        return UdpUpstream(forwarder, server.address, server.port, row, zone.dns0x20)
    if kind == "tcp":
        return TcpUpstream(forwarder, server.address, server.port, row)
    from nodedns.worker.tls import TlsUpstream  # late: ssl is for those who use it (worker.lean)

    return TlsUpstream(forwarder, server, row, zone.tls)
