"""The deb on a booted Debian 12 and 13: installed by apt, upgraded, downgraded, half-configured, removed and purged,
most of it under load. Each drill begins and ends with a node that has the dependencies and not nodedns."""

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.node.debs import KEY_OF_LATER, LATER, NEW_DEFAULT, OURS, Debs, apt, dpkg, make_refusing, variant
from tests.node.network import KUBE_DNS, SERVICE_IP
from tests.node.node import ADDRESS, DEADLINE, Node
from tests.node.roots import NETWORK_MANAGER, ROOT
from tests.node.test_host import links, rules, unharmed
from tests.service.service import keeps_its_code

RATE = 5_000
CONFIG = "/etc/nodedns/nodedns.toml"
POLICY = "/usr/sbin/policy-rc.d"
# deb-systemd-invoke asks the policy before it acts: there the postinst is killed, without a race.
KILLS = """#!/bin/sh
process=$$
while [ "$process" -gt 1 ]; do
    process=$(cut -d ' ' -f 4 "/proc/$process/stat")
    if grep -qa 'nodedns.postinst' "/proc/$process/cmdline"; then kill -KILL "$process"; exit 101; fi
done
"""


@pytest.fixture
def node(fresh_node: Node) -> Iterator[Node]:
    dpkg(fresh_node, "-P", "nodedns")
    yield fresh_node
    fresh_node.run("rm", "-f", POLICY)
    dpkg(fresh_node, "-P", "nodedns")


def serving(node: Node, deb: str = "first", extra: str = "") -> None:
    """A node with the package installed and the service up."""
    node.configure(node.authority.port, extra=extra)
    dpkg(node, "-i", f"/root/{deb}.deb")
    assert node.run("systemctl", "is-enabled", "nodedns", "nodedns-failopen").split() == ["enabled", "enabled"]
    node.await_(node.steered, "steering")


def version(node: Node) -> str:
    return node.run("dpkg-query", "-W", "-f", "${Version} ${Status}", "nodedns")


def host(node: Node) -> Any:
    """What a removal must leave as it was: network, users, units, files."""
    users = node.run("getent", "passwd") + node.run("getent", "group")
    units = node.run("systemctl", "list-unit-files", "--no-legend")
    # What others write as they go: logs, package databases and caches, and backups of the user database (passwd-).
    others = "proc sys dev run tmp root var/log var/cache var/lib/dpkg var/lib/apt var/lib/systemd etc/.pwd.lock"
    prune = " -o ".join(f"-path /{path}" for path in others.split())
    files = node.run("sh", "-c", f"find / \\( {prune} \\) -prune -o ! -name '*-' -print")
    ours = node.run("sh", "-c", "find /run /var/lib/systemd -name '*nodedns*'")
    return links(node), rules(node), users, sorted(units.splitlines()), sorted(files.splitlines()), ours


def test_apt_installs_it(fresh_node: Node) -> None:
    """On a system with nothing but an init; then the two lines of the config that it came with, and a start."""
    node, said = fresh_node, fresh_node.said
    apt(node, "install", "/root/first.deb")  # where another drill has purged it meanwhile
    print(node.run("python3", "--version"), *node.run("dpkg-query", "-W", "python3-aiodns", "nftables").split("\n"))
    assert "set cluster.dns in /etc/nodedns/nodedns.toml" in said
    assert not node.active()
    assert node.run("systemctl", "is-enabled", "nodedns") == "disabled"
    lines = rf's/^#\[cluster\]/[cluster]/; s/^#dns = .*/dns = "{KUBE_DNS}"/'
    node.run("sed", "-i", lines, CONFIG, check=True)
    node.run("nodedns", "check", check=True)
    node.run("systemctl", "start", "nodedns", check=True)
    assert node.outside("pod", "dig", "+short", f"@{ADDRESS}", "n1.load.test").strip()


def test_upgrade_downgrade_reinstall(node: Node) -> None:
    """Each is a restart that loses nothing and leaves the cache warm; a TCP client is connected again within 200 ms."""
    serving(node)
    node.warm()
    for words in (("later",), ("first", "--force-downgrade"), ("first",)):
        with node.everyone(RATE, slowest=1.5):
            asked, pid = node.asked(node.authority), node.main_pid()
            began = time.monotonic()
            said = dpkg(node, *words[1:], "-i", f"/root/{words[0]}.deb")
            assert time.monotonic() - began < DEADLINE, node.journal()
            assert node.main_pid() not in (0, pid), said
            assert node.active()
            assert node.asked(node.authority) == asked
        assert version(node).startswith(LATER) == (words[0] == "later")
        node.await_(node.steered, "steering again")


def test_an_upgrade_while_it_is_stopped(node: Node) -> None:
    """What is enabled is started; what is disabled stays stopped."""
    serving(node)
    node.run("systemctl", "stop", "nodedns", check=True)
    dpkg(node, "-i", "/root/later.deb")
    assert node.active()
    node.run("systemctl", "disable", "--now", "nodedns", check=True)
    dpkg(node, "--force-downgrade", "-i", "/root/first.deb")
    assert not node.active()


def test_removal(node: Node) -> None:
    """Nothing is lost at the Service IP, which is kube-dns's again, and nothing of ours is left."""
    before = host(node)
    serving(node)
    with node.load(RATE // 5, "pod", SERVICE_IP) as load:
        dpkg(node, "-r", "nodedns")
        assert not node.active()
        assert (links(node), rules(node)) == before[:2]
        dpkg(node, "-P", "nodedns")
        unharmed(load, slowest=1.5)
    assert host(node) == before


def test_removed_and_installed_again(node: Node) -> None:
    """Config and enablement outlive a removal, as Debian's users are used to."""
    serving(node)
    dpkg(node, "-r", "nodedns")
    dpkg(node, "-i", "/root/first.deb")
    node.await_(node.steered, "steering")
    assert node.run("systemctl", "is-enabled", "nodedns") == "enabled"


def test_killed_in_its_postinst(node: Node) -> None:
    """`dpkg --configure -a` finishes what was begun: an installation; an upgrade, while the old code goes on."""
    node.configure(node.authority.port)
    node.write(POLICY, KILLS, 0o755)
    dpkg(node, "-i", "/root/first.deb", fails=True)
    assert version(node) == "0.1.0 install ok half-configured"
    node.run("rm", POLICY)
    dpkg(node, "--configure", "-a")
    node.await_(node.steered, "steering")
    with node.everyone(RATE, slowest=1.5):
        pid = node.main_pid()
        node.write(POLICY, KILLS, 0o755)
        dpkg(node, "-i", "/root/later.deb", fails=True)
        assert version(node) == f"{LATER} install ok half-configured"
        assert node.main_pid() == pid
        node.run("rm", POLICY)
        dpkg(node, "--configure", "-a")
        assert node.main_pid() not in (0, pid)
    assert version(node) == f"{LATER} install ok installed"


def test_a_config_edited_by_hand(node: Node) -> None:
    """It stays, dpkg says so, and a new default lies beside it; one that nobody has touched is replaced."""
    dpkg(node, "-i", "/root/first.deb")
    node.configure(node.authority.port)
    node.run("systemctl", "start", "nodedns", check=True)
    mine = (node.path / CONFIG[1:]).read_text()
    said = dpkg(node, "--force-confdef", "-i", "/root/later.deb")
    assert "Package distributor has shipped an updated version." in said
    assert "Keeping old config file as default." in said
    assert (node.path / CONFIG[1:]).read_text() == mine
    assert (node.path / f"{CONFIG[1:]}.dpkg-dist").read_text().endswith(NEW_DEFAULT)
    assert node.active()
    dpkg(node, "-P", "nodedns")
    dpkg(node, "-i", "/root/first.deb")
    dpkg(node, "-i", "/root/later.deb")
    assert (node.path / CONFIG[1:]).read_text().endswith(NEW_DEFAULT)


def test_a_key_of_a_later_version(node: Node) -> None:
    """A downgrade says which it is and where, and does not end the service that runs."""
    serving(node, "later", f"{KEY_OF_LATER} = 3\n")
    with node.everyone(RATE, slowest=1.5):
        pid = node.main_pid()
        said = dpkg(node, "-i", "/root/first.deb")
        unknown = f"{CONFIG}: node.{KEY_OF_LATER}: expected a known key, got an unknown one"
        assert f"{unknown} (misspelt, or a key of a later version)" in said
        assert "not restarted: mend what the lines above say, then: nodedns check && systemctl restart nodedns" in said
        assert node.main_pid() == pid
    node.configure(node.authority.port)
    node.run("systemctl", "restart", "nodedns", check=True)


def test_a_version_that_refuses_the_config(node: Node, debs: Debs, tmp_path: Path) -> None:
    """It is installed, and not run: workers that die, and a link that goes, are made again by the version that runs."""

    def make_other(tree: Path) -> None:
        make_refusing(tree)
        for name in ("worker/main.py", "monitor/main.py", "host/apply.py"):
            (tree / OURS / name).write_text("raise SystemExit(1)\n")

    shutil.copy(variant(debs.later, tmp_path, make_other, "other"), node.path / "root/other.deb")
    serving(node)
    node.await_(lambda: keeps_its_code(node.path / f"proc/{node.main_pid()}/fd"), "sure of its code")
    with node.everyone(RATE, slowest=1.5):
        parent = node.main_pid()
        assert "not restarted: mend what the lines above say" in dpkg(node, "-i", "/root/other.deb")
        before = {*node.workers(), node.monitor()}
        for pid in before:
            os.kill(node.outer(pid), signal.SIGKILL)
        node.await_(lambda: len({*node.workers(), node.monitor()} - before - {0}) == 3, "of three children")
    node.run("ip", "link", "del", "nodelocaldns", check=True)
    node.await_(lambda: ADDRESS in node.run("ip", "address", "show", "dev", "nodelocaldns"), "mended")
    assert node.main_pid() == parent


def test_networkd_is_told(node: Node) -> None:
    """A networkd that runs already, and is to manage our link, hears of our file before the link is made."""
    greedy = "/etc/systemd/network/50-greedy.network"
    node.write(greedy, "[Match]\nName=nodelocaldns\n[Network]\nKeepConfiguration=no\nLinkLocalAddressing=no\n")
    apt(node, "install", "udev")  # without its word networkd judges no link
    try:
        node.run("systemctl", "start", "systemd-udevd", check=True)
        node.run("udevadm", "trigger", "--subsystem-match=net", check=True)
        node.run("systemctl", "start", "systemd-networkd", check=True)
        serving(node)
        node.await_(lambda: "unmanaged" in node.run("networkctl", "--no-legend", "list", "nodelocaldns"), "unmanaged")
        assert node.outside("pod", "dig", "+short", f"@{ADDRESS}", "n1.load.test").strip()
    finally:
        node.run("rm", greedy)
        node.run("systemctl", "stop", "systemd-networkd", "systemd-networkd.socket")
        apt(node, "purge", "--auto-remove", "udev")


def test_network_manager_is_told(node: Node) -> None:
    """The same; without our file it takes the link."""
    greedy = "[keyfile]\nunmanaged-devices=except:interface-name:nodelocaldns\n"  # the node's other links are not its
    node.write("/etc/NetworkManager/conf.d/greedy.conf", greedy)
    # As in a container: without udev it would wait for it.
    node.write("/run/systemd/system/NetworkManager.service.d/drill.conf", "[Service]\nReadOnlyPaths=/sys\n")
    apt(node, "install", *NETWORK_MANAGER)
    try:
        node.await_(lambda: node.run("nmcli", "-g", "RUNNING", "general") == "running", "managing")
        serving(node)
        state = ("nmcli", "-g", "GENERAL.STATE", "device", "show", "nodelocaldns")
        node.await_(lambda: "unmanaged" in node.run(*state), "unmanaged")
        assert node.outside("pod", "dig", "+short", f"@{ADDRESS}", "n1.load.test").strip()
        node.run("rm", "/usr/lib/NetworkManager/conf.d/nodedns.conf", check=True)
        node.run("systemctl", "restart", "NetworkManager", check=True)
        node.await_(lambda: "connected" in node.run(*state), "taken")
    finally:
        apt(node, "purge", "--auto-remove", "network-manager")
        node.run("rm", "-r", "/etc/NetworkManager", "/run/systemd/system/NetworkManager.service.d")


def journal(node: Node) -> list[str]:
    """As syslog writes it."""
    return node.run("journalctl", "-q", "-b", "-o", "short").splitlines()


def test_logcheck_is_quiet(node: Node) -> None:
    """Of a normal life it reports no line; of one that went wrong it does."""
    before = len(journal(node))
    serving(node)
    node.run("systemctl", "reload", "nodedns", check=True)
    node.run("systemctl", "restart", "nodedns", check=True)
    node.await_(lambda: node.steered() and node.monitor(), "steering again, with a monitor")
    node.run("systemctl", "stop", "nodedns", check=True)
    ours: list[str] = []
    mine = False
    for line in journal(node)[before:]:  # what begins with a space belongs to the line above
        mine = mine if line[0] == " " else bool(re.search(r" nodedns\[|nodedns(-failopen)?\.service", line))
        # The booted root's cgroups are a namespace: a group that is empty already cannot be killed there.
        ours += [line] if mine and "Failed to kill control group" not in line else []
    pattern = ROOT / "packaging/deb/debian/nodedns.logcheck.ignore.server"
    assert len(ours) > 10
    wrong = "Nov 25 22:00:00 node nodedns[1]: worker 1 (pid 7) ended in state serving: killed by SIGSEGV"
    text = "\n".join([*ours, wrong])
    found = subprocess.run(["grep", "-Ev", "-f", pattern], input=text, capture_output=True, text=True, check=False)
    assert found.stdout.splitlines() == [wrong], found.stdout
