"""Booted nodes with a stand-in kubelet, and ansible-playbook over them: the playbooks and the role of ansible/."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.node.network import KUBE_DNS, SERVICE_IP
from tests.node.node import ADDRESS, ROOT, Node
from tests.service.service import Authority

BIN = ROOT / "build/ansible-venv/bin"
UPSTREAM = 5300
KUBELET = "/var/lib/kubelet/config.yaml"
KUBELET_CONFIG = f"""apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
clusterDNS:   # whom pods ask
  - {SERVICE_IP}  # kube-dns
  - 10.96.0.11
clusterDomain: cluster.local
"""
UNIT = f"""[Unit]
Description=stand-in
StartLimitIntervalSec=0
[Service]
ExecStart=/usr/local/bin/kubelet --config {KUBELET}
Restart=always
RestartSec=100ms
[Install]
WantedBy=multi-user.target
"""
RECAP = re.compile(r"^(\w+) +: ok=\d+ +changed=(\d+) +unreachable=(\d+) +failed=(\d+)", re.MULTILINE)


def no_ansible() -> str | None:
    """Why no playbook can be run here, None when one can."""
    return None if (BIN / "ansible-playbook").exists() else "needs build/ansible-venv: make test-node makes it"


@dataclass(frozen=True, slots=True)
class Play:
    """How it ended: the exit code, all it said, and for each host that it came to (changed, failed)."""

    code: int
    said: str
    hosts: dict[str, tuple[int, int]]


def config(upstream: int = UPSTREAM, **node: Any) -> dict[str, Any]:
    """nodedns_config: everything is asked of the node's Authority."""
    server = f"127.0.0.1:{upstream}"
    return {
        "cluster": {"dns": server},
        "node": {"listen": [ADDRESS, SERVICE_IP], "workers": 2, **node},
        "zone": [{"name": ".", "forward": [server]}],
    }


class Fleet:
    """Nodes by name, and the inventory over them."""

    def __init__(self, folder: Path, nodes: dict[str, Node]) -> None:
        self.folder, self.nodes = folder, nodes

    def play(self, book: str, *options: str, hosts: dict[str, dict[str, Any]] | None = None, **variables: Any) -> Play:
        """Runs ansible/playbooks/`book`.yml; `hosts` has variables of single hosts, `variables` those of all."""
        way = {
            "ansible_connection": "nsenter",
            "ansible_python_interpreter": "/usr/bin/python3",
            "ansible_become": False,
        }
        inventory = {
            name: way | {"ansible_nsenter_pid": node.pid} | (hosts or {}).get(name, {})
            for name, node in self.nodes.items()
        }
        file = self.folder / "inventory.json"
        file.write_text(json.dumps({"all": {"hosts": inventory, "vars": {"nodedns_config": config()} | variables}}))
        command = [BIN / "ansible-playbook", "-i", file, f"playbooks/{book}.yml", *options]
        environment = os.environ | {
            "ANSIBLE_CONNECTION_PLUGINS": str(ROOT / "tests/node/connection"),
            "ANSIBLE_PIPELINING": "true",
            "ANSIBLE_NOCOLOR": "true",
            "ANSIBLE_HOME": str(self.folder / "home"),
        }
        done = subprocess.run(
            command, cwd=ROOT / "ansible", env=environment, capture_output=True, text=True, check=False
        )
        said = done.stdout + done.stderr
        recap = {name: (int(changed), int(gone) + int(bad)) for name, changed, gone, bad in RECAP.findall(said)}
        print(f"{book} {' '.join(options)}: {recap}")
        return Play(done.returncode, said, recap)


@contextmanager
def fleet(folder: Path, names: tuple[str, ...] = ("one", "two")) -> Iterator[Fleet]:
    """Nodes without nodedns."""
    with ExitStack() as stack:
        nodes = {name: stack.enter_context(Node()) for name in names}
        for node in nodes.values():
            node.authority = stack.enter_context(Authority(node.network.inside("node"), UPSTREAM))
            node.kube_dns = stack.enter_context(Authority(node.network.inside("dns"), 53, KUBE_DNS))
            node.run("ip", "link", "set", "lo", "up", check=True)
            node.write("/usr/local/bin/kubelet", (ROOT / "tests/node/kubelet").read_text(), 0o755)
            node.write("/etc/systemd/system/kubelet.service", UNIT)
            node.write(KUBELET, KUBELET_CONFIG, 0o600)
            node.run("systemctl", "start", "kubelet", check=True)
            node.await_((node.path / "run/kubelet-starts").exists, "kubelet up")
        yield Fleet(folder, nodes)
