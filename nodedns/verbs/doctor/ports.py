"""Who has our ports?"""

import contextlib
import json
import os
import socket
from collections.abc import Iterator

from nodedns.config import Config, Endpoint
from nodedns.config_model import NODE_CACHE
from nodedns.supervisor.owner import owners
from nodedns.verbs.doctor.scene import Finding, Scene, bad, note, well

_KINDS = {socket.SOCK_DGRAM: "UDP", socket.SOCK_STREAM: "TCP"}
_ADVICE = {
    "dnsmasq": "give dnsmasq bind-interfaces and its own listen-address, or take it away",
    "systemd-resolve": "take our address out of DNSStubListenerExtra in resolved.conf",
    NODE_CACHE: "NodeLocal DNSCache serves here: to take over from it, see docs/migrate.md",
    "named": "give BIND a listen-on of its own addresses",
    "unbound": "give unbound an interface of its own",
    "coredns": "give that CoreDNS a `bind` of its own",
}


def held(scene: Scene) -> Iterator[Finding]:
    """A port of ours that somebody else holds, on our address or on all."""
    ours, found = _pids(scene.run_dir), False
    for at, kind in _wanted(scene.config):
        family = socket.AF_INET6 if ":" in at.address else socket.AF_INET
        for who in owners(family, kind, at.address, at.port):
            if who.pid not in ours and _parent(who.pid) not in ours:
                found = True
                if who.name == scene.config.node.beside:
                    yield note(f"port {at.port}: {_KINDS[kind]} {at} is shared with {who}", "delete its DaemonSet")
                    continue
                advice = _ADVICE.get(who.name, f"stop {who.name}, or give it an address of its own")
                yield bad(f"port {at.port}: {_KINDS[kind]} {at} is held by {who}", advice)
    if not found:
        yield well("port: nobody else holds one of ours")
    if os.geteuid() != 0:
        yield note("port: only root sees who holds one", "run it as root")


def _wanted(config: Config) -> Iterator[tuple[Endpoint, socket.SocketKind]]:
    for at in config.node.listen:
        yield from ((at, kind) for kind in _KINDS)
    if config.metrics.listen:
        yield config.metrics.listen, socket.SOCK_STREAM


def _pids(run_dir: str) -> set[int]:
    """The parent's."""
    with contextlib.suppress(OSError, ValueError, KeyError), open(f"{run_dir}/status.json", "rb") as file:
        return {int(json.load(file)["pid"])}
    return set()


def _parent(pid: int) -> int:
    """proc(5): "pid (comm) state ppid ..."; comm may have any character in it."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
        return int(file.read().rpartition(")")[2].split()[1])
    return 0
