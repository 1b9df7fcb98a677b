"""`nodedns doctor`: every finding from a file tree and a socket of its own; what the kernel says is in tests/netns."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nodedns.config import Config, Endpoint, parse
from nodedns.verbs.doctor import examine, kubernetes, network, ports, resolver
from nodedns.verbs.doctor.scene import Finding, Scene
from nodedns.verbs.files import Source
from tests.ports import free_port

HEAD = '[cluster]\ndns = "10.96.0.10"\n'


def config(node: str = "", forward: str = '["192.0.2.1"]') -> Config:
    return parse(f'{HEAD}[node]\n{node}\n[[zone]]\nname = "."\nforward = {forward}\n')


Check = Callable[[Scene], Iterator[Finding]]
SERVICE_IP = 'listen = ["169.254.20.10", "10.96.0.10"]'


@pytest.mark.parametrize(
    ("check", "files", "said"),
    [
        (resolver.own_address, {}, []),
        (resolver.own_address, {"etc/resolv.conf": "nameserver 192.0.2.1\n"}, []),
        (resolver.own_address, {"etc/resolv.conf": "nameserver 169.254.20.10\n"}, ["bad"]),
        (resolver.own_address, {"etc/resolv.conf": "nameserver 169.254.20.10\nnameserver 192.0.2.1\n"}, ["note"]),
        (resolver.stub, {"etc/resolv.conf": "nameserver 127.0.0.53\n"}, ["note"]),
        (resolver.stub, {"etc/systemd/resolved.conf": "[Resolve]\nDNSStubListenerExtra=169.254.20.10\n"}, ["bad"]),
        (resolver.stub, {"etc/systemd/resolved.conf.d/a.conf": "DNSStubListenerExtra = 169.254.20.10\n"}, ["bad"]),
        (resolver.stub, {"etc/systemd/resolved.conf": "#DNSStubListenerExtra=169.254.20.10\n"}, []),
        (network.managers, {}, []),
        (network.managers, {"run/NetworkManager/x": ""}, ["note"]),
        (network.managers, {"run/NetworkManager/x": "", "etc/NetworkManager/conf.d/a.conf": "nodelocaldns"}, ["well"]),
        (network.managers, {"run/systemd/netif/state": "", "usr/lib/systemd/network/a.network": "eth0"}, ["note"]),
        (kubernetes.kubelet, {}, ["note"]),
        (kubernetes.kubelet, {"var/lib/kubelet/config.yaml": "clusterDNS:\n- 169.254.20.10\n"}, ["well"]),
        (kubernetes.kubelet, {"var/lib/kubelet/config.yaml": "clusterDNS:\n- 10.96.0.10\n"}, ["note"]),
        (kubernetes.kubelet, {"var/lib/kubelet/config.yaml": "clusterDomain: cluster.local\n"}, ["note"]),
        (kubernetes.fallback, {}, ["note"]),
        (kubernetes.fallback, {"var/lib/nodedns/fallback": ""}, ["note"]),
        (kubernetes.fallback, {"var/lib/nodedns/fallback": "10.244.2.10:53\n"}, ["well"]),
    ],
)
def test_files(check: Check, files: dict[str, str], said: list[str], tmp_path: Path) -> None:
    """Each finding has its file, and each file its finding."""
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    scene = Scene(config(forward='"/etc/resolv.conf"'), "/nonexistent", tmp_path)
    assert [finding.level for finding in check(scene)] == said
    assert all(finding.advice for finding in check(scene) if finding.level == "bad")


@pytest.mark.parametrize(
    ("text", "servers"),
    [
        ("clusterDNS:\n- 169.254.20.10\n- fd00::10\nother:\n- 1.1.1.1\n", ["169.254.20.10", "fd00::10"]),
        ("a: 1\nclusterDNS:\n  - '10.96.0.10'  # note\n", ["10.96.0.10"]),
        ('clusterDNS: ["10.96.0.10", "169.254.20.10"]\n', ["10.96.0.10", "169.254.20.10"]),
        ("clusterDNS: []\n", []),
        ("#clusterDNS:\n#- 1.1.1.1\n", []),
    ],
)
def test_cluster_dns(text: str, servers: list[str]) -> None:
    """Both of YAML's styles."""
    assert kubernetes.cluster_dns(text) == servers


def test_a_port_is_held() -> None:
    """By its holder's name and pid; what a service of ours holds is no finding."""
    port = free_port()
    code = f"import socket; s = socket.socket(type=socket.SOCK_DGRAM); s.bind(('', {port})); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        listen = f'listen = "127.0.0.1:{port}"\n[metrics]\nlisten = "none"'  # this machine's 9253 may be held, too
        scene = Scene(config(listen), "/nonexistent")
        findings = [finding for finding in ports.held(scene) if finding.level == "bad"]
        other.communicate(b"\n")
    assert len(findings) == 1
    assert f"UDP 127.0.0.1:{port} is held by pid {other.pid} (python" in findings[0].what
    assert [finding.level for finding in ports.held(scene) if os.geteuid() == 0] in ([], ["well"])


def test_upstreams() -> None:
    """One that answers nothing, and one that refuses the connection."""
    with socket.socket(type=socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        dead = Endpoint("127.0.0.1", silent.getsockname()[1])
        scene = Scene(config(forward=f'["{dead}"]'), "/nonexistent")
        said = [finding for finding in resolver.upstreams(scene) if str(dead) in finding.what]
    assert [finding.level for finding in said] == ["bad"]
    assert "TIMEOUT" in said[0].what


def test_a_bad_config_is_all_there_is_to_say(tmp_path: Path) -> None:
    """Each of its problems is a finding."""
    (tmp_path / "nodedns.toml").write_text("[cluster]\ndns = 1\nbogus = 2\n")
    findings = list(examine(Source(str(tmp_path / "nodedns.toml"))))
    assert [finding.level for finding in findings] == ["bad", "bad"]
