"""What others do to the host, what we do to it, and what a stop leaves; each drill prints its figures."""

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.node.network import SERVICE_IP, kube_proxy
from tests.node.node import ADDRESS, Node
from tests.service.service import Load

CLIENTS = [(who, address) for who in ("pod", "node") for address in (ADDRESS, SERVICE_IP)]
CLEAN = 'on_stop = "clean"\n'


@pytest.fixture(autouse=True)
def well(node: Node) -> Iterator[None]:
    """Every drill begins and ends with a service that is up, on the default config."""
    node.configure(node.authority.port)
    node.run("systemctl", "start", "nodedns")
    node.await_(node.steered, "active, with a fallback")
    node.run("systemctl", "reload", "nodedns", check=True)
    yield
    node.await_(node.active, "active")


def unharmed(load: Load, slowest: float = 1.0, lost: int = 0) -> None:
    """Nothing lost, nothing wrong, and in time."""
    verdict = load.verdict()
    assert verdict["lost"] <= lost
    assert verdict["wrong"] == 0
    assert verdict["slowest"] <= slowest


def rules(node: Node) -> dict[str, list[str]]:
    """The rules of each chain, without handles and counters; chains that have none do not count."""
    legacy = node.outside("node", "iptables-legacy-save")
    found: dict[str, list[str]] = {"legacy": re.sub(r"(?m)^#.*$|\[\d+:\d+\]", "", legacy).split()}
    for item in json.loads(node.outside("node", "nft", "-j", "-s", "list", "ruleset"))["nftables"]:
        if rule := item.get("rule"):
            text = json.dumps([part for part in rule["expr"] if "counter" not in part])
            found.setdefault(f"{rule['family']} {rule['table']} {rule['chain']}", []).append(text)
    return found


def links(node: Node) -> list[tuple[str, str, list[str]]]:
    """Names, aliases and addresses of all links."""
    found = json.loads(node.outside("node", "ip", "-j", "-d", "address"))
    return sorted(
        (
            one["ifname"],
            one.get("ifalias", ""),
            sorted(at["local"] for at in one["addr_info"] if not at["local"].startswith("fe80:")),
        )
        for one in found
    )


def state(node: Node) -> tuple[list[tuple[str, str, list[str]]], dict[str, list[str]]]:
    """The host: links, addresses, netfilter."""
    return links(node), rules(node)


def test_nothing_is_tracked(node: Node) -> None:
    """While we serve, no conntrack entry has one of our addresses: UDP and TCP, pod and host."""
    for who, address in CLIENTS:
        for option in ("+notcp", "+tcp"):
            answer = node.outside(who, "dig", option, "+tries=1", "+short", f"@{address}", "n1.load.test")
            assert answer.strip(), (who, address, option)
    entries = node.outside("node", "cat", "/proc/net/nf_conntrack")
    assert "tcp" in entries or "udp" in entries or entries == ""
    assert not [line for line in entries.splitlines() if f"dst={ADDRESS} " in line and "dport=53" in line]
    assert not [line for line in entries.splitlines() if f"dst={SERVICE_IP} " in line and "dport=53" in line]


def test_a_clean_stop(node: Node) -> None:
    """The host is as it was before the start; the Service IP is kube-dns's, and loses nothing on the way, both ways."""
    node.configure(node.authority.port, extra=CLEAN)
    node.run("systemctl", "reload", "nodedns", check=True)
    node.run("systemctl", "stop", "nodedns", check=True)
    before, seen = state(node), node.asked(node.kube_dns)
    with node.load(2000, "pod", SERVICE_IP) as load:
        node.run("systemctl", "start", "nodedns", check=True)
        assert "nodedns" in str(state(node))
        node.run("systemctl", "stop", "nodedns", check=True)
        assert state(node) == before
        assert node.asked(node.kube_dns) > seen
        unharmed(load)
    assert not (node.path / "var/lib/nodedns/failopen.nft").exists()
    node.run("systemctl", "start", "nodedns", check=True)


def test_a_stop_that_fails_open(node: Node) -> None:
    """Both addresses keep answering, pod and host, with nothing of ours running; a start takes over again."""
    seen = node.asked(node.authority)
    with ExitStack() as stack:
        loads = [stack.enter_context(node.load(500, who, address)) for who, address in CLIENTS]
        node.run("systemctl", "stop", "nodedns", check=True)
        assert node.run("pgrep", "-f", "nodedns run") == ""
        before = node.asked(node.kube_dns)
        node.await_(lambda: node.asked(node.kube_dns) > before + 1000, "served by kube-dns")
        node.run("systemctl", "start", "nodedns", check=True)
        for load in loads:
            load.stop()
        for load in loads:
            unharmed(load)
    assert node.asked(node.authority) > seen  # a stop takes the cache away


def flush_all(node: Node) -> None:
    node.run("nft", "flush", "ruleset", check=True)


def flush_iptables(node: Node) -> None:
    node.run("iptables", "-F", check=True)


def flush_raw(node: Node) -> None:
    node.run("iptables", "-t", "raw", "-F", check=True)


def delete_link(node: Node) -> None:
    node.run("ip", "link", "del", "nodelocaldns", check=True)


def delete_address(node: Node) -> None:
    node.run("ip", "address", "del", f"{ADDRESS}/32", "dev", "nodelocaldns", check=True)


@pytest.mark.parametrize("what", [flush_all, flush_iptables, flush_raw, delete_link, delete_address])
def test_what_others_undo_is_put_right(node: Node, what: Callable[[Node], None]) -> None:
    """Within a second link, addresses and rules are as before, and from a pod nothing is lost: while the address is
    not here, kube-dns has the queries."""
    before = state(node)
    with node.load(1000, "pod", SERVICE_IP) as load:
        began = time.monotonic()
        what(node)
        if what is flush_all:
            node.feed(kube_proxy(), "iptables-nft-restore", "--noflush")
        node.await_(lambda: state(node) == before, "put right")
        took = time.monotonic() - began
        print(f"{what.__name__}: put right after {took:.2f} s")
        # A query that is being answered in the very moment has no address to be answered from.
        unharmed(load, lost=2 if what is delete_link else 0)
    assert took <= 1.5  # what two readings of the state take included


def test_another_agent_that_keeps_undoing(node: Node) -> None:
    """Put right again and again, ever more slowly, and said so."""
    for _ in range(7):
        if "another agent keeps undoing" in node.journal():
            break
        before = state(node)
        node.run("nft", "delete", "table", "inet", "nodedns", check=True)
        node.await_(lambda wanted=before: state(node) == wanted, "put right")
    node.await_(lambda: "another agent keeps undoing" in node.journal(), "in the journal")


def test_dead_leftovers(node: Node) -> None:
    """Rules and link of a former life, a table of another layout: the start converges, and says what it put right."""
    node.configure(node.authority.port, extra=CLEAN)
    node.run("systemctl", "reload", "nodedns", check=True)
    before = state(node)
    node.run("systemctl", "stop", "nodedns", check=True)
    node.feed("table inet nodedns { chain old { }; }\n", "nft", "-f", "-")
    node.feed(
        "*filter\n:NODEDNS-INPUT - [0:0]\n-A INPUT -j NODEDNS-INPUT\nCOMMIT\n", "iptables-nft-restore", "--noflush"
    )
    node.run("ip", "link", "add", "nodelocaldns", "type", "bridge", check=True)
    node.run("ip", "link", "set", "nodelocaldns", "alias", "nodedns", check=True)  # without it, the link is others'
    node.run("ip", "address", "add", "10.9.9.9/32", "dev", "nodelocaldns", check=True)
    node.run("mkdir", "-p", "/run/nodedns", check=True)
    node.write("/run/nodedns/cache", "of another kind")
    node.run("systemctl", "start", "nodedns", check=True)
    assert rules(node) == before[1]
    assert [(name, at) for name, _, at in links(node)] == [(name, at) for name, _, at in before[0]]
    for said in ("removed 10.9.9.9 from nodelocaldns", "put right nftables table inet nodedns", "cache: made anew"):
        assert said in node.journal()


def test_an_upgrade(node: Node) -> None:
    """New code on disk and a restart, under load: nothing lost, link and rules untouched, the cache kept."""
    handles = node.run("nft", "-a", "list", "table", "inet", "nodedns")
    handles, link = re.sub(r"elements = {[^}]*}", "", handles), node.run("ip", "link", "show", "nodelocaldns")
    node.warm()
    with node.load(2000, "pod", SERVICE_IP) as load:
        seen = node.asked(node.authority)
        node.unpack()
        version = node.path / "usr/lib/python3/dist-packages/nodedns/__init__.py"
        version.write_text(re.sub(r'__version__ = "[^"]*"', '__version__ = "99.0"', version.read_text()))
        node.run("systemctl", "restart", "nodedns", check=True)
        assert node.asked(node.authority) == seen
        unharmed(load, 1.5)
    assert '"version": "99.0"' in (node.path / "run/nodedns/status.json").read_text()
    after = re.sub(r"elements = {[^}]*}", "", node.run("nft", "-a", "list", "table", "inet", "nodedns"))
    assert (after, node.run("ip", "link", "show", "nodelocaldns")) == (handles, link)
    node.unpack()
    node.run("systemctl", "restart", "nodedns", check=True)


def test_a_pause_of_the_machine(node: Node) -> None:
    """SIGSTOP of every process for ten seconds, then SIGCONT: no worker is taken for hung."""
    before = node.workers()
    node.pause(10)
    with node.load(1000) as load:
        node.await_(lambda: node.asked(node.authority) >= 0, "answering")
        unharmed(load)
    assert node.workers() == before
    assert '"restarts": 0' in (node.path / "run/nodedns/status.json").read_text()


def test_systemd_resolved_asks_us(node: Node) -> None:
    """A node whose programs ask systemd-resolved, and it us: it finds us fit for EDNS and what it likes to try."""
    folder = node.path / "etc/systemd/resolved.conf.d"
    folder.mkdir(exist_ok=True)
    (folder / "nodedns.conf").write_text(f"[Resolve]\nDNS={ADDRESS}\nDomains=~.\nCache=no\n")
    node.run("systemctl", "start", "systemd-resolved", check=True)
    try:
        for _ in range(3):
            assert "n1.load.test: " in node.run("resolvectl", "query", "-4", "n1.load.test")
            assert "not found" in node.complaints("resolvectl", "query", "-4", "x1.load.test")
        server = node.run("resolvectl", "dns") + node.run("resolvectl", "statistics")
        assert ADDRESS in server
        assert "degraded" not in node.run("journalctl", "-u", "systemd-resolved", "--no-pager")
    finally:
        node.run("systemctl", "stop", "systemd-resolved", check=True)
