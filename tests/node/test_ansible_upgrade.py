"""Upgrade, rollback and removal of nodedns on two nodes by the playbooks, under load."""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.node.debs import LATER, Debs, control, variant
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


@pytest.fixture(scope="module")
def broken(debs: Debs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A still later one, whose service does not start."""

    def make_broken(tree: Path) -> None:
        control(tree, "Version", "9.9.10")
        (tree / "usr/lib/python3/dist-packages/nodedns/supervisor/loop.py").write_text("raise SystemExit(1)\n")

    return variant(debs.later, tmp_path_factory.mktemp("broken"), make_broken, "broken")


def test_upgrade_and_back(nodes: Fleet, debs: Debs, broken: Path) -> None:
    """An upgrade loses nothing, nor does taking it back; a package that does not start is put back by the role."""
    with unharmed_clients(nodes, CLIENTS):
        play = nodes.play("upgrade", nodedns_package_file=str(debs.later))
        assert play.code == 0, play.said
    assert [version(node) for node in nodes.nodes.values()] == [LATER, LATER]
    play = nodes.play("upgrade", nodedns_package_file=str(debs.later))
    assert play.hosts == {"one": (0, 0), "two": (0, 0)}, play.said

    play = nodes.play("upgrade", nodedns_package_file=str(broken))
    assert "one: Install the package: E: Sub-process /usr/bin/dpkg" in play.said
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
    inside = ["nsenter", "-t", str(one.pid), "-a", "unshare", "--mount", "sh", "-c", STRANDED]
    pod = subprocess.Popen(inside)
    one.await_((one.path / "run/pod.pid").exists, "a pod")
    play = nodes.play("rollout", nodedns_state="absent")
    assert "nodedns stays: 1 processes have 169.254.20.10 in their resolv.conf" in play.said
    assert list(play.hosts) == ["one"]
    assert one.active()
    assert (one.path / KUBELET[1:]).read_text() == KUBELET_CONFIG
    one.run("sh", "-c", "kill $(cat /run/pod.pid)", check=True)
    pod.wait()

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
