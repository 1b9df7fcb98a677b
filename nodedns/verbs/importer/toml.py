"""An import as the text of a config file, for people to read: only what differs from our defaults."""

import json
from collections.abc import Iterator

from nodedns.core.spelling import printable
from nodedns.verbs.importer.convert import Import, ZoneOut

ARPA = ("in-addr.arpa.", "ip6.arpa.")


def render(made: Import) -> str:
    """nodedns.toml."""
    lines = ["# Made by nodedns import."]
    lines += [f"# Not carried over: {printable(line)}" for line in made.lost]
    lines += ["", "[cluster]", f"dns = {_list(made.dns)}"]
    if made.domain != "cluster.local.":
        lines.append(f"domain = {_text(made.domain.rstrip('.'))}")
    if made.listen or made.hosts:
        lines += ["", "[node]"]
        lines += [f"listen = {_list(made.listen)}"] if made.listen else []
        lines += [f"hosts = {_text(made.hosts)}"] if made.hosts else []
    if made.scraped not in ("", "127.0.0.1:9253") or made.lameduck:
        lines += ["", "[metrics]"]
        lines += [f"listen = {_text(made.scraped)}"] if made.scraped else []
        lines += [f"lameduck = {made.lameduck}"] if made.lameduck else []
    for zone in made.zones.values():
        lines += ["", *_zone(zone, made)]
    return "\n".join([*lines, ""])


def _zone(zone: ZoneOut, made: Import) -> Iterator[str]:
    yield "[[zone]]"
    yield f"name = {_text(zone.name)}"
    own = zone.name == made.domain or zone.name in ARPA
    if zone.forward and not (own and zone.forward == made.dns):
        yield f"forward = {_list(zone.forward)}"
    if zone.excepted:
        yield f"except = {_list(zone.excepted)}"
    if zone.transport != ("tcp" if own else "udp"):
        yield f"transport = {_text(zone.transport)}"
    if zone.policy != "random":
        yield f"policy = {_text(zone.policy)}"
    for kind, (longest, shortest) in zone.ttl.items():
        yield f"{kind} = {{ max_ttl = {longest}, min_ttl = {shortest} }}"
    if zone.stale:
        yield f"serve_stale.max = {zone.stale[0]}"
        yield f"serve_stale.mode = {_text(zone.stale[1])}"
    for key, value in zone.flags.items():
        yield f"{key} = {value}"


def _text(value: str) -> str:
    """A basic string: JSON's escapes are TOML's, but for surrogates, which TOML has not, and DEL, which JSON leaves."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _list(values: list[str]) -> str:
    return f"[{', '.join(map(_text, values))}]"
