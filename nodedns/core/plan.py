"""What the machine is to look like: from the config, and from what is known of kube-dns's endpoints.

Link-local and private addresses that only we serve are steered to us while we are well and to `fallback` while we are
not; a Service IP needs no fallback of ours, kube-proxy has one. Loopback is never put on a link nor steered.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from nodedns.config import Config, Endpoint
from nodedns.config_model import NODE_CACHE

ENDPOINTS = "kube-dns-endpoints.kube-system.svc"
"""The headless Service that names kube-dns's pods (packaging/kubernetes): a DNAT target must be an endpoint, since a
connection is translated once and a Service IP would not be translated again."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The wanted state. `link` is "" when none is ours to make; `steered` is empty when no rule is wanted.

    `hold` is how long, in seconds, packets come to us after the last sign of life. `beside`: a node-cache may have the
    same addresses on its link, and rules that keep them untracked.
    """

    link: str
    addresses: tuple[str, ...]
    netfilter: str
    steered: tuple[Endpoint, ...]
    fallback: tuple[Endpoint, ...]
    hold: int
    beside: bool = False

    def of(self, version: int) -> "Plan":
        """The part of it that is IPv4 (4) or IPv6 (6)."""
        return replace(
            self,
            addresses=tuple(address for address in self.addresses if version_of(address) == version),
            steered=tuple(at for at in self.steered if version_of(at.address) == version),
            fallback=tuple(at for at in self.fallback if version_of(at.address) == version),
        )


def version_of(address: str) -> int:
    """4 or 6."""
    return 6 if ":" in address else 4


def plan(config: Config, fallback: Iterable[Endpoint]) -> Plan:
    """`fallback` is used where the config says "auto"."""
    node = config.node
    steerable = tuple(at for at in node.listen if not (at.address == "::1" or at.address.startswith("127.")))
    targets = tuple(fallback) if node.fallback is None else node.fallback
    return Plan(
        link="" if node.interface == "none" else node.interface,
        addresses=() if node.interface == "none" else tuple(dict.fromkeys(at.address for at in steerable)),
        netfilter=node.netfilter,
        steered=() if node.netfilter == "none" else steerable,
        # The order in which a resolver hands them out means nothing, and a mere shuffle is no change.
        fallback=tuple(sorted((at for at in targets if at not in node.listen), key=str)),
        hold=node.fail_open_after,
        beside=node.beside == NODE_CACHE,
    )


def stays_open(config: Config, wanted: Plan) -> bool:
    """Does a stop leave link and fallback behind (`node.on_stop`)?

    By itself only where an address that nobody else serves has somewhere to go: for a Service IP, kube-proxy's rules
    do it without us.
    """
    if not wanted.steered or config.node.on_stop == "clean":
        return False
    served = (wanted.of(version) for version in (4, 6))
    open_families = [part for part in served if part.steered and part.fallback]
    if config.node.on_stop == "failopen":
        return bool(open_families)
    return any(map(only_ours, open_families))


def only_ours(wanted: Plan) -> bool:
    """Is there an address that nobody else serves, so that without a fallback it has no server while we are down?"""
    return any(at.address.startswith("169.254.") for at in wanted.steered)
