"""What dies, and what it costs: each drill prints sent, lost, slowest and gap."""

import re
import time

import pytest

from tests.node.node import Node
from tests.service.service import keeps_its_code

RATE = 10_000


@pytest.fixture(autouse=True)
def well(node: Node) -> None:
    """Every drill begins with a service that is up, and that a stop takes away whole."""
    node.configure(node.authority.port, extra='on_stop = "clean"\n')
    node.await_(node.active, "active")
    node.run("systemctl", "reload", "nodedns", check=True)


def test_kill_a_worker(node: Node) -> None:
    """SIGKILL of a worker, twenty times, three a second: a TCP client that has lost one worker gets to ask the next
    before that is killed, too."""
    with node.everyone(RATE, slowest=0.2, tcp=0.5):  # to connect again may take 0.2 s (tests.service.load_tcp)
        began = time.monotonic()
        for number in range(20):
            time.sleep(max(0.0, began + 0.3 * number - time.monotonic()))  # a rate, not a wait for anything
            before = node.workers()
            node.run("kill", "-9", str(before[0]), check=True)
            node.await_(lambda old=before: set(node.workers()) - set(old) and len(node.workers()) == 2, "whole again")


@pytest.mark.parametrize("what", ["the parent", "everything"])
def test_kill_the_parent(node: Node, what: str) -> None:
    """SIGKILL of the supervisor, or of all its processes: the sockets queue, the cache is warm afterwards."""
    with node.everyone(RATE, slowest=1.5):
        before, seen = node.main_pid(), node.asked(node.authority)
        if what == "the parent":
            node.run("kill", "-9", str(before), check=True)
        else:
            node.run("systemctl", "kill", "-s", "KILL", "nodedns", check=True)
        node.await_(lambda: node.main_pid() not in (0, before) and node.active(), "restarted")
        assert node.asked(node.authority) == seen


def test_restart(node: Node) -> None:
    """systemctl restart, ten times: nothing lost, the cache kept."""
    with node.everyone(RATE, slowest=1.5):
        seen = node.asked(node.authority)
        for _ in range(10):
            node.run("systemctl", "restart", "nodedns", check=True)
        assert node.asked(node.authority) == seen


def test_reload(node: Node) -> None:
    """systemctl reload, three times."""
    with node.everyone(RATE, slowest=0.5):
        for _ in range(3):
            node.run("systemctl", "reload", "nodedns", check=True)


def test_a_hung_parent(node: Node) -> None:
    """SIGSTOP of the supervisor: its workers go on, systemd's watchdog ends it, nothing is lost."""
    with node.everyone(2000, slowest=1.5):
        before = node.main_pid()
        node.run("kill", "-STOP", str(before), check=True)
        node.await_(lambda: node.main_pid() not in (0, before) and node.active(), "restarted")


def test_workers_have_no_privilege(node: Node) -> None:
    """Workers run as user nodedns, without capabilities, groups or a way back."""
    for pid in node.workers():
        status = node.run("cat", f"/proc/{pid}/status")
        assert re.search(r"^CapEff:\s0+$", status, re.M)
        assert re.search(r"^CapPrm:\s0+$", status, re.M)
        assert re.search(r"^NoNewPrivs:\s1$", status, re.M)
        assert re.search(r"^Seccomp:\s2$", status, re.M)
        assert node.run("stat", "-c", "%U", f"/proc/{pid}") == "nodedns"


@pytest.mark.parametrize("unit", ["nodedns.service", "nodedns-failopen.service"])
def test_the_unit_is_sound(node: Node, unit: str) -> None:
    """systemd finds no fault in the unit, and little exposure: 2.5 or lower."""
    assert node.complaints("systemd-analyze", "verify", "--man=no", f"/etc/systemd/system/{unit}") == ""
    said = node.run("systemd-analyze", "security", "--no-pager", unit).splitlines()[-1]
    print(said)
    assert float(re.search(r"[0-9]+\.[0-9]+", said)[0]) <= 2.5


def test_a_bad_config_is_not_tried_again(node: Node) -> None:
    """Exit code 78 ends in `failed`, with the reason in the journal, and a good config starts it again."""
    good = node.run("cat", "/etc/nodedns/nodedns.toml")
    node.run("systemctl", "stop", "nodedns", check=True)
    node.write("/etc/nodedns/nodedns.toml", "[cluster]\n")
    node.run("systemctl", "start", "nodedns")
    assert node.run("systemctl", "is-failed", "nodedns") == "failed"
    assert "cluster.dns" in node.journal()
    node.write("/etc/nodedns/nodedns.toml", good)
    node.run("systemctl", "start", "nodedns", check=True)
    assert node.active()


def test_a_stop_leaves_nothing(node: Node) -> None:
    """After systemctl stop neither a process nor a run file of ours is left."""
    node.run("systemctl", "stop", "nodedns", check=True)
    assert not (node.path / "run/nodedns").exists()
    assert node.run("pgrep", "-f", "nodedns run") == ""
    node.run("systemctl", "start", "nodedns", check=True)


def test_a_hung_worker(node: Node) -> None:
    """SIGSTOP of a worker: another one serves within 2 s."""
    with node.everyone(RATE, slowest=2.0):
        before = set(node.workers())
        node.run("kill", "-STOP", str(min(before)), check=True)
        node.await_(lambda: len(set(node.workers()) - before) == 1 and len(node.workers()) == 2, "whole again")


def test_a_hung_monitor(node: Node) -> None:
    """SIGSTOP of the monitor: another one within 2 s; nobody who asks notices."""
    with node.everyone(RATE, slowest=0.5):
        before = node.monitor()
        began = time.monotonic()
        node.run("kill", "-STOP", str(before), check=True)
        node.await_(lambda: node.monitor() not in (0, before), "another monitor")
        took = time.monotonic() - began
    print(f"another monitor after {took:.2f} s")
    assert took <= 2.0


def link(node: Node) -> str:
    """ip's words for our link and its addresses, one line each; "" when there is none."""
    return node.run("ip", "-4", "-o", "-d", "address", "show", "nodelocaldns")


def test_the_link_is_ours_and_stays(node: Node) -> None:
    """The start has made it, with the address and our alias; a crash and a restart leave it untouched."""
    before = link(node)
    assert "169.254.20.10/32" in before
    assert "alias nodedns" in node.run("ip", "-d", "link", "show", "nodelocaldns")
    old = node.main_pid()
    node.run("kill", "-9", str(old), check=True)
    node.await_(lambda: node.main_pid() not in (0, old) and node.active(), "restarted")
    node.run("systemctl", "restart", "nodedns", check=True)
    assert link(node) == before


def test_a_stop_takes_the_link_away(node: Node) -> None:
    """After a clean stop the host is as it was; what is missing or too much at a start is put right."""
    node.run("systemctl", "stop", "nodedns", check=True)
    assert link(node) == ""
    node.run("ip", "link", "add", "nodelocaldns", "type", "bridge", check=True)
    node.run("ip", "link", "set", "nodelocaldns", "alias", "nodedns", check=True)
    node.run("ip", "address", "add", "10.9.9.9/32", "dev", "nodelocaldns", check=True)
    node.run("systemctl", "start", "nodedns", check=True)
    assert "169.254.20.10/32" in link(node)
    assert "10.9.9.9" not in link(node)
    assert "removed 10.9.9.9 from nodelocaldns" in node.journal()


def test_an_address_of_another_link(node: Node) -> None:
    """As in IPVS mode: the address sits on kube-ipvs0. Refused by name, with what to do, and no link of ours left."""
    node.run("systemctl", "stop", "nodedns", check=True)
    node.run("ip", "link", "del", "nodelocaldns")
    node.run("ip", "link", "add", "kube-ipvs0", "type", "bridge", check=True)
    node.run("ip", "address", "add", "169.254.20.10/32", "dev", "kube-ipvs0", check=True)
    try:
        node.run("systemctl", "start", "--no-block", "nodedns", check=True)
        refusal = "node.listen: 169.254.20.10 is on link kube-ipvs0 already; kube-proxy in IPVS mode holds it"
        node.await_(lambda: refusal in node.journal(), "refused")
        node.run("systemctl", "stop", "nodedns", check=True)
        assert link(node) == ""
    finally:
        node.run("ip", "link", "del", "kube-ipvs0")
    node.run("systemctl", "start", "nodedns", check=True)


def test_it_keeps_its_code(node: Node) -> None:
    """Also where what is not compiled yet cannot be compiled beside its source: the unit may not write there."""
    assert not list((node.path / "usr/lib/python3/dist-packages/nodedns/worker").rglob("*.pyc"))
    node.await_(lambda: keeps_its_code(node.path / f"proc/{node.main_pid()}/fd"), "sure of its code")
