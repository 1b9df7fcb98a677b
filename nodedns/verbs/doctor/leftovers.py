"""What a service that is gone has left: ours, and NodeLocal DNSCache's."""

from collections.abc import Iterator
from pathlib import Path

from nodedns.host.commands import there
from nodedns.host.link import ALIAS
from nodedns.host.netfilter import firewall, steering
from nodedns.host.netfilter.detect import saved
from nodedns.host.netfilter.iptables import BACKENDS, CHAINS
from nodedns.host.node_cache import TABLES, rules
from nodedns.verbs.doctor.scene import Finding, Scene, note, well
from nodedns.verbs.service import Service


def _links() -> Iterator[str]:
    for path in sorted(Path("/sys/class/net").iterdir()):
        alias = path / "ifalias"
        if alias.exists() and alias.read_text().strip() == ALIAS:
            yield f"link {path.name}"


def _rules() -> Iterator[str]:
    if there("nft"):
        if steering.found() is not None:
            yield f"nftables table {steering.TABLE}"
        yield from (f"a rule in nftables chain {chain}" for chain in firewall.marked())
    for backend in BACKENDS:
        for family in ("ip", "ip6"):
            if any(f":{chain} " in saved(backend, family, "filter") for chain in CHAINS):
                yield f"{family}tables chains ({backend})"


def of_ours(scene: Scene) -> Iterator[Finding]:
    """Beside a service that runs they are no leftovers."""
    there_are = [*_links(), *_rules()]
    if Service(scene.run_dir, {}).alive:
        yield well(f"service: it runs, with {', '.join(there_are) or 'neither link nor rules'}")
    elif there_are:
        advice = "they send queries to kube-dns until nodedns starts; `nodedns cleanup` takes them away"
        yield note(f"service: it does not run, and left {', '.join(there_are)}", advice)
    else:
        yield well("service: it does not run, and left nothing")


def of_node_cache(scene: Scene) -> Iterator[Finding]:
    """Its rules outlive a SIGKILL, and keep our addresses untracked: nobody takes over while we are down."""
    tables = [f"{backend} {table}" for backend in BACKENDS for table in TABLES if _has_rules(backend, table)]
    if tables:
        advice = "delete its DaemonSet first; `nodedns cleanup --node-cache` takes away what it leaves"
        yield note(f"node-cache: its rules are in {', '.join(tables)}", advice)


def _has_rules(backend: str, table: str) -> bool:
    return any(True for family in ("ip", "ip6") for _ in rules(backend, family, table))
