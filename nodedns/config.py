"""The config: TOML text -> frozen dataclasses, or every problem at once.

Pure: no file is opened here; the caller reads the text, the drop-ins and any resolv.conf. Three steps, and each adds to
one list of problems: every value of every file by itself (config_schema.read), the files merged in order over the zones
that always exist (`_merge`), the values against each other (`_check`). docs/configuration.md is the user's manual.
"""

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from operator import attrgetter
from typing import Any

from nodedns.config_model import (
    Cache,
    Config,
    Dnstap,
    Log,
    Metrics,
    Node,
    Prefetch,
    Stale,
    Tls,
    Ttl,
    Zone,
    shares_its_link,
)
from nodedns.config_schema import KEYS, MAX_PROBLEMS, MAX_ZONES, Given, Values, read
from nodedns.config_servers import Endpoint, Forward, nameservers, over_tls
from nodedns.config_values import ConfigError, Problem, show

__all__ = [
    "RESOLVED",
    "RESTART_KEYS",
    "Cache",
    "Config",
    "ConfigError",
    "Dnstap",
    "Endpoint",
    "Log",
    "Metrics",
    "Node",
    "Prefetch",
    "Problem",
    "Stale",
    "Tls",
    "Ttl",
    "Zone",
    "example",
    "nameservers",
    "parse",
    "restart_needed",
]

# What a resolv.conf that names systemd-resolved's stub, 127.0.0.53, stands for.
RESOLVED = "/run/systemd/resolve/resolv.conf"

# Sockets, slots and the mapping are made once, before the first fork: these cannot follow a reload.
RESTART_KEYS = frozenset(
    {"node.listen", "node.workers", "node.run_dir", "node.interface", "node.netfilter", "cache.size"}
    | {"node.beside", "metrics.listen", "dnstap.socket"}
)

# The seed's addresses of a node cache may be open to all: nobody beyond the site can reach them.
# RFC 1122, 3927, 1918, 6598 (shared with carriers), 4291, 4193.
_PRIVATE = ("127.0.0.0/8", "169.254.0.0/16", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10",
            "::1/128", "fc00::/7")  # fmt: skip


def parse(text: str, dropins: Sequence[tuple[str, str]] = ()) -> Config:
    """The config in `text`, with `dropins` (file name, text) merged over it in the order given.

    Tables merge key by key, [[zone]] blocks by name. Raises ConfigError with every problem of every file (at most 100);
    the paths in a drop-in begin with its file name.
    """
    problems: list[Problem] = []
    texts = [("", text), *((f"{show(name)[1:-1]}: ", content) for name, content in dropins)]
    files = [read(where, content, problems) for where, content in texts]
    whole = [file for file in files if file]
    node = {path: given for tables, _ in whole for path, given in tables.items()}
    zones = _merge(node, [blocks for _, blocks in whole])
    if len(whole) == len(files):  # else nothing can be called missing: what the unread file says is not known
        problems += _check(node, zones)
    if problems:
        raise ConfigError(*problems[:MAX_PROBLEMS])
    return _build(node, zones)


def _of(values: Values, path: str) -> Any:
    """The value at `path`, or its default."""
    return values[path].value if path in values else KEYS[path].parse(KEYS[path].default)


def _table(values: Values, table: str) -> dict[str, Any]:
    """What is given of a table; its dataclass has the defaults."""
    return {path.partition(".")[2]: given.value for path, given in values.items() if path.startswith(f"{table}.")}


def _merge(node: Values, blocks: Sequence[dict[str, Values]]) -> dict[str, Values]:
    """The fields of every zone: the seed's four, then the blocks of each file over them."""
    cluster = {"zone.forward": node.get("cluster.dns", Given("", None)), "zone.transport": Given("", "tcp")}
    zones: dict[str, Values] = {
        _of(node, "cluster.domain"): cluster | {"zone.denial.max_ttl": Given("", 5)},
        "in-addr.arpa.": cluster,
        "ip6.arpa.": cluster,
        ".": {"zone.forward": Given("", Forward((), "/etc/resolv.conf"))},
    }
    for layer in blocks:
        for name, fields in layer.items():
            zones[name] = zones.get(name, {}) | fields
    return zones


def _check(node: Values, zones: dict[str, Values]) -> Iterator[Problem]:
    """What no value shows by itself. A value that already has a problem is not judged again."""
    if "cluster.dns" not in node:
        hint = 'a whole config is two lines: [cluster] and dns = "10.96.0.10"'
        yield Problem("cluster.dns", "the address of kube-dns", "nothing", hint)
    if (count := len(set(zones) | set(_excepted(zones)))) > MAX_ZONES:
        yield Problem(
            "zone", f"at most {MAX_ZONES} zones, the four that always exist and `except` included", str(count)
        )
    for fields in zones.values():
        if not {"zone.forward", "zone.rewrite", "zone.nxdomain"} & set(fields):
            where = fields["zone.name"].where.removesuffix("name") + "forward"
            yield Problem(where, "the servers of this new zone", "nothing")
        for kind in ("zone.success", "zone.denial"):
            low, high = fields.get(f"{kind}.min_ttl"), _of(fields, f"{kind}.max_ttl")
            if low and low.value and high and low.value > high:
                yield Problem(low.where, f"at most max_ttl, which is {high}", show(low.value))
    yield from _check_names(zones)
    yield from _check_rewrites(zones)
    for name, fields in zones.items():
        yield from _check_except(name, fields.get("zone.except") or Given("", None))
    yield from _check_listen(_of(node, "node.listen") or (), node, zones)
    if shares_its_link(_of(node, "node.beside"), link := _of(node, "node.interface")):
        hint = 'node-cache takes its link away when it ends; "nodedns" is a name of ours'
        yield Problem("node.interface", "a link of its own beside node-cache", show(link), hint)


def _check_rewrites(zones: dict[str, Values]) -> Iterator[Problem]:
    """A chain of rewrites ends at a zone that has servers."""
    for name, fields in zones.items():
        at, seen = name, set[str]()
        while (given := zones[at].get("zone.rewrite")) and given.value and at not in seen:
            seen.add(at)
            at = max((zone for zone in zones if zone == "." or f".{given.value}".endswith(f".{zone}")), key=len)
        if at in seen:
            yield Problem(fields["zone.rewrite"].where, "a zone that leads elsewhere", show(at), "a circle")


def _check_names(zones: dict[str, Values]) -> Iterator[Problem]:
    """A server that is written by its name is asked for in the zone that has the name."""
    for fields in zones.values():
        where, value = fields.get("zone.forward") or Given("", None)
        for server in value.servers if value else ():
            home = max((name for name in zones if name == "." or f".{server.address}".endswith(f".{name}")), key=len)
            known = zones[home].get("zone.forward") or Given("", None)
            if (
                server.is_name
                and known.value
                and not known.value.resolv_conf
                and all(s.is_name for s in known.value.servers)
            ):
                expected = f'a server with an address in zone "{home}"'
                yield Problem(where, expected, show(server.address), "nobody else could tell where this one is")


def _check_except(name: str, given: Given) -> Iterator[Problem]:
    for outside in given.value or ():
        if name == ".":
            hint = "a name in the root zone has no other zone to go to: give it a [[zone]] of its own"
            yield Problem(given.where, "nothing", show(outside), hint)
        elif not outside.endswith(f".{name}"):
            yield Problem(given.where, f"names below {name}", show(outside))


def _check_listen(listen: Sequence[Endpoint], node: Values, zones: dict[str, Values]) -> Iterator[Problem]:
    private = [ipaddress.ip_network(text) for text in _PRIVATE]
    public = [at for at in listen if not any(ipaddress.ip_address(at.address) in network for network in private)]
    if public and "node.allow" not in node:
        hint = f"anyone may reach {public[0]}: without a list this would be an open resolver"
        yield Problem("node.allow", "the networks of your clients", "nothing", hint)
    for server in _of(node, "node.fallback") or ():
        if server in listen:
            yield Problem("node.fallback", "servers other than this one", show(str(server)), "node.listen has it")
    # Three zones share cluster.dns: it is one line to change.
    for where, value in dict.fromkeys(fields["zone.forward"] for fields in zones.values() if "zone.forward" in fields):
        for server in value.servers if value else ():
            if server in listen:
                yield Problem(where, "servers other than this one", show(str(server)), "node.listen has it: a loop")


def _build(node: Values, zones: dict[str, Values]) -> Config:
    return Config(
        domain=_of(node, "cluster.domain"),
        node=Node(
            listen=_of(node, "node.listen"),
            allow=node["node.allow"].value if "node.allow" in node else (),
            workers=_of(node, "node.workers"),
            run_dir=_of(node, "node.run_dir"),
            interface=_of(node, "node.interface"),
            netfilter=_of(node, "node.netfilter"),
            fallback=_of(node, "node.fallback"),
            fail_open_after=_of(node, "node.fail_open_after"),
            on_stop=_of(node, "node.on_stop"),
            beside=_of(node, "node.beside"),
            hosts=node["node.hosts"].value if "node.hosts" in node else None,
            rate_limit=_of(node, "node.rate_limit"),
            records=node["node.records"].value if "node.records" in node else (),
        ),
        cache=Cache(_of(node, "cache.size")),
        metrics=Metrics(*(_of(node, f"metrics.{key}") for key in ("listen", "coredns", "lameduck"))),
        config_map=node["cluster.config_map"].value if "cluster.config_map" in node else None,
        log=Log(**_table(node, "log")),
        dnstap=Dnstap(**_table(node, "dnstap")),
        zones=tuple(_zone(name, fields) for name, fields in sorted((_excepted(zones) | zones).items())),
    )


def _excepted(zones: dict[str, Values]) -> dict[str, Values]:
    """The names of every `except`, each as a zone that does what the zone above the excepting one does."""
    found: dict[str, Values] = {}
    named = [name for name in zones if name]  # a domain with a problem has no name
    for name in named:
        given = zones[name].get("zone.except") or Given("", None)
        above = [other for other in named if other != name and (other == "." or name.endswith(f".{other}"))]
        if given.value and above:
            found |= dict.fromkeys(given.value, zones[max(above, key=len)])
    return found


def _zone(name: str, fields: Values) -> Zone:
    given = fields["zone.forward"].value if "zone.forward" in fields else Forward(())
    servers = given.servers
    return Zone(
        name=name,
        forward=tuple(map(over_tls, servers)) if _of(fields, "zone.transport") == "tls" else servers,
        resolv_conf=given.resolv_conf,
        policy=_of(fields, "zone.policy"),
        transport=_of(fields, "zone.transport"),
        success=_ttl(fields, "zone.success"),
        denial=_ttl(fields, "zone.denial"),
        serve_stale=Stale(
            _of(fields, "zone.serve_stale.max"),
            _of(fields, "zone.serve_stale.mode") == "immediate",
            _of(fields, "zone.serve_stale.prefer_positive"),
        ),
        prefetch=Prefetch(_of(fields, "zone.prefetch.hits"), _of(fields, "zone.prefetch.within")),
        max_concurrent=_of(fields, "zone.max_concurrent"),
        tls=Tls(
            fields["zone.tls.server_name"].value if "zone.tls.server_name" in fields else "",
            fields["zone.tls.ca"].value if "zone.tls.ca" in fields else None,
        ),
        dns0x20=_of(fields, "zone.dns0x20"),
        minimal=_of(fields, "zone.minimal"),
        rotate=_of(fields, "zone.rotate"),
        nxdomain=fields["zone.nxdomain"].value if "zone.nxdomain" in fields else (),
        rewrite=fields["zone.rewrite"].value if "zone.rewrite" in fields else None,
    )


def _ttl(fields: Values, kind: str) -> Ttl:
    # A max_ttl below the default min_ttl needs no second key: CoreDNS lets the maximum win as well.
    max_ttl = _of(fields, f"{kind}.max_ttl")
    return Ttl(max_ttl, min(_of(fields, f"{kind}.min_ttl"), max_ttl))


def with_stubs(config: Config, stubs: Mapping[str, Sequence[Endpoint]], upstreams: Sequence[Endpoint]) -> Config:
    """The config with a kube-dns ConfigMap over it, as node-cache reads one: stub domains, each cached for 30 s, and
    the root's servers. ConfigError for a server that is this service, or more zones than there may be."""
    zones = {zone.name: zone for zone in config.zones}
    for name, servers in (*stubs.items(), *([(".", upstreams)] if upstreams else ())):
        if any(server in config.node.listen for server in servers):
            raise ConfigError(Problem(name, "servers other than this one", ", ".join(map(str, servers))))
        plain = Zone(name, (), None, "random", "udp", Ttl(30, 5), Ttl(30, 5))
        zones[name] = replace(zones.get(name, plain), forward=tuple(servers), resolv_conf=None, transport="udp")
    if len(zones) > MAX_ZONES:
        raise ConfigError(Problem("stubDomains", f"at most {MAX_ZONES} zones in all", str(len(zones))))
    return replace(config, zones=tuple(zone for _, zone in sorted(zones.items())))


_EXAMPLE = """
cluster.dns = "127.0.0.1:5354"
node = { listen = "127.0.0.1:5353", workers = 2 }
cache.size = "8MiB"
zone = [{ name = ".", forward = "127.0.0.1:5354" }]
"""


def example() -> Config:
    """The config of `nodedns run --example`: loopback only, no root; `run_dir` is "", the caller replaces it."""
    config = parse(_EXAMPLE)
    return replace(config, node=replace(config.node, run_dir="", interface="none", netfilter="none"))


def restart_needed(old: Config, new: Config) -> tuple[str, ...]:
    """The RESTART_KEYS whose values differ, in alphabetical order: a reload must refuse these by name."""
    return tuple(path for path in sorted(RESTART_KEYS) if attrgetter(path)(old) != attrgetter(path)(new))
