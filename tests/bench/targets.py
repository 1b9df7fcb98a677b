"""What nodedns must reach, and whether this run did: the project's own promises, ratios within the same run."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.bench.figures import FLOOR, OURS, Figures, median, ratio, servers


@dataclass(frozen=True, slots=True)
class Target:
    """One promise: what, the limit, which side of it is good, and how to read the value from the figures."""

    what: str
    limit: float
    at_most: bool
    value: Callable[[Figures], float | None]

    def met(self, value: float) -> bool:
        """Whether a value keeps the promise."""
        return value <= self.limit if self.at_most else value >= self.limit


def of_floor(mix: str) -> Callable[[Figures], float | None]:
    """CPU of a hit as a ratio to the echo's."""
    return lambda figures: ratio(figures, OURS, FLOOR, f"{mix}.cpu")


def of_best_peer(mix: str) -> Callable[[Figures], float | None]:
    """CPU per query as a ratio to the cheapest peer's."""

    def value(figures: Figures) -> float | None:
        peers = [name for name in servers(figures, f"{mix}.cpu") if name != OURS and not name.startswith(FLOOR)]
        return ratio(figures, OURS, peers[0], f"{mix}.cpu") if peers else None

    return value


def of_node_cache(mix: str) -> Callable[[Figures], float | None]:
    """How many times more CPU node-cache takes for a query."""
    return lambda figures: ratio(figures, "node-cache", OURS, f"{mix}.cpu")


def own(figure: str) -> Callable[[Figures], float | None]:
    """A figure of nodedns as it is."""
    return lambda figures: median(figures, OURS, figure)


TARGETS = (
    Target("hit, twelve names: CPU / echo", 1.15, True, of_floor("seed")),
    Target("hit, Zipf: CPU / echo", 1.15, True, of_floor("zipf")),
    Target("hit, twelve names: CPU / cheapest peer", 1.0, True, of_best_peer("seed")),
    Target("hit, Zipf: CPU / cheapest peer", 1.0, True, of_best_peer("zipf")),
    Target("hit, twelve names: node-cache's CPU / ours", 4.0, False, of_node_cache("seed")),
    Target("hit, Zipf: node-cache's CPU / ours", 4.0, False, of_node_cache("zipf")),
    Target("miss, UDP upstream: CPU us", 40, True, own("miss_udp.cpu")),
    Target("miss, TCP upstream: CPU us", 40, True, own("miss_tcp.cpu")),
    Target("miss, UDP upstream: q/s", 20_000, False, own("miss_udp.qps")),
    Target("miss, TCP upstream: q/s", 20_000, False, own("miss_tcp.qps")),
    Target("storm: added to hit p99, us", 500, True, own("storm.added")),
    Target("supervisor: RSS MiB", 16, True, own("memory.parent")),
    Target("start to first answer, ms", 500, True, own("start.ms")),
)
