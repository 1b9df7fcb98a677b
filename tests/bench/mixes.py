"""What is asked: query files as dnsperf reads them, one "name A" per line, the same on every machine."""

import itertools
import random
from collections.abc import Iterable, Iterator
from pathlib import Path

CLUSTER_NAMES = 20_000
ZIPF_QUERIES = 200_000
# A fixed seed: two runs, on two machines, ask the same questions in the same order.
RANDOM_SEED = 1035
# Ranks that do not exist, by rank modulo ten: 30 % of the names and, as the first of them is rank 2, of the queries.
ABSENT_RANKS = frozenset({2, 5, 8})
# An hour: no answer expires inside a round, so a hit mix stays one.
TTL = 3600
HERE = Path(__file__).parent


def seed_names() -> tuple[str, ...]:
    """The twelve names of the seed's own dnsperf run, in its order."""
    return tuple(line.split()[0] for line in (HERE / "seed-queries.txt").read_text().splitlines())


def absent(rank: int) -> bool:
    """Whether the cluster name of this rank (1 = the most asked) is NXDOMAIN."""
    return rank % 10 in ABSENT_RANKS


def cluster_name(rank: int) -> str:
    """The name of a rank. Absent ones look as `ndots:5` makes them: an outside name with a search domain behind it."""
    space = f"ns-{rank % 50:02}.svc.cluster.local"
    return f"host-{rank:05}.example.com.{space}" if absent(rank) else f"service-{rank:05}.{space}"


def cluster_names() -> tuple[str, ...]:
    """All names of the Zipf mix, by rank."""
    return tuple(cluster_name(rank) for rank in range(1, CLUSTER_NAMES + 1))


def zipf(names: tuple[str, ...], queries: int, seed: int = RANDOM_SEED) -> list[str]:
    """Draw `queries` names by Zipf's law, s = 1.0: the name of rank r with weight 1 / r."""
    weights = list(itertools.accumulate(1 / rank for rank in range(1, len(names) + 1)))
    return random.Random(seed).choices(names, cum_weights=weights, k=queries)


def unique(tag: str, count: int) -> Iterator[str]:
    """`count` names under miss.test that no other tag has: each is a miss wherever it is asked first."""
    return (f"{tag}-{number:06}.miss.test" for number in range(count))


def write(path: Path, names: Iterable[str]) -> Path:
    """Write names as a query file and return its path."""
    path.write_text("".join(f"{name} A\n" for name in names))
    return path
