"""The deb on a booted Debian: installed, upgraded, half-configured, removed and purged, the later ones under load."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.node.network import KUBE_DNS, SERVICE_IP
from tests.node.node import ROOT, Node, missing
from tests.node.test_host import links, rules, unharmed
from tests.service.service import Authority

RATE = 10_000
LATER = "9.9.9"


@pytest.fixture(scope="module")
def debs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """What is committed, and the same as a later version."""
    if reason := missing() or (None if shutil.which("dh_python3") else "needs dh-python and what Build-Depends says"):
        pytest.skip(reason)
    built = subprocess.run([ROOT / "packaging/deb/build"], capture_output=True, text=True, check=True)
    first, folder = ROOT / built.stdout.split()[-1], tmp_path_factory.mktemp("deb")
    subprocess.run(["dpkg-deb", "-R", first, folder / "tree"], check=True)
    control = folder / "tree/DEBIAN/control"
    control.write_text(re.sub(r"(?m)^Version: .*$", f"Version: {LATER}", control.read_text()))
    subprocess.run(["dpkg-deb", "-b", folder / "tree", folder / "later.deb"], check=True, capture_output=True)
    return first, folder / "later.deb"


@pytest.fixture(scope="module")
def node(debs: tuple[Path, Path]) -> Iterator[Node]:
    """A node without nodedns."""
    with Node() as booted, Authority(booted.network.inside("node")) as authority:
        booted.authority = authority
        booted.run("ip", "link", "set", "lo", "up", check=True)
        with Authority(booted.network.inside("dns"), 53, KUBE_DNS) as kube_dns:
            booted.kube_dns = kube_dns
            for name, deb in zip(("first", "later"), debs, strict=True):
                shutil.copy(deb, booted.path / f"root/{name}.deb")
            yield booted


def dpkg(node: Node, *words: str) -> str:
    """What it says, on both; it must succeed."""
    inside = ["nsenter", "-t", str(node.pid), "-a", "env", "DEBIAN_FRONTEND=noninteractive", "dpkg", *words]
    done = subprocess.run(inside, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_life_of_a_package(node: Node) -> None:
    """From a fresh node to a clean one. Nothing is lost that was asked at an address that somebody still serves."""
    before = links(node), rules(node)

    said = dpkg(node, "-i", "/root/first.deb")
    assert "set cluster.dns in /etc/nodedns/nodedns.toml" in said
    assert not node.active()
    assert node.run("systemctl", "is-enabled", "nodedns") == "disabled"

    node.configure(node.authority.port)
    node.run("systemctl", "enable", "--now", "nodedns", "nodedns-failopen", check=True)
    node.await_(node.steered, "steering")
    with node.everyone(RATE, slowest=1.5):
        asked, pid = node.asked(node.authority), node.main_pid()
        said = dpkg(node, "--force-confold", "-i", "/root/later.deb")
        assert node.main_pid() not in (0, pid), said
        assert node.active()
        assert node.asked(node.authority) == asked  # the cache is warm

    node.await_(node.steered, "steering again")
    with node.load(RATE // 10, "pod", SERVICE_IP) as load:
        dpkg(node, "-r", "nodedns")
        dpkg(node, "-P", "nodedns")
        unharmed(load, slowest=1.5)
    assert (links(node), rules(node)) == before
    for path in (
        "etc/nodedns",
        "run/nodedns",
        "var/lib/nodedns",
        "usr/lib/python3/dist-packages/nodedns",
        "usr/bin/nodedns",
    ):
        assert not (node.path / path).exists(), path
    assert "nodedns" not in (node.path / "etc/passwd").read_text()
    assert "nodedns" not in node.run("systemctl", "list-unit-files")


def test_half_configured(node: Node) -> None:
    """Killed in its postinst, it is configured by the next `dpkg --configure -a`; a reinstallation changes nothing."""
    node.configure(node.authority.port)
    dpkg(node, "--unpack", "--force-confold", "/root/first.deb")
    assert not node.active()
    dpkg(node, "--force-confold", "--configure", "-a")
    node.await_(node.steered, "steering")
    pid = node.main_pid()
    dpkg(node, "--force-confold", "-i", "/root/first.deb")
    node.await_(lambda: node.active() and node.main_pid() != pid, "restarted")
    dpkg(node, "--force-confold", "--force-downgrade", "-i", "/root/first.deb")
    assert node.active()
    dpkg(node, "-P", "nodedns")


def test_two_builds_are_equal(debs: tuple[Path, Path]) -> None:
    """To the octet."""
    first = debs[0].read_bytes()
    subprocess.run([ROOT / "packaging/deb/build"], capture_output=True, check=True)
    assert debs[0].read_bytes() == first
