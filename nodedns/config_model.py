"""A config as the program uses it: frozen dataclasses, made by config.parse()."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nodedns.config_servers import Endpoint

if TYPE_CHECKING:
    from nodedns.config_records import Record


NODE_CACHE = "node-cache"
"""The name of NodeLocal DNSCache's process."""
NODE_CACHE_LINK = "nodelocaldns"
"""The link that it makes and, when it ends, takes away: its -interfacename."""


def shares_its_link(beside: str, link: str) -> bool:
    """Would we, beside a node-cache, have our addresses on its link alone?"""
    return beside == NODE_CACHE and link == NODE_CACHE_LINK


@dataclass(frozen=True, slots=True)
class Ttl:
    """Bounds on how long an answer is kept, in seconds; min_ttl <= max_ttl."""

    max_ttl: int
    min_ttl: int


@dataclass(frozen=True, slots=True)
class Stale:
    """`max`: for how many seconds after its end an answer may be given, 0 for never. `immediate`: without first waiting
    for a server's. `prefer_positive`: also in place of a denial."""

    max: int = 0
    immediate: bool = False
    prefer_positive: bool = False


@dataclass(frozen=True, slots=True)
class Prefetch:
    """An entry is asked for again by a hit in the last `within` % of its life, from its `hits`-th on; 0 is never."""

    hits: int = 0
    within: int = 10


@dataclass(frozen=True, slots=True)
class Tls:
    """`server_name`: what the certificates must say, "" for each server's own name; `ca`: a file of authorities, None
    for the system's."""

    server_name: str = ""
    ca: str | None = None


@dataclass(frozen=True, slots=True)
class Zone:
    """Who answers for the names at and below `name` (absolute, lower case: "cluster.local.", ".").

    `resolv_conf` is the path of a file whose nameservers the caller appends to `forward`, None for none.
    `policy` is "random", "round_robin" or "sequential"; `transport` is "udp", "tcp" or "tls".
    `max_concurrent` bounds the questions in flight of each worker, 0 for any.
    `nxdomain`: patterns of names that nobody is asked for; `rewrite`: the zone whose names these stand for.
    `success` bounds answers, `denial` NXDOMAIN and NODATA (RFC 2308).
    """

    name: str
    forward: tuple[Endpoint, ...]
    resolv_conf: str | None
    policy: str
    transport: str
    success: Ttl
    denial: Ttl
    serve_stale: Stale = Stale()
    prefetch: Prefetch = Prefetch()
    max_concurrent: int = 0
    tls: Tls = Tls()
    dns0x20: bool = False
    minimal: bool = False
    rotate: bool = False
    nxdomain: tuple[str, ...] = ()
    rewrite: str | None = None


@dataclass(frozen=True, slots=True)
class Node:
    """What this host serves. `allow`: CIDRs, empty for everyone; `workers`: 0 for one per CPU, at most 4. `interface`:
    "none", or the link. `fallback`: None for "auto". `fail_open_after` is in seconds, `rate_limit` in queries a second
    from one client, 0 for any. `beside`: "none", or the neighbour that may have our addresses and ports, too."""

    listen: tuple[Endpoint, ...]
    allow: tuple[str, ...]
    workers: int
    run_dir: str
    interface: str = "none"
    netfilter: str = "none"
    fallback: tuple[Endpoint, ...] | None = None
    fail_open_after: int = 3
    on_stop: str = "auto"
    beside: str = "none"
    hosts: str | None = None
    rate_limit: int = 0
    records: "tuple[Record, ...]" = ()


@dataclass(frozen=True, slots=True)
class Cache:
    """The shared table's `size` in bytes."""

    size: int


@dataclass(frozen=True, slots=True)
class Metrics:
    """Where Prometheus scrapes, None for nowhere; the generations of CoreDNS whose names it finds; for how many seconds
    a stop says so before it begins."""

    listen: Endpoint | None = None
    coredns: tuple[str, ...] = ()
    lameduck: int = 0


@dataclass(frozen=True, slots=True)
class Log:
    """The query log. `queries`: "off", "sample" or "all"; only those of `clients` (CIDRs), `zones` and `rcodes`, where
    there are any; at most `rate` lines a second."""

    queries: str = "off"
    clients: tuple[str, ...] = ()
    zones: tuple[str, ...] = ()
    rcodes: tuple[str, ...] = ()
    rate: int = 100


@dataclass(frozen=True, slots=True)
class Dnstap:
    """`socket`: None for no dnstap. `hits`: "sample", "all" or "none". `identity`, `version`: "" for our own."""

    socket: str | None = None
    hits: str = "sample"
    identity: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class Config:
    """A whole config; `zones` is sorted by name and always has ".". `domain` is the cluster's own zone; `config_map` a
    directory with more zones, which the caller adds by with_stubs(), unless it could not (`config_map_failed`).
    `hosts`: what the caller has read in `node.hosts`, absolute names in lower case with their addresses."""

    domain: str
    node: Node
    cache: Cache
    zones: tuple[Zone, ...]
    hosts: tuple[tuple[str, tuple[str, ...]], ...] = ()
    config_map: str | None = None
    config_map_failed: bool = False
    metrics: Metrics = Metrics()
    log: Log = Log()
    dnstap: Dnstap = Dnstap()

    @property
    def every_sample(self) -> bool:
        """Does something want a record of each answer?"""
        return self.log.queries == "all" or (self.dnstap.socket is not None and self.dnstap.hits == "all")
