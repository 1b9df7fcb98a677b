"""The node's own resolver: does it go round in a circle, and do our upstreams answer?"""

import time
from collections.abc import Iterator

from nodedns.config import Endpoint
from nodedns.query_wire import Failed, exchange, labels_of
from nodedns.verbs.doctor.scene import Finding, Scene, bad, note, well

_PATIENCE = 2.0
"""Seconds for an upstream's answer."""


def _nameservers(text: str) -> list[str]:
    lines = (line.split() for line in text.splitlines())
    return [words[1] for words in lines if len(words) > 1 and words[0] == "nameserver"]


def stub(scene: Scene) -> Iterator[Finding]:
    """systemd-resolved's stub on 127.0.0.53 is no upstream for pods' names, and an extra one may sit on our address."""
    for path in ["/etc/systemd/resolved.conf", *scene.files("etc/systemd/resolved.conf.d/*.conf")]:
        for line in scene.text(path).splitlines():
            key, _, value = line.strip().partition("=")
            if key.strip() == "DNSStubListenerExtra" and any(address in value for address in scene.addresses):
                yield bad(f"resolved: {path}: {line.strip()}", "take our address out, and restart systemd-resolved")
    for zone in scene.config.zones:
        if zone.resolv_conf and "127.0.0.53" in _nameservers(scene.text(zone.resolv_conf)):
            better = "/run/systemd/resolve/resolv.conf"
            yield note(f"resolved: {zone.resolv_conf} names its stub 127.0.0.53", f'forward = ["{better}"] saves a hop')


def own_address(scene: Scene) -> Iterator[Finding]:
    """Our address in the file that our upstreams come from: a circle."""
    for path in sorted({zone.resolv_conf for zone in scene.config.zones if zone.resolv_conf}):
        mine = scene.addresses.intersection(_nameservers(scene.text(path)))
        others = set(_nameservers(scene.text(path))) - mine
        if mine and not others:
            yield bad(f"resolv.conf: {path} names nobody but us ({', '.join(sorted(mine))})", "name a real upstream")
        elif mine:
            yield note(f"resolv.conf: {path} names us; we do not ask ourselves", "take it out of the node's own file")


def upstreams(scene: Scene) -> Iterator[Finding]:
    """One question to each server; any answer will do."""
    asked: dict[tuple[Endpoint, str], str] = {}
    for zone in scene.config.zones:
        for server in (at for at in zone.forward if not at.tls and not at.is_name):
            asked.setdefault((server, zone.transport), zone.name)
    for (server, transport), zone_name in asked.items():
        began = time.monotonic()
        try:
            exchange(labels_of(zone_name), 6, server, transport == "tcp", _PATIENCE)  # SOA
        except (Failed, OSError) as error:
            yield bad(
                f"upstream: {server} over {transport} ({zone_name}): {': '.join(map(str, error.args))}",
                "is it there, is there a route?",
            )
        else:
            yield well(f"upstream: {server} over {transport} ({zone_name}): {(time.monotonic() - began) * 1000:.0f} ms")
