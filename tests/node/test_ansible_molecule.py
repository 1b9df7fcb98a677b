"""The role's molecule scenario, on a booted node instead of one reached by ssh."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.node.debs import Debs
from tests.node.fleet import BIN, fleet, no_ansible
from tests.node.node import ROOT
from tests.service.service import Authority


def test_molecule(debs: Debs, tmp_path: Path) -> None:
    """`molecule test` comes to its end: converge, once more without a change, verify, cleanup."""
    if reason := no_ansible():
        pytest.skip(reason)
    with fleet(tmp_path, ("one",)) as booted, Authority(booted.nodes["one"].network.inside("node"), 53):
        one = booted.nodes["one"]
        one.write("/etc/resolv.conf", "nameserver 127.0.0.1\n")
        environment = os.environ | {
            "PATH": os.pathsep.join([str(BIN), os.environ["PATH"]]),
            "HOME": str(tmp_path),
            "ANSIBLE_CONNECTION_PLUGINS": str(ROOT / "tests/node/connection"),
            "NODEDNS_CONNECTION": "nsenter",
            "NSENTER_PID": str(one.pid),
            "NODEDNS_PACKAGE": str(debs.first),
            "NODEDNS_CLUSTER_DNS": "127.0.0.1",
        }
        role = ROOT / "ansible/roles/nodedns"
        done = subprocess.run(
            [BIN / "molecule", "test"], cwd=role, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert not (one.path / "usr/bin/nodedns").exists()
