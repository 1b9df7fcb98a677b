"""What the deb cannot work with: it is refused, with a line that says what to do."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.node.debs import Debs, apt, control, dpkg, tool, variant
from tests.node.node import Node
from tests.node.roots import made

ALL_ADDRESSES = "[Resolve]\nDNSStubListenerExtra=0.0.0.0\n"
DNSMASQ = "systemd-run --quiet --unit=dnsmasq dnsmasq --keep-in-foreground --no-resolv --no-hosts --user=root"


@pytest.fixture
def node(fresh_node: Node) -> Iterator[Node]:
    """With a service that is installed, configured, and stopped so that it leaves nothing."""
    fresh_node.configure(fresh_node.authority.port, extra='on_stop = "clean"\n')
    dpkg(fresh_node, "-i", "/root/first.deb")
    fresh_node.run("systemctl", "stop", "nodedns", check=True)
    yield fresh_node
    dpkg(fresh_node, "-P", "nodedns")


def begin(node: Node) -> None:
    """Asks for a start, which goes on being tried."""
    node.run("systemctl", "start", "--no-block", "nodedns", check=True)


@pytest.mark.parametrize("name", ["dnsmasq", "systemd-resolved"])
def test_port_53_is_held(node: Node, name: str) -> None:
    """By dnsmasq, or by systemd-resolved's stub, on all addresses: the journal names the unit, the doctor the process
    and what to set; once it has gone the service comes up by itself."""
    apt(node, "install", {"dnsmasq": "dnsmasq-base"}.get(name, name))
    node.write("/etc/systemd/resolved.conf.d/all.conf", ALL_ADDRESSES)
    node.run(*(DNSMASQ.split() if name == "dnsmasq" else ["systemctl", "restart", name]), check=True)
    node.await_(lambda: node.outside("node", "ss", "-Hlnut", "src 0.0.0.0:53") != "", "holding it")
    begin(node)
    said = f"169.254.20.10:53 is taken by another process; stop {name}.service, or choose another address"
    node.await_(lambda: said in node.journal(), "refused by name")
    found = node.run("nodedns", "doctor")
    assert f"({name[:15]})" in found
    assert {"dnsmasq": "bind-interfaces", "systemd-resolved": "DNSStubListenerExtra"}[name] in found
    node.run("systemctl", "stop", name, check=True)
    node.await_(node.active, "active")
    apt(node, "purge", "systemd-resolved", "dnsmasq-base")


def test_without_iptables(node: Node) -> None:
    """It is only recommended: without it, nftables alone is what a node has."""
    tool(node, "dpkg", "-P", "iptables")
    begin(node)
    node.await_(node.steered, "steering")
    assert "netfilter: nftables" in node.run("nodedns", "doctor")
    apt(node, "install", "iptables")


def test_without_nft(node: Node) -> None:
    """The package cannot lose it without being told so, and the service says what to install."""
    assert "dependency problems prevent removal of nftables" in dpkg(node, "-r", "nftables", fails=True)
    dpkg(node, "--force-depends", "-r", "nftables")
    begin(node)
    node.await_(lambda: "install nftables" in node.journal(), "refused")
    apt(node, "--fix-broken", "install")
    node.await_(node.active, "active")


def test_wrong_architecture(node: Node, debs: Debs, tmp_path: Path) -> None:
    """dpkg's own refusal, before anything is touched."""
    other = variant(debs.first, tmp_path, lambda tree: control(tree, "Architecture", "arm64"), "arm64")
    shutil.copy(other, node.path / "root/arm64.deb")
    said = dpkg(node, "-i", "/root/arm64.deb", fails=True)
    assert "package architecture (arm64) does not match system (amd64)" in said
    begin(node)
    node.await_(node.active, "active")


def test_python_too_old(debs: Debs) -> None:
    """Debian 11 has Python 3.9: apt says what is missing and changes nothing."""
    root = made("old-bullseye-2", "bullseye", "python3", "--skip=cleanup/apt/lists")
    shutil.copy(debs.first, root / "tmp/nodedns.deb")
    command = ["chroot", root, "apt-get", "-s", "-o", "APT::Sandbox::User=root", "install", "/tmp/nodedns.deb"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    (root / "tmp/nodedns.deb").unlink()
    print(done.stdout[done.stdout.find("The following packages have unmet") :])
    assert done.returncode != 0
    assert "Depends: python3 (>= 3.11) but 3.9" in done.stdout
