"""The role on a fresh node: a config made of a Corefile, manifests, a kubelet that will not; and what is refused."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.node.debs import Debs, control, dpkg, variant
from tests.node.fleet import KUBELET, KUBELET_CONFIG, UPSTREAM, Fleet, config, fleet, no_ansible
from tests.node.node import ADDRESS, ROOT, Node
from tests.node.test_ansible import answer
from tests.node.test_ansible_upgrade import host, stranded
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
UNIT_FILE = "/etc/systemd/system/kubelet.service"
OTHER = "/etc/kubelet.yaml"
DROP_IN = "/etc/kubelet.d/20-dns.conf"
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


@contextmanager
def kubelet_runs_with(node: Node, words: str) -> Iterator[None]:
    """Started with these after --config, and afterwards as before."""
    unit = (node.path / UNIT_FILE[1:]).read_text()
    for text in (unit.replace(f"--config {KUBELET}", f"--config {words}"), unit):
        node.write(UNIT_FILE, text)
        node.run("systemctl", "daemon-reload")
        node.run("systemctl", "restart", "kubelet", check=True)
        if text != unit:
            yield


@pytest.mark.parametrize("wrong", ["of another machine", "cut"])
def test_a_package_that_is_refused(nodes: Fleet, debs: Debs, tmp_path: Path, wrong: str) -> None:
    """As a whole, or before it is one: then there is none to take away, and the way back is none."""
    one = nodes.nodes["one"]
    before = host(one)
    if wrong == "cut":
        bad = tmp_path / "cut.deb"
        bad.write_bytes(debs.first.read_bytes()[:10_000])
    else:
        bad = variant(debs.first, tmp_path, lambda tree: control(tree, "Architecture", "arm64"), "arm64")
    play = nodes.play("rollout", nodedns_package_file=str(bad))
    assert "one: Install the package: E: " in play.said
    assert "; the node was put back to what it was without nodedns" in play.said
    assert host(one) == before
    assert not (one.path / "var/lib/nodedns-role").exists()


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
    ("bad", "said"),
    [
        (config(UPSTREAM + 1, listen=[ADDRESS]), "Ask from the node: SERVFAIL"),
        (config(listen=[ADDRESS], allow=["127.0.0.0/8", f"{ADDRESS}/32"]), "Ask as a pod: "),
        (config(fallback="none"), "Refuse to have pods depend on nodedns alone: 169.254.20.10 has no fallback"),
    ],
    ids=["nobody is answered", "no pod is answered", "no pod is answered when nodedns is dead"],
)
def test_kubelet_is_told_last(nodes: Fleet, debs: Debs, bad: dict[str, Any], said: str) -> None:
    """It is not restarted for a nodedns that pods cannot rely on, and the node is as before."""
    one = nodes.nodes["one"]
    before, starts = host(one), (one.path / "run/kubelet-starts").read_text()
    play = nodes.play("rollout", nodedns_package_file=str(debs.first), nodedns_config=bad, nodedns_verify_retries=8)
    assert f"one: {said}" in play.said, play.said
    assert "; the node was put back to what it was without nodedns" in play.said
    assert host(one) == before
    assert (one.path / "run/kubelet-starts").read_text() == starts


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


@pytest.mark.parametrize(
    ("words", "said", "right"),
    [
        (f"{KUBELET} --cluster-dns=10.96.0.10", "kubelet has --cluster-dns on its command line", ""),
        (OTHER, f"expected a file that kubelet reads, got {KUBELET}; kubelet runs with --config {OTHER}", OTHER),
        (f"{KUBELET} --config-dir /etc/kubelet.d", f"{DROP_IN}, of kubelet's --config-dir, has clusterDNS, ", DROP_IN),
    ],
    ids=["--cluster-dns", "--config", "--config-dir"],
)
def test_the_command_line_of_kubelet(nodes: Fleet, debs: Debs, words: str, said: str, right: str) -> None:
    """What is said there, or in a drop-in named there, would make step 7 idle; the file that counts is taken."""
    one = nodes.nodes["one"]
    for path in (OTHER, DROP_IN):
        one.write(path, KUBELET_CONFIG)
    one.write("/etc/kubelet.d/10-pods.conf", "kind: KubeletConfiguration\nmaxPods: 7\n")
    with kubelet_runs_with(one, words):
        play = nodes.play("rollout", nodedns_package_file=str(debs.first))
        assert said in play.said
        assert play.hosts == {"one": (0, 1)}
        if right:
            play = nodes.play("rollout", "--check", nodedns_package_file=str(debs.first), nodedns_kubelet_config=right)
            assert play.code == 0, play.said


def test_corefile_and_manifests(nodes: Fleet, debs: Debs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The config is the Corefile's with the variables laid over it; the manifest is applied once."""
    (tmp_path / "corefile.yaml").write_text(COREFILE)
    (tmp_path / "service.yaml").write_text("kind: Service\n")
    monkeypatch.setitem(os.environ, "KUBECTL_STATE", str(tmp_path))
    one = nodes.nodes["one"]
    one.write("/var/lib/nodedns-role/package.deb", "no deb")  # of a run that was cut off
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
    play = nodes.play("rollout", "--check", **variables | {"nodedns_import_file": ""})
    assert play.code == 0, play.said
    assert "IP of kube-dns-upstream" in play.said
    play = nodes.play("rollout", **variables)
    assert play.code == 0, play.said
    assert (tmp_path / "applied").read_text().strip() == "kind: Service"
    written = (one.path / "etc/nodedns/nodedns.toml").read_text()
    assert IMPORTED in written
    assert '[metrics]\nlisten = "192.168.77.2:9253"\n' in written
    assert "success = { max_ttl = 77" in written
    assert answer(one, "pod", ADDRESS) != ""
    assert nodes.play("rollout", **variables).hosts == {"one": (0, 0)}

    play = nodes.play("rollout", **variables | {"nodedns_import_strict": True})
    assert "not carried over" in play.said
    assert play.hosts == {"one": (0, 1)}

    (tmp_path / "corefile.yaml").write_text(COREFILE.replace("cluster.local", "k8s.corp"))
    play = nodes.play("rollout", **variables)
    assert play.code == 0, play.said
    assert "kubernetes.default.svc.k8s.corp" in play.said
    assert "kubernetes.default.svc.cluster.local" not in play.said


def test_an_address_that_pods_have(nodes: Fleet, debs: Debs) -> None:
    """It stays in the config as long as kubelet gives it to pods, or a process has it."""
    one = nodes.nodes["one"]
    before = (one.path / "etc/nodedns/nodedns.toml").read_text()
    variables = {"nodedns_package_file": str(debs.first), "nodedns_config": config(53, listen=["127.0.0.1"])}
    play = nodes.play("rollout", **variables)
    assert "node.listen: expected 169.254.20.10 in it, which nodedns has and /var/lib/kubelet/config.yaml" in play.said
    assert play.hosts == {"one": (0, 1)}
    with stranded(one):
        play = nodes.play("rollout", nodedns_kubelet=False, **variables)
    assert "the config stays: 1 processes have 169.254.20.10 in their" in play.said
    assert play.hosts == {"one": (0, 1)}
    assert (one.path / "etc/nodedns/nodedns.toml").read_text() == before


def test_a_package_that_starts_it(nodes: Fleet, debs: Debs) -> None:
    """One that was removed has left its config. A rollout that fails leaves that, too; in one that does not, the
    package's own script starts it with that, and the new one is in force at the end all the same. One that is there by
    half is made whole by an upgrade."""
    one = nodes.nodes["one"]
    dpkg(one, "-r", "nodedns")
    left = (one.path / "etc/nodedns/nodedns.toml").read_text()
    play = nodes.play("rollout", nodedns_package_file=str(debs.first), nodedns_config=config(UPSTREAM + 1))
    assert "one: Ask from the node: SERVFAIL" in play.said
    assert "; the node was put back to what it was without nodedns" in play.said
    assert (one.path / "etc/nodedns/nodedns.toml").read_text() == left
    assert not (one.path / "usr/bin/nodedns").exists()
    wanted = config(53, listen=[ADDRESS, "127.0.0.1:5399"], fallback="none")
    play = nodes.play(
        "rollout", nodedns_package_file=str(debs.first), nodedns_config=wanted, nodedns_fallback_required=False
    )
    assert play.code == 0, play.said
    assert one.outside("node", "dig", "+short", "+tries=1", "-p", "5399", "@127.0.0.1", "n1.load.test").strip()

    shutil.copy(debs.first, one.path / "root/first.deb")
    dpkg(one, "--unpack", "/root/first.deb")
    play = nodes.play("upgrade", nodedns_package_file=str(debs.first))
    assert play.code == 0, play.said
    assert one.run("dpkg-query", "--show", "--showformat=${db:Status-Status}", "nodedns") == "installed"
    assert answer(one, "pod", ADDRESS) != ""
