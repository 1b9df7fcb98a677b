"""What cannot be served: one line in the journal says what, where and what to do, and the host is as before."""

from collections.abc import Iterator

import pytest

from tests.node.network import SERVICE_IP
from tests.node.node import ADDRESS, Node
from tests.node.test_host import state

DROP_IN = "/etc/systemd/system/nodedns.service.d/drill.conf"
PROGRAM = "/usr/bin/nodedns"


@pytest.fixture(autouse=True)
def stopped(node: Node) -> Iterator[None]:
    """Every case begins with a host that has nothing of ours, and ends with a service that is up."""
    node.configure(node.authority.port, extra='on_stop = "clean"\n')
    node.run("systemctl", "reload-or-restart", "nodedns")
    node.run("systemctl", "stop", "nodedns", check=True)
    yield
    for command in (f"rm -f {DROP_IN}", "systemctl stop nodedns", "systemctl daemon-reload"):
        node.run(*command.split())
    node.unpack()
    node.configure(node.authority.port)
    node.run("systemctl", "start", "nodedns", check=True)


CASES = {
    "not local": ('interface = "none"\n', "", "UDP 169.254.20.10:53 is on no interface; add it (ip link add"),
    "no CAP_NET_ADMIN": (
        "",
        "CapabilityBoundingSet=\nCapabilityBoundingSet=CAP_NET_BIND_SERVICE CAP_SETUID CAP_SETGID CAP_KILL\n",
        "netlink: Operation not permitted; CAP_NET_ADMIN is needed",
    ),
    "no nft": ("", "Environment=PATH=/usr/bin\nInaccessiblePaths=/usr/sbin/nft\n", "install nftables, or set node.net"),
    "neither": (
        'netfilter = "iptables-nft"\n',
        "InaccessiblePaths=/usr/sbin/nft /usr/sbin/xtables-nft-multi /usr/sbin/xtables-legacy-multi\n",
        "install nftables, or set node.netfilter",
    ),
    "no iptables": (
        'netfilter = "iptables-legacy"\n',
        "InaccessiblePaths=/usr/sbin/xtables-legacy-multi\n",
        "command iptables-legacy-restore; install iptables",
    ),
    "read-only /run": (
        "",
        "ReadWritePaths=\nRuntimeDirectory=\nReadOnlyPaths=/run\n",
        "Read-only file system; check node.run_dir",
    ),
}


@pytest.mark.parametrize(("extra", "unit", "said"), CASES.values(), ids=CASES)
def test_refused(node: Node, extra: str, unit: str, said: str) -> None:
    """The start fails with that line, again and again, and leaves nothing half done."""
    before = state(node)
    node.configure(node.authority.port, extra=f'on_stop = "clean"\n{extra}')
    node.write(DROP_IN, f"[Service]\n{unit}")
    node.run("systemctl", "daemon-reload", check=True)
    since = node.run("date", "+%s.%N")
    node.run("systemctl", "start", "--no-block", "nodedns", check=True)

    def journal() -> str:
        return node.run("journalctl", "-u", "nodedns", "--since", f"@{since}", "-o", "cat")

    node.await_(lambda: said in journal(), "refused")
    node.run("systemctl", "stop", "nodedns", check=True)
    assert "no answer from ;" not in journal()
    after = state(node)
    assert after == before


def test_a_crash_loop_is_slowed_down(node: Node) -> None:
    """The first restarts come at once; then the unit waits ever longer, and forgets it with the next good start."""
    node.write(PROGRAM, "#!/bin/sh\nexit 1\n", 0o755)
    node.run("systemctl", "start", "--no-block", "nodedns", check=True)
    deaths = node.path / "run/nodedns/failures"
    node.await_(lambda: deaths.exists() and int(deaths.read_text() or 0) >= 7, "slowed down")
    assert node.run("systemctl", "show", "-P", "SubState", "nodedns") == "stop-post"
    node.unpack()
    node.await_(node.active, "active again")
    assert not deaths.exists()


def test_networkd_leaves_the_link_alone(node: Node) -> None:
    """A networkd that is told to manage every link takes our addresses away; with our file it does not."""
    greedy = "[Match]\nName=nodelocaldns\n[Network]\nKeepConfiguration=no\nLinkLocalAddressing=no\n"
    node.write("/etc/systemd/network/50-greedy.network", greedy)
    node.run("systemctl", "start", "nodedns", check=True)
    try:
        # As in a container: without udev it would wait for it.
        node.write("/run/systemd/system/systemd-networkd.service.d/drill.conf", "[Service]\nReadOnlyPaths=/sys\n")
        node.run("systemctl", "daemon-reload", check=True)
        node.run("systemctl", "start", "systemd-networkd", check=True)
        node.await_(lambda: "unmanaged" in node.run("networkctl", "--no-legend", "list", "nodelocaldns"), "seen")
        assert "systemd-networkd leaves nodelocaldns alone" in node.run("nodedns", "doctor")
        for address in (ADDRESS, SERVICE_IP):
            assert node.outside("node", "dig", "+short", f"@{address}", "n1.load.test").strip()
        assert "removed" not in node.journal().rpartition("workers serve")[2]
    finally:
        node.run("rm", "/etc/systemd/network/50-greedy.network")
        node.run("systemctl", "stop", "systemd-networkd", "systemd-networkd.socket")


def test_cleanup_after_a_death(node: Node) -> None:
    """With everything killed and no restart, link and rules are still there; `nodedns cleanup` leaves nothing."""
    before = state(node)
    node.configure(node.authority.port)
    node.run("systemctl", "start", "nodedns", check=True)
    node.await_(node.steered, "steered")
    said = node.complaints("nodedns", "cleanup")
    assert "another instance runs" in said
    assert node.active()
    node.write(DROP_IN, "[Service]\nRestart=no\n")
    node.run("systemctl", "daemon-reload", check=True)
    node.run("systemctl", "kill", "-s", "KILL", "nodedns", check=True)
    node.await_(lambda: node.run("systemctl", "is-failed", "nodedns") == "failed", "dead")
    assert state(node) != before
    left = "it does not run, and left link nodelocaldns, nftables table inet nodedns"
    assert left in node.run("nodedns", "doctor")
    node.run("nodedns", "cleanup", check=True)
    assert state(node) == before
    assert node.run("nodedns", "cleanup", check=True) == ""
    assert node.run("find", "/run/nodedns", "/var/lib/nodedns", "-type", "f") == ""
