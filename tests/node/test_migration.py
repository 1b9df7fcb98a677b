"""From a running node-cache to nodedns, and back: nobody is without an answer. Each drill prints its figures."""

import re
import time
from collections.abc import Iterator

import pytest

from tests.node.network import SERVICE_IP
from tests.node.node import ADDRESS, ROOT, Node
from tests.node.test_host import links, rules, state

RATE = 500  # what a node-cache of Python can do beside a load of Python
BESIDE = 'interface = "nodedns"\nbeside = "node-cache"\n'
UNIT = "[Service]\nExecStart=/usr/local/bin/node-cache {ips} {upstream} {iptables}\n"
SAID = "NodeLocal DNS Cache"


def node_cache(node: Node, iptables: str = "iptables-nft") -> None:
    """Starts the stand-in, and waits until it has made all of its rules."""
    node.write("/usr/local/bin/node-cache", (ROOT / "tests/node/node_cache.py").read_text(), 0o755)
    node.write(
        "/etc/systemd/system/node-cache.service",
        UNIT.format(ips=f"{ADDRESS},{SERVICE_IP}", upstream=node.authority.port, iptables=iptables),
    )
    node.run("systemctl", "daemon-reload", check=True)
    node.run("systemctl", "start", "node-cache", check=True)
    node.await_(lambda: node.run(f"{iptables}-save").count(SAID) == 24, "all rules made")
    assert node.outside("pod", "dig", "+short", f"@{SERVICE_IP}", "n1.load.test").strip()


def end_node_cache(node: Node, signal: str) -> None:
    """By a signal, and waits until it has ended."""
    node.run("kill", f"-{signal}", node.run("systemctl", "show", "-P", "MainPID", "node-cache"), check=True)
    node.await_(lambda: node.run("systemctl", "is-active", "node-cache") != "active", "ended")


@pytest.fixture(autouse=True)
def clean(node: Node) -> Iterator[None]:
    """Every drill begins with a host that has nothing of ours, and leaves one."""
    stop(node)
    yield
    stop(node)
    node.unpack()
    node.configure(node.authority.port)
    node.run("systemctl", "start", "nodedns", check=True)


def stop(node: Node) -> None:
    """Nothing of ours and of the stand-in's is left."""
    node.run("systemctl", "stop", "nodedns", "node-cache", "other-dns")
    node.run("systemctl", "reset-failed")
    node.run("nodedns", "cleanup", check=True)
    node.run("ip", "link", "del", "nodelocaldns")
    for backend in ("nft", "legacy"):
        for table in ("raw", "filter"):
            node.run(f"iptables-{backend}", "-t", table, "-F")


def start(node: Node, extra: str = BESIDE) -> None:
    """Configures and starts nodedns."""
    node.configure(node.authority.port, extra=extra)
    node.run("systemctl", "start", "nodedns")
    assert node.active(), node.journal()


@pytest.mark.parametrize(
    ("signal", "iptables"), [("TERM", "iptables-nft"), ("KILL", "iptables-nft"), ("TERM", "iptables-legacy")]
)
def test_take_over(node: Node, signal: str, iptables: str) -> None:
    """Started beside it, nodedns has every query; node-cache may hang, and end, in either way, and nobody notices. What
    a SIGKILL leaves is taken away by a command; without `beside`, all is as after a fresh start."""
    start(node, 'interface = "nodedns"\n')
    node.await_(node.steered, "steered, with a fallback")
    fresh = state(node)
    stop(node)
    node_cache(node, iptables)
    with node.everyone(RATE, slowest=2.5, tcp=3.0):
        start(node)
        time.sleep(1)  # in which node-cache answers what it has
        pid = node.run("systemctl", "show", "-P", "MainPID", "node-cache")
        node.run("kill", "-STOP", pid, check=True)
        time.sleep(1)  # the hang itself: TCP clients of node-cache wait for it, nobody else does
        if signal == "TERM":
            node.run("kill", "-CONT", pid, check=True)
        end_node_cache(node, signal)
        if signal == "KILL":
            assert node.run(f"{iptables}-save").count(SAID) == 24
            assert "nodelocaldns" in str(links(node))
            node.run("nodedns", "cleanup", "--node-cache", check=True)
        node.await_(node.steered, "steered, with a fallback")
        node.configure(node.authority.port, extra='interface = "nodedns"\n')
        node.run("systemctl", "restart", "nodedns", check=True)
    assert SAID not in node.run(f"{iptables}-save")
    assert state(node) == fresh


@pytest.mark.parametrize("when", ["before", "after"])
def test_back(node: Node, when: str) -> None:
    """A stop beside a node-cache, which was there before us or came later, gives all to it and leaves nothing."""
    if when == "before":
        node_cache(node)
    else:
        start(node)
        node.await_(node.steered, "steered, with a fallback")
    with node.everyone(RATE, slowest=2.5, tcp=3.0):
        if when == "before":
            start(node)
        else:
            node_cache(node)
        node.run("systemctl", "stop", "nodedns", check=True)
        time.sleep(0.5)  # of node-cache alone
    assert [name for name, alias, _ in links(node) if alias] == []
    assert "nodedns" not in str(rules(node))
    assert node.run("iptables-nft-save").count(SAID) == 24


def broken(node: Node) -> None:
    """A package whose workers end as soon as they are born."""
    node.write("/usr/lib/python3/dist-packages/nodedns/worker/main.py", "raise SystemExit(1)\n")


def test_a_start_that_fails_harms_nobody(node: Node) -> None:
    """Our sockets are bound, and no worker lives: node-cache has every query."""
    node_cache(node)
    broken(node)
    node.configure(node.authority.port, extra=BESIDE)
    with node.everyone(RATE, slowest=1.0, tcp=1.0):
        node.run("systemctl", "start", "--no-block", "nodedns", check=True)
        node.await_(lambda: node.journal().count("SystemExit") > 5, "failing")
        node.run("systemctl", "kill", "-s", "KILL", "nodedns", check=True)
        node.await_(lambda: node.journal().count("SystemExit") > 10, "failing again")
        node.run("systemctl", "stop", "nodedns", check=True)


def test_a_death_for_good(node: Node) -> None:
    """It has taken over, and then cannot come up any more: kube-dns answers, although node-cache's rules keep our
    addresses untracked."""
    node_cache(node)
    start(node)
    node.await_(node.steered, "steered, with a fallback")
    broken(node)
    before = node.asked(node.kube_dns)
    loads = [node.load(8, who, address) for who in ("pod", "node") for address in (ADDRESS, SERVICE_IP)]
    node.run("systemctl", "kill", "-s", "KILL", "nodedns", check=True)
    node.await_(lambda: node.asked(node.kube_dns) > before + 40, "served by kube-dns")
    for load in loads:
        assert load.verdict()["gap"] <= 4.0


@pytest.mark.parametrize("key", ["with the key", "without it"])
def test_refused(node: Node, key: str) -> None:
    """Without the key, a node-cache is; with it, anybody else: by name, and the host is as before."""
    if key == "without it":
        node_cache(node)
        said, extra = r'is pid \d+ \(node-cache\)\'s; to take over .* set node.beside = "node-cache"', ""
    else:
        share = "import socket,time; s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); s.setsockopt(1,15,1); "
        command = f"{share}s.bind(('0.0.0.0',53)); open('/proc/self/comm','w').write('unbound'); time.sleep(600)"
        node.run("systemd-run", "--unit=other-dns", "python3", "-c", command, check=True)
        node.await_(lambda: node.run("pgrep", "-x", "unbound"), "there")
        said, extra = r"169\.254\.20\.10:53 is taken by another process; stop other-dns\.service", BESIDE
    before = state(node)
    node.configure(node.authority.port, extra=extra)
    node.run("systemctl", "start", "--no-block", "nodedns", check=True)
    node.await_(lambda: re.search(said, node.journal()), "refused")
    node.run("systemctl", "stop", "nodedns", check=True)
    assert state(node) == before
