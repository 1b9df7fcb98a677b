"""The kube-dns ConfigMap as a directory: stubDomains and upstreamNameservers, JSON each, with node-cache's checks."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from nodedns.config_servers import Endpoint, endpoint
from nodedns.config_values import ConfigError
from nodedns.config_values import name as zone_name
from nodedns.verbs.errors import Failed
from nodedns.verbs.importer.convert import Import, ZoneOut
from nodedns.verbs.importer.manifest import DEFAULTS

Kind = TypeVar("Kind", dict[str, object], list[object])
MAX_UPSTREAMS = 3
TTL = {"success": (30, 5), "denial": (30, 5)}
"""node-cache writes `cache 30` into each stub domain's block."""


def alone(variables: Mapping[str, str]) -> Import:
    """The start when there is no Corefile. Failed without CLUSTER__DNS: the ConfigMap does not say it."""
    if "CLUSTER__DNS" not in variables:
        raise Failed("expected kube-dns's address beside a ConfigMap; give it: --pillar CLUSTER__DNS=IP")
    domain = variables.get("DNS__DOMAIN", DEFAULTS["DNS__DOMAIN"]).rstrip(".") + "."
    return Import(domain, variables["CLUSTER__DNS"].replace(",", " ").split())


def add(made: Import, folder: Path) -> None:
    """Adds what the directory says to what a Corefile has said; its upstreams replace the root's. Failed for the first
    fault: node-cache would go on with the old config."""
    stubs, upstreams = read(folder)
    for name, servers in stubs.items():
        made.zones[name] = ZoneOut(name, list(map(str, servers)), ttl=dict(TTL))
    if upstreams:
        root = made.zones.setdefault(".", ZoneOut(".", ttl=dict(TTL)))
        root.forward, root.transport = list(map(str, upstreams)), "udp"
    if _read(folder / "federations", dict):
        made.lost.append("federations: Kubernetes has none any more")


def read(directory: str | Path) -> tuple[dict[str, list[Endpoint]], list[Endpoint]]:
    """Servers by stub domain, and the root's. Failed for the first fault."""
    folder = Path(directory)
    stubs: dict[str, list[Endpoint]] = {}
    for domain, servers in _read(folder / "stubDomains", dict).items():
        where = f"{folder}/stubDomains: {domain!r}"
        try:
            stubs[zone_name(domain)] = _servers(where, servers)
        except ConfigError as error:
            raise Failed(f"{where}: {error}") from None
    upstreams = _read(folder / "upstreamNameservers", list)
    if len(upstreams) > MAX_UPSTREAMS:
        raise Failed(f"{folder}/upstreamNameservers: expected at most {MAX_UPSTREAMS} servers, got {len(upstreams)}")
    return stubs, _servers(f"{folder}/upstreamNameservers", upstreams) if upstreams else []


def _read(path: Path, kind: type[Kind]) -> Kind:
    """JSON of that kind; empty when there is no such file, or nothing in it."""
    try:
        text = path.read_text(encoding="utf-8")[: 1 << 20]
        value: object = json.loads(text) if text.strip() else kind()
    except FileNotFoundError:
        return kind()
    except (ValueError, RecursionError) as error:
        raise Failed(f"{path}: expected JSON, got {error}") from None
    if not isinstance(value, kind):
        raise Failed(f"{path}: expected a JSON {'object' if kind is dict else 'list'}, got {type(value).__name__}")
    return value


def _servers(where: str, values: object) -> list[Endpoint]:
    if not isinstance(values, list) or not values:
        raise Failed(f"{where}: expected a list of servers, got {str(values)[:60]}")
    try:
        return [endpoint(value) for value in values]
    except ConfigError as error:
        raise Failed(f"{where}: expected IP or IP:port, got {error}") from None
