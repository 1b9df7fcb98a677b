"""From a stand-in node-cache to nodedns by the playbook, under load; and what becomes of a node that is not well."""

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.node.debs import Debs
from tests.node.fleet import KUBELET, KUBELET_CONFIG, UPSTREAM, Fleet, config, fleet, no_ansible
from tests.node.network import SERVICE_IP
from tests.node.node import ADDRESS, ROOT
from tests.node.test_ansible import CONFIG, answer
from tests.node.test_ansible_upgrade import CLIENTS, RATE
from tests.node.test_host import unharmed
from tests.node.test_migration import node_cache

BESIDE = '\nbeside = "node-cache"\n'


@pytest.fixture
def nodes(
    request: pytest.FixtureRequest, debs: Debs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Fleet]:
    """A node with a node-cache and a kubelet that sends pods to it; or those that a test names."""
    if reason := no_ansible():
        pytest.skip(reason)
    monkeypatch.setitem(os.environ, "KUBECTL_STATE", str(tmp_path))
    with fleet(tmp_path, getattr(request, "param", ("one",))) as booted:
        for name, node in booted.nodes.items():
            node.write(KUBELET, KUBELET_CONFIG.replace(SERVICE_IP, ADDRESS).replace("  - 10.96.0.11\n", ""), 0o600)
            node.run("systemctl", "restart", "kubelet", check=True)
            node_cache(node)
            (tmp_path / f"pid.{name}").write_text(str(node.pid))
        yield booted


def variables(debs: Debs, upstream: int = UPSTREAM) -> dict[str, Any]:
    """Of the inventory."""
    return {
        "nodedns_package_file": str(debs.first),
        "nodedns_config": config(upstream, interface="nodedns"),
        "nodedns_kubectl": [str(ROOT / "tests/node/kubectl")],
    }


@pytest.mark.parametrize("nodes", [("one", "two")], indirect=True)
def test_migration(nodes: Fleet, debs: Debs, tmp_path: Path) -> None:
    """Nothing is lost, kubelet has nothing to do, a node keeps its node-cache until its turn comes, once is enough."""
    with ExitStack() as stack:
        loads = [
            stack.enter_context(node.load(RATE, who, address))
            for node in nodes.nodes.values()
            for who, address in CLIENTS
        ]
        play = nodes.play("migrate-from-daemonset", **variables(debs))
        assert play.code == 0, play.said
        for load in loads:
            unharmed(load, slowest=1.5)
    assert (tmp_path / "labels").read_text().splitlines() == [
        "one: node-cache on one two, nodedns on one",
        "two: node-cache on two, nodedns on one two",
    ]
    patch = json.loads((tmp_path / "patch").read_text())["spec"]
    assert patch["updateStrategy"]["type"] == "OnDelete"
    for node in nodes.nodes.values():
        assert node.run("systemctl", "is-active", "node-cache") == "inactive"
        assert "NodeLocal DNS Cache" not in node.run("iptables-nft-save")
        assert "nodelocaldns" not in node.run("ip", "link")
        assert BESIDE not in (node.path / CONFIG).read_text()
        assert (node.path / "run/kubelet-starts").read_text().splitlines()[1:] == [ADDRESS]
        assert answer(node, "pod", ADDRESS) != ""
    play = nodes.play("migrate-from-daemonset", **variables(debs))
    assert play.hosts == {"one": (0, 0), "two": (0, 0)}, play.said


def test_not_well_beside_it(nodes: Fleet, debs: Debs) -> None:
    """node-cache stays, and nodedns is gone again."""
    one = nodes.nodes["one"]
    play = nodes.play("migrate-from-daemonset", nodedns_verify_retries=10, **variables(debs, UPSTREAM + 1))
    assert "the node was put back to what it was without nodedns; the DaemonSet may have the node again" in play.said
    assert play.code != 0
    assert one.run("systemctl", "is-active", "node-cache") == "active"
    assert not (one.path / "usr/bin/nodedns").exists()
    assert answer(one, "pod", ADDRESS) != ""


def test_affinity_of_its_own(nodes: Fleet, debs: Debs, tmp_path: Path) -> None:
    """It is not written over."""
    (tmp_path / "affinity").write_text('{"nodeAffinity": {}}')
    play = nodes.play("migrate-from-daemonset", **variables(debs))
    assert "node-local-dns has an affinity of its own; add to it that the label nodedns must not exist" in play.said
    assert not (tmp_path / "patch").exists()


def test_back(nodes: Fleet, debs: Debs) -> None:
    """As docs/ansible.md says it."""
    one = nodes.nodes["one"]
    play = nodes.play("migrate-from-daemonset", **variables(debs))
    assert play.code == 0, play.said
    with ExitStack() as stack:
        loads = [stack.enter_context(one.load(RATE, who, address)) for who, address in CLIENTS]
        play = nodes.play("rollout", "-e", "nodedns_beside_node_cache=true", **variables(debs))
        assert play.code == 0, play.said
        node_cache(one)
        restore = {"nodedns_state": "absent", "nodedns_kubelet_restore_dns": [ADDRESS]}
        play = nodes.play("rollout", **variables(debs), **restore)
        assert play.code == 0, play.said
        for load in loads:
            unharmed(load, slowest=1.5)
    assert not (one.path / "usr/bin/nodedns").exists()
