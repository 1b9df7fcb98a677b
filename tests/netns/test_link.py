"""host.link, supervisor.netlink.Ears and the cleanup verb."""

import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from nodedns.cli import main
from nodedns.config import parse
from nodedns.host import apply, link
from nodedns.host.errors import ChangeError
from nodedns.supervisor.netlink import Ears
from nodedns.supervisor.poller import Poller
from nodedns.supervisor.probe import Probe
from nodedns.verbs.doctor.leftovers import of_node_cache
from nodedns.verbs.doctor.scene import Scene
from tests.netns.conftest import host, say
from tests.netns.scenes import KUBE_DNS, OTHERS, PLANS, SERVICE_IP, V4, V6, plan
from tests.node.node_cache import rules

LINK = "nodelocaldns"
ALL = tuple(at.address for at in (V4, SERVICE_IP, V6))


def test_converge() -> None:
    """Made, with every address usable at once; a second look changes nothing; what is too much or too few is put
    right; removed without a trace."""
    before, said = host(), list[str]()
    link.converge(LINK, ALL, said.append)
    shown = say("ip", "address", "show", LINK)
    assert all(f" {address}/" in shown for address in ALL)
    assert "global tentative" not in shown
    assert said[1:] == [f"set link {LINK} up", *(f"added {address} to {LINK}" for address in ALL)]
    said.clear()
    link.converge(LINK, ALL, said.append)
    assert said == []
    say("ip", "address", "del", f"{V6.address}/128", "dev", LINK)
    say("ip", "address", "add", "192.0.2.1/32", "dev", LINK)
    say("ip", "link", "set", LINK, "down")
    link.converge(LINK, ALL, said.append)
    # an interface that goes down loses its IPv6 addresses, and keeps its IPv4 ones
    assert said == [f"set link {LINK} up", f"added {V6.address} to {LINK}", f"removed 192.0.2.1 from {LINK}"]
    link.remove(LINK, said.append)
    link.remove(LINK, said.append)
    assert host() == before


@pytest.mark.parametrize(
    ("there", "message"),
    [
        ("link add kube-ipvs0 type bridge; address add 169.254.20.10/32 dev kube-ipvs0", "kube-proxy in IPVS mode"),
        ("address add 169.254.20.10/32 dev lo", "is on link lo already; take it from there"),
        (f"link add {LINK} type veth", f"{LINK} is a link of kind veth; choose another name"),
    ],
)
def test_refused(there: str, message: str) -> None:
    """What another has is named, with what to do, and nothing is left half done."""
    for command in there.split("; "):
        say("ip", *command.split())
    before = host()
    with pytest.raises(ChangeError, match=message):
        link.converge(LINK, ALL, print)
    assert host() == before


def test_taken_away_under_our_hands() -> None:
    """What the kernel says then is an error of ours, with the link's name; nothing is left."""

    def log(line: str) -> None:
        if line.startswith("set link"):
            say("ip", "link", "del", LINK)

    before = host()
    with pytest.raises(ChangeError, match=f"node.interface: link {LINK}: No such device; look at ip link"):
        link.converge(LINK, ALL, log)
    assert host() == before


def test_no_way_there() -> None:
    """Without link and default route, our own question has no answer; that is not the end of who asks."""
    probe = Probe(Poller(), [V4], now=0.0)
    probe.ask(1.0)
    assert probe.silent == f"{V4} over UDP, {V4} over TCP"
    say("ip", "address", "add", f"{V4.address}/32", "dev", "lo")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((V4.address, V4.port))
        server.settimeout(5)
        probe.ask(2.0)
        assert server.recv(512)
    probe.close()


def test_a_link_of_others_stays() -> None:
    """Without our alias it is not ours to take away, nor is what it has beside our addresses."""
    say("ip", "link", "add", LINK, "type", "bridge")
    say("ip", "address", "add", "10.96.0.99/32", "dev", LINK)
    link.converge(LINK, ALL, print)
    assert "10.96.0.99" in say("ip", "address", "show", LINK)
    link.remove(LINK, print)
    link.remove_all(print)
    assert LINK in say("ip", "link")


def test_set_up_that_fails_leaves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without nft there is no link either."""
    before = host()
    with monkeypatch.context() as empty:
        empty.setenv("PATH", str(tmp_path))
        with pytest.raises(ChangeError, match="no command nft"):
            apply.set_up(PLANS["both"], False, print)
    assert host() == before


OURS = [
    f"ip link set {LINK} down",
    f"ip link del {LINK}",
    f"ip address del 169.254.20.10/32 dev {LINK}",
    "nft flush ruleset",
    "nft delete table inet nodedns",
    "iptables-nft -F NODEDNS-INPUT",
    "iptables-nft -F",
]
NOT_OURS = [
    "ip link add other type bridge",
    "ip address add 192.0.2.1/32 dev lo",
    "nft add table inet other",
    "iptables-nft -A FORWARD -s 192.0.2.1 -j DROP",
]


@pytest.mark.parametrize("command", OURS + NOT_OURS)
def test_ears(command: str) -> None:
    """They hear who touches what is ours, and nobody else."""
    apply.repair(plan(V4, fallback=KUBE_DNS, netfilter="iptables-nft"), False, print)
    ears = Ears(LINK)
    assert not ears.ours()
    say(*command.split())
    assert ears.ours() == (command in OURS)
    assert not ears.ours()
    ears.close()


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A config file; the state directory is beside it."""
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    monkeypatch.setattr("nodedns.verbs.cleanup.STATE_DIR", tmp_path / "state")
    (tmp_path / "state").mkdir()
    file = tmp_path / "nodedns.toml"
    file.write_text(f'[cluster]\ndns = "127.0.0.1:5399"\n[node]\nrun_dir = "{tmp_path}/run"\n')
    return str(file)


@pytest.mark.parametrize("backend", ["nftables", "iptables-nft", "iptables-legacy"])
def test_cleanup(config: str, backend: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever a dead service has left is gone, also when the config is broken by now; those of others stay."""
    say("nft", "-f", "-", text=OTHERS["nft"])
    say("iptables-legacy-restore", text=OTHERS["iptables"])
    before = host()
    apply.repair(plan(V4, SERVICE_IP, V6, fallback=KUBE_DNS, netfilter=backend), True, print)
    assert (tmp_path / "state/failopen.nft").exists()
    Path(config).write_text("bogus")
    assert main(["cleanup", "--config", config]) == 0
    assert host() == before
    assert list((tmp_path / "state").iterdir()) == []
    capsys.readouterr()
    assert main(["cleanup", "--config", config]) == 0
    assert capsys.readouterr().out == ""


def test_what_the_next_boot_loads(config: str, tmp_path: Path) -> None:
    """The remembered transaction makes the same table, with nobody alive in it."""
    apply.repair(PLANS["both"], True, print)
    say("nft", "flush", "set", "inet", "nodedns", "alive4")
    say("nft", "flush", "set", "inet", "nodedns", "alive6")
    before = say("nft", "list", "ruleset")
    say("nft", "flush", "ruleset")
    say("nft", "-f", str(tmp_path / "state/failopen.nft"))
    assert say("nft", "list", "ruleset") == before


@pytest.mark.parametrize("backend", ["iptables-nft", "iptables-legacy"])
@pytest.mark.parametrize("age", ["of today", "before 2023"])
def test_cleanup_of_node_cache(config: str, backend: str, age: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What a killed one has left is gone, twice is as well; ours and those of others stay."""
    command = f"iptables{backend.removeprefix('iptables')}"
    say(f"{command}-restore", text=OTHERS["iptables"])
    apply.repair(replace(plan(V4, fallback=KUBE_DNS, netfilter=backend), link="nodedns", beside=True), True, print)
    with open(config, "a", encoding="ascii") as file:
        file.write('interface = "nodedns"\nbeside = "node-cache"\n')
    before = host()
    say("ip", "link", "add", LINK, "type", "bridge")
    say("ip", "address", "add", f"{V4.address}/32", "dev", LINK)
    for rule in rules(V4.address):
        comment = len(rule) if age == "of today" else rule.index("-m")
        say(command, *rule[:2], "-I", *rule[2:comment])
    assert [finding.level for finding in of_node_cache(Scene(parse(Path(config).read_text()), "/nonexistent"))] == (
        ["note"] if age == "of today" else []
    )
    for said in (3, 0):
        capsys.readouterr()
        assert main(["cleanup", "--node-cache", "--config", config]) == 0
        assert capsys.readouterr().out.count("\n") == said  # two tables and the link
        assert host() == before


def test_cleanup_waits_for_its_end(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    """While one runs, it would put all back."""
    pause = "open('/proc/self/comm', 'w').write('node-cache'); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", pause], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == b"\n"
        assert main(["cleanup", "--node-cache", "--config", config]) == 1
        assert f"pid {running.pid} (node-cache) runs" in capsys.readouterr().err
        elsewhere = ["unshare", "-n", sys.executable, "-m", "nodedns", "cleanup", "--node-cache", "--config", config]
        assert subprocess.run(elsewhere, check=False).returncode == 0
        running.communicate(b"\n")
