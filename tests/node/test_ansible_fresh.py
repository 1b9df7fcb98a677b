"""The role on a fresh node: a config made of a Corefile, manifests, a kubelet that will not; and what is refused."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.node.debs import Debs
from tests.node.fleet import KUBELET, KUBELET_CONFIG, Fleet, fleet, no_ansible
from tests.node.node import ADDRESS, ROOT
from tests.node.test_ansible import answer
from tests.node.test_ansible_upgrade import host
from tests.service.service import Authority

COREFILE = """apiVersion: v1
kind: ConfigMap
data:
  Corefile: |
    cluster.local:53 {
        cache {
            success 9984 30
            denial 9984 5
        }
        bind 169.254.20.10
        forward . __PILLAR__CLUSTER__DNS__ {
            force_tcp
        }
    }
    .:53 {
        log
        cache 77
        bind 169.254.20.10
        forward . 127.0.0.1
    }
"""
IMPORTED = """# nodedns import: not carried over: line 12, .:53: log: see log.queries: of all zones, bounded, \
and off by default

[cluster]
dns = ["127.0.0.1:53"]

[node]
listen = ["169.254.20.10"]
workers = 1
"""


@pytest.fixture(scope="module")
def nodes(debs: Debs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """One node, with an upstream on port 53."""
    if reason := no_ansible():
        pytest.skip(reason)
    with (
        fleet(tmp_path_factory.mktemp("fleet"), ("one",)) as booted,
        Authority(booted.nodes["one"].network.inside("node"), 53),
    ):
        yield booted


def test_a_kubelet_that_will_not(nodes: Fleet, debs: Debs) -> None:
    """It does not come up with the new clusterDNS: the node is as before, kubelet up again, the package gone."""
    one = nodes.nodes["one"]
    one.write(KUBELET, KUBELET_CONFIG + "refuse: true\n", 0o600)
    before = host(one)
    play = nodes.play("rollout", nodedns_package_file=str(debs.first), nodedns_verify_retries=6)
    assert "one: Wait for kubelet: " in play.said
    assert "; the node was put back to what it was without nodedns" in play.said
    assert host(one) == before
    assert not (one.path / "var/lib/nodedns-role").exists()
    assert one.run("systemctl", "is-active", "kubelet") == "active"
    one.write(KUBELET, KUBELET_CONFIG, 0o600)


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"nodedns_config": {}}, "nodedns_config.cluster.dns: expected the IP of kube-dns"),
        ({"nodedns_package_file": "/nonexistent.rpm"}, "expected a .deb on the controller, got /nonexistent.rpm"),
        (
            {"nodedns_kubelet_dns": "169.254.20.10"},
            "nodedns_kubelet_dns: expected a list of addresses, got 169.254.20.10",
        ),
        ({"nodedns_config": {"cluster": {"dns": None}}}, "cluster.dns: expected a string, a 64-bit integer"),
        ({"nodedns_state": "gone"}, "value of nodedns_state must be one of: present, absent, got: gone"),
        ({"nodedns_kubelet_config": "/etc/nowhere.yaml"}, "/etc/nowhere.yaml"),
    ],
)
def test_refused_before_anything_is_changed(nodes: Fleet, debs: Debs, variables: dict[str, object], said: str) -> None:
    """What is wrong with the variables."""
    before = host(nodes.nodes["one"])
    play = nodes.play("rollout", "--check", **{"nodedns_package_file": str(debs.first)} | variables)
    assert play.code != 0
    assert said in play.said
    assert host(nodes.nodes["one"]) == before


def test_the_command_line_of_kubelet(nodes: Fleet, debs: Debs) -> None:
    """--cluster-dns there would make step 7 idle."""
    one = nodes.nodes["one"]
    unit = (one.path / "etc/systemd/system/kubelet.service").read_text()
    one.write(
        "/etc/systemd/system/kubelet.service", unit.replace("config.yaml", "config.yaml --cluster-dns=10.96.0.10")
    )
    one.run("systemctl", "daemon-reload")
    one.run("systemctl", "restart", "kubelet", check=True)
    play = nodes.play("rollout", nodedns_package_file=str(debs.first))
    assert "kubelet has --cluster-dns on its command line" in play.said
    assert play.hosts == {"one": (0, 1)}
    one.write("/etc/systemd/system/kubelet.service", unit)
    one.run("systemctl", "daemon-reload")
    one.run("systemctl", "restart", "kubelet", check=True)


def test_corefile_and_manifests(nodes: Fleet, debs: Debs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The config is the Corefile's with the variables laid over it; the manifest is applied once."""
    (tmp_path / "corefile.yaml").write_text(COREFILE)
    (tmp_path / "service.yaml").write_text("kind: Service\n")
    monkeypatch.setitem(os.environ, "KUBECTL_STATE", str(tmp_path))
    one = nodes.nodes["one"]
    variables = {
        "nodedns_package_file": str(debs.first),
        "nodedns_config": {"node": {"workers": 1}},
        "nodedns_import_file": str(tmp_path / "corefile.yaml"),
        "nodedns_import_pillars": {"CLUSTER__DNS": "127.0.0.1"},
        "nodedns_kube_dns_upstream": True,
        "nodedns_manifests": [str(tmp_path / "service.yaml")],
        "nodedns_kubectl": [str(ROOT / "tests/node/kubectl")],
    }
    play = nodes.play("rollout", "--check", **variables)
    assert play.code == 0, play.said
    assert not (tmp_path / "applied").exists()
    play = nodes.play("rollout", **variables)
    assert play.code == 0, play.said
    assert (tmp_path / "applied").read_text().strip() == "kind: Service"
    written = (one.path / "etc/nodedns/nodedns.toml").read_text()
    assert IMPORTED in written
    assert "success = { max_ttl = 77" in written
    assert answer(one, "pod", ADDRESS) != ""
    assert nodes.play("rollout", **variables).hosts == {"one": (0, 0)}

    play = nodes.play("rollout", **variables | {"nodedns_import_strict": True})
    assert "not carried over" in play.said
    assert play.hosts == {"one": (0, 1)}
