"""Upgrade, rollback and removal of nodedns on two nodes by the playbooks, under load."""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.node.debs import LATER, OURS, Debs, control, make_refusing, variant
from tests.node.fleet import KUBELET, KUBELET_CONFIG, Fleet, fleet, no_ansible
from tests.node.network import SERVICE_IP
from tests.node.node import ADDRESS, Node
from tests.node.test_host import links, rules, unharmed

RATE = 200
CLIENTS = [("pod", ADDRESS), ("pod", SERVICE_IP), ("node", ADDRESS)]
STRANDED = """echo nameserver 169.254.20.10 >/run/pod-resolv.conf
mount --bind /run/pod-resolv.conf /etc/resolv.conf
echo $$ >/run/pod.pid
exec sleep infinity"""


@contextmanager
def stranded(node: Node) -> Iterator[None]:
    """A process that asks 169.254.20.10, whatever becomes of it."""
    inside = ["nsenter", "-t", str(node.pid), "-a", "unshare", "--mount", "sh", "-c", STRANDED]
    with subprocess.Popen(inside) as pod:
        node.await_((node.path / "run/pod.pid").exists, "a pod")
        yield
        node.run("sh", "-c", "kill $(cat /run/pod.pid); rm /run/pod.pid", check=True)
        pod.wait()


def host(node: Node) -> list[Any]:
    """The node's state, as far as a removal must give it back."""
    return [links(node), rules(node), (node.path / KUBELET[1:]).read_text(), node.run("dpkg-query", "--show")]


def version(node: Node) -> str:
    """Which is installed."""
    return node.run("dpkg-query", "--show", "--showformat=${Version}", "nodedns")


@pytest.fixture(scope="module")
def nodes(debs: Debs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Two nodes with nodedns, and `before`: what they were without."""
    if reason := no_ansible():
        pytest.skip(reason)
    with fleet(tmp_path_factory.mktemp("fleet")) as booted:
        for node in booted.nodes.values():
            node.before = host(node)
        play = booted.play("rollout", nodedns_package_file=str(debs.first))
        assert play.code == 0, play.said
        for node in booted.nodes.values():
            node.await_(node.steered, "steering")
        yield booted


@contextmanager
def unharmed_clients(nodes: Fleet, clients: list[tuple[str, str]]) -> Iterator[None]:
    """None of them, on both nodes, loses a query."""
    with ExitStack() as stack:
        loads = [
            stack.enter_context(node.load(RATE, who, address))
            for node in nodes.nodes.values()
            for who, address in clients
        ]
        yield
        for load in loads:
            unharmed(load, slowest=1.5)


def make_broken(tree: Path) -> None:
    """Its service does not start."""
    control(tree, "Version", "9.9.10")
    (tree / OURS / "supervisor/loop.py").write_text("raise SystemExit(1)\n")


BAD = {
    make_broken: ("one: Install the package: E: Sub-process /usr/bin/dpkg", []),
    make_refusing: (
        "one: Ask the package whether it takes the config it has found: "
        "nodedns: /etc/nodedns/nodedns.toml: node.workers: expected",
        CLIENTS,  # nobody notices: what runs is restarted by the way back alone
    ),
}


def test_upgrade_and_back(nodes: Fleet, debs: Debs, tmp_path: Path) -> None:
    """An upgrade loses nothing, nor does taking it back; a package that does not work is put back by the role."""
    with unharmed_clients(nodes, CLIENTS):
        play = nodes.play("upgrade", nodedns_package_file=str(debs.later))
        assert play.code == 0, play.said
    assert [version(node) for node in nodes.nodes.values()] == [LATER, LATER]
    play = nodes.play("upgrade", nodedns_package_file=str(debs.later))
    assert play.hosts == {"one": (0, 0), "two": (0, 0)}, play.said

    for make, (why, clients) in BAD.items():
        bad = variant(debs.later, tmp_path, make, make.__name__)
        with unharmed_clients(nodes, clients):
            play = nodes.play("upgrade", nodedns_package_file=str(bad))
        assert why in play.said, play.said
        assert f"; the node was put back to nodedns {LATER} and its config" in play.said
        assert list(play.hosts) == ["one"]
        assert nodes.nodes["one"].active()
        assert [version(node) for node in nodes.nodes.values()] == [LATER, LATER]

    for node in nodes.nodes.values():
        node.await_(node.steered, "steering")
    with unharmed_clients(nodes, CLIENTS):
        play = nodes.play("rollback", "--limit=two")
        assert play.code == 0, play.said
    assert [version(node) for node in nodes.nodes.values()] == [LATER, "0.1.0"]
    assert nodes.play("rollback", "--limit=two").hosts == {"two": (0, 0)}


def test_removal(nodes: Fleet) -> None:
    """It waits for those who would have nobody to ask; then the node is as it was, nothing lost at the Service IP."""
    one = nodes.nodes["one"]
    play = nodes.play("rollout", nodedns_state="absent", nodedns_kubelet=False)
    assert "one: nodedns stays: the role has set kubelet's clusterDNS here" in play.said, play.said
    with stranded(one):
        play = nodes.play("rollout", nodedns_state="absent")
    assert "nodedns stays: 1 processes have 169.254.20.10 in their resolv.conf" in play.said
    assert list(play.hosts) == ["one"]
    assert one.active()
    assert (one.path / KUBELET[1:]).read_text() == KUBELET_CONFIG

    with unharmed_clients(nodes, [("pod", SERVICE_IP)]):
        play = nodes.play("rollout", nodedns_state="absent")
        assert play.code == 0, play.said
    for node in nodes.nodes.values():
        assert host(node) == node.before
        for path in ("etc/nodedns", "run/nodedns", "var/lib/nodedns", "var/lib/nodedns-role"):
            assert not (node.path / path).exists(), path
        assert (node.path / "run/kubelet-starts").read_text().splitlines()[-1] == f"{SERVICE_IP},10.96.0.11"
    play = nodes.play("rollout", nodedns_state="absent")
    assert play.hosts == {"one": (0, 0), "two": (0, 0)}, play.said


def test_a_rollout_is_taken_back(nodes: Fleet, debs: Debs) -> None:
    """Whole: package, config and kubelet, even where kubelet is no longer the role's to point."""
    two = nodes.nodes["two"]
    play = nodes.play("rollout", "--limit=two", nodedns_package_file=str(debs.first))
    assert play.code == 0, play.said
    assert (two.path / KUBELET[1:]).read_text() != KUBELET_CONFIG
    with unharmed_clients(nodes, [("pod", SERVICE_IP)]):
        play = nodes.play("rollback", "--limit=two", nodedns_kubelet=False)
        assert play.code == 0, play.said
    assert host(two) == two.before
