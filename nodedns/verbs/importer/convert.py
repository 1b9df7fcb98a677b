"""Server blocks -> zones, in our words; and everything that has none, with the reason."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from nodedns.config_servers import certified, scraped
from nodedns.config_servers import server as asked
from nodedns.config_values import MAX_LAMEDUCK, ConfigError, choice, percent, seconds
from nodedns.config_values import name as zone_name
from nodedns.verbs.importer.corefile import Directive

BUILT_IN = frozenset({"errors", "reload", "loop", "bind", "debug", "pprof", "trace", "cancel"})
"""Nothing is lost: our journal, our reload and our checks do it, or it is of use to nobody but CoreDNS."""
REASONS = {
    "ready": "it is at /ready, where metrics.listen is",
    "hosts": "only one whole file, the same for all zones, has a place: node.hosts",
    "log": "see log.queries: of all zones, bounded, and off by default",
    "template": "only NXDOMAIN for the whole zone is known: `template ANY ANY { rcode NXDOMAIN }`; see zone.nxdomain",
    "rewrite": "only `rewrite name suffix FROM TO` in the root's block is known; see zone.rewrite",
    "bufsize": "upstreams are asked with 1232 octets of EDNS always",
}
FORWARD = {
    "tls": "a client's certificate has no place",
    "max_concurrent": "expected one number",
}
HOSTS_OPTIONS = frozenset({"fallthrough", "ttl", "reload", "no_reverse"})
NO_LOSS = frozenset({"expire", "health_check", "max_fails", "prefer_udp", "max_connect_attempts"})
"""Knobs of a mechanism that we have in another form: health by answers, back-off, connections kept while used."""
CACHE = {
    "prefetch": "the time between hits has no place: hits are counted since the answer was fetched",
    "servfail": "failures are kept 5 s",
    "disable": "the cache cannot be switched off by kind",
    "keepttl": "TTLs count down",
}
DEFAULT_TTL = {"success": 3600, "denial": 1800}
"""CoreDNS's cache plugin without a number."""


@dataclass(slots=True)
class ZoneOut:
    """One [[zone]] to be written. TTLs are (max, min) in seconds."""

    name: str
    forward: list[str] = field(default_factory=list)
    policy: str = "random"
    transport: str = "udp"
    ttl: dict[str, tuple[int, int]] = field(default_factory=dict)
    stale: tuple[int, str] | None = None
    flags: dict[str, str] = field(default_factory=dict)
    """More keys, each with its value as TOML writes it."""
    excepted: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Import:
    """What is to be written, and what was `lost`, a line each."""

    domain: str = "cluster.local."
    dns: list[str] = field(default_factory=list)
    listen: list[str] = field(default_factory=list)
    hosts: str = ""
    scraped: str = ""
    lameduck: int = 0
    zones: dict[str, ZoneOut] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)


def convert(blocks: Iterable[Directive], variables: Mapping[str, str]) -> Import:
    """Every zone of every block. The cluster's own is that of DNS__DOMAIN, or the one that kube-dns serves: not the
    root, no reverse zone."""
    made = Import()
    for block in blocks:
        for key in block.words:
            _server(made, key, block)
    domain = variables.get("DNS__DOMAIN", "cluster.local").rstrip(".") + "."
    own = [name for name in made.zones if name != "." and not name.endswith(".arpa.")]
    made.domain = domain if domain in made.zones or not own else own[0]
    if made.domain in made.zones:
        made.dns = made.zones[made.domain].forward
    elif "CLUSTER__DNS" in variables:
        made.dns = variables["CLUSTER__DNS"].replace(",", " ").split()
    return made


def _server(made: Import, key: str, block: Directive) -> None:
    def lost(where: Directive, what: str, why: str) -> None:
        made.lost.append(f"line {where.line}, {key}: {what}: {why}")

    address = key.removeprefix("dns://")
    name, _, port = address.rpartition(":") if address.rpartition(":")[2].isdigit() else (address, "", "53")
    if "://" in address or port != "53":
        return lost(block, "block", "only plain DNS on port 53 is served")
    try:
        zone = ZoneOut(zone_name(name or "."))
    except ConfigError as error:
        return lost(block, name, f"no name of a zone: {error}")
    if zone.name in made.zones:
        return lost(block, "block", "the zone stands in the file already")
    for directive in block.block:
        try:
            _directive(made, zone, directive, lost)
        except ConfigError as error:
            lost(directive, " ".join(directive.words), str(error).lstrip(": "))
    for kind, longest in DEFAULT_TTL.items():
        zone.ttl.setdefault(kind, (longest, 5))
    if zone.forward or "nxdomain" in zone.flags:
        made.zones[zone.name] = zone
    else:
        lost(block, "block", "it forwards to nobody we could ask")
    return None


Lost = Callable[[Directive, str, str], None]


def _directive(made: Import, zone: ZoneOut, directive: Directive, lost: Lost) -> None:
    if directive.name == "forward":
        _forward(zone, directive, lost)
    elif directive.name == "cache":
        _cache(zone, directive, lost)
    elif directive.name in _OF_THE_NODE:
        _OF_THE_NODE[directive.name](made, directive, lost)
    elif directive.name == "hosts" and _is_file(directive) and made.hosts in ("", directive.args[0]):
        made.hosts = directive.args[0]
    elif directive.name == "loadbalance" and directive.args in ((), ("round_robin",)):
        zone.flags["rotate"] = "true"
    elif directive.name == "minimal":
        zone.flags["minimal"] = "true"
    elif directive.name == "template" and _denies_all(directive):
        zone.flags["nxdomain"] = '["**"]'
    elif directive.name == "rewrite" and zone.name == "." and _suffix(made, directive):
        pass
    elif directive.name not in BUILT_IN:
        reason = REASONS.get(directive.name, "there is nothing like it in this version")
        lost(directive, " ".join(directive.words), reason)


def _prometheus(made: Import, directive: Directive, lost: Lost) -> None:
    """`prometheus [ADDRESS]`: one for all zones."""
    host, _, port = (*directive.args, "localhost:9153")[0].rpartition(":")
    at = str(scraped(f"{ {'': '0.0.0.0', 'localhost': '127.0.0.1'}.get(host, host) }:{port}"))
    if made.scraped not in ("", at):
        lost(directive, " ".join(directive.words), f"one address serves the metrics of all zones: {made.scraped}")
    made.scraped = made.scraped or at


def _health(made: Import, health: Directive, lost: Lost) -> None:
    lost(health, " ".join(health.words), "it is at /health, where metrics.listen is")
    for option in health.block:
        if option.name == "lameduck" and option.args:
            try:
                made.lameduck = seconds(0, MAX_LAMEDUCK)(option.args[0])
            except ConfigError as error:
                lost(option, " ".join(option.words), str(error).lstrip(": "))


def _bind(made: Import, bind: Directive, _lost: Lost) -> None:
    made.listen += [address for address in bind.args if address not in made.listen]


_OF_THE_NODE = {"bind": _bind, "prometheus": _prometheus, "metrics": _prometheus, "health": _health}


def _denies_all(template: Directive) -> bool:
    """`template ANY ANY [ZONE] { rcode NXDOMAIN }`, and no condition."""
    options = [option.words for option in template.block]
    return template.args[:2] == ("ANY", "ANY") and len(template.args) < 4 and options == [("rcode", "NXDOMAIN")]


def _suffix(made: Import, rewrite: Directive) -> bool:
    """`rewrite [stop|continue] name suffix FROM TO [answer auto]`: a zone of its own."""
    words = rewrite.args[1:] if rewrite.args[:1] in (("stop",), ("continue",)) else rewrite.args
    if words[:2] != ("name", "suffix") or words[4:] not in ((), ("answer", "auto")) or len(words) < 4:
        return False
    try:
        old, new = (zone_name(word.lstrip(".")) for word in words[2:4])
    except ConfigError:
        return False
    made.zones[old] = ZoneOut(old, flags={"rewrite": f'"{new}"'})
    return True


def _is_file(hosts: Directive) -> bool:
    """One file, and nothing that it would not do by itself; inline entries have no place in our config."""
    known = all(option.name in HOSTS_OPTIONS for option in hosts.block)
    return known and len(hosts.args) == 1 and hosts.args[0].startswith("/")


def _forward(zone: ZoneOut, directive: Directive, lost: Lost) -> None:
    if not directive.args or directive.args[0].rstrip(".") not in ("", zone.name.rstrip(".")):
        return lost(directive, " ".join(directive.words), "only the whole zone can be forwarded")
    for server in directive.args[1:]:
        plain = server.removeprefix("dns://")
        try:
            zone.forward.append(plain if plain.startswith("/") else str(asked(plain)))
        except ConfigError:
            lost(directive, server, "no such server can be asked")
    for option in directive.block:
        _forward_option(zone, option, lost)
    return None


def _forward_option(zone: ZoneOut, option: Directive, lost: Lost) -> None:
    if option.name == "force_tcp":
        zone.transport = "tcp"
    elif option.name == "policy" and option.args:
        zone.policy = option.args[0]
    elif option.name == "max_concurrent" and option.args and option.args[0].isdigit():
        zone.flags["max_concurrent"] = str(int(option.args[0]))
    elif option.name == "tls_servername" and option.args:
        zone.flags["tls.server_name"] = f'"{certified(option.args[0])}"'
    elif option.name == "tls" and not option.args:
        pass
    elif option.name == "except":
        _except(zone, option, lost)
    elif option.name not in NO_LOSS:
        reason = FORWARD.get(option.name, "there is nothing like it in this version")
        lost(option, " ".join(option.words), reason)


def _except(zone: ZoneOut, option: Directive, lost: Lost) -> None:
    for name in option.args:
        try:
            outside = zone_name(name)
        except ConfigError as error:
            lost(option, name, str(error).lstrip(": "))
            continue
        if zone.name == ".":
            lost(option, f"except {name}", "CoreDNS refuses it; give it a [[zone]] of its own")
        elif outside.endswith("." + zone.name):
            zone.excepted.append(outside)
        # a name outside of the zone never gets there


def _cache(zone: ZoneOut, directive: Directive, lost: Lost) -> None:
    """`cache [TTL] [ZONES]`, and in its block `success|denial CAPACITY [TTL] [MINTTL]`; our capacity is in bytes."""
    numbers = [int(word) for word in directive.args[:1] if word.isdigit()]
    for kind in DEFAULT_TTL if numbers else ():
        zone.ttl[kind] = _bounds(numbers[0], 5)
    if directive.args[len(numbers) :]:
        lost(directive, " ".join(directive.words), "a zone is cached as a whole")
    for option in directive.block:
        if option.name in DEFAULT_TTL and all(word.isdigit() for word in option.args):
            given = [int(word) for word in option.args[1:3]]
            default = zone.ttl.get(option.name, (DEFAULT_TTL[option.name], 5))
            zone.ttl[option.name] = _bounds(*(given + list(default)[len(given) :]))
        elif option.name == "prefetch" and option.args[:1] and option.args[0].isdigit():
            _prefetch(zone, option, lost)
        elif option.name == "serve_stale_policy" and option.args == ("prefer_positive",):
            zone.flags["serve_stale.prefer_positive"] = "true"
        elif option.name == "serve_stale" and len(option.args) < 3:
            _stale(zone, option, lost)
        else:
            reason = CACHE.get(option.name, "there is nothing like it in this version")
            lost(option, " ".join(option.words), reason)


def _prefetch(zone: ZoneOut, option: Directive, lost: Lost) -> None:
    """`prefetch AMOUNT [DURATION [PERCENTAGE%]]`."""
    zone.flags["prefetch.hits"] = str(min(255, int(option.args[0])))
    if option.args[2:]:
        zone.flags["prefetch.within"] = f'"{percent(option.args[2])}%"'
    if option.args[1:]:
        lost(option, option.args[1], CACHE["prefetch"])


def _stale(zone: ZoneOut, option: Directive, lost: Lost) -> None:
    """`serve_stale [DURATION] [immediate|verify]`; CoreDNS's defaults are an hour and immediate."""
    duration, mode = (*option.args, *("1h", "immediate")[len(option.args) :])
    try:
        zone.stale = (seconds(0)(duration), choice("verify", "immediate")(mode))
    except ConfigError as error:
        lost(option, " ".join(option.words), str(error).lstrip(": "))


def _bounds(longest: int, shortest: int) -> tuple[int, int]:
    """CoreDNS takes a minimum above the maximum for the maximum's value; ours must say so."""
    return max(1, longest), min(shortest, max(1, longest))
