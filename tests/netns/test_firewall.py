"""host.netfilter.firewall and detect: whose rules drop, and ours above them."""

import shutil
import socket
from pathlib import Path

import pytest

from nodedns.config import parse
from nodedns.core.plan import Plan
from nodedns.host.errors import ChangeError
from nodedns.host.netfilter import firewall, iptables
from nodedns.host.netfilter.detect import detect
from nodedns.verbs.doctor import network
from nodedns.verbs.doctor.scene import Scene
from tests.netns.conftest import host, say
from tests.netns.scenes import OTHERS, PLANS, V4, plan
from tests.service.service import DEADLINE


@pytest.mark.parametrize("wanted", PLANS.values(), ids=PLANS)
def test_converge_and_remove(wanted: Plan) -> None:
    """A rule in each chain that can drop, none in others, none twice, and none left."""
    say("nft", "-f", "-", text=OTHERS["nft"])
    before = host()
    assert firewall.converge(wanted, print)
    assert not firewall.converge(wanted, print)
    assert {str(chain) for chain in firewall.marked()} == {"inet firewall input", "inet firewall output"}
    assert "nodedns" not in say("nft", "list", "table", "ip", "harmless")
    firewall.remove(print)
    assert host() == before


def test_a_packet_gets_through() -> None:
    """Before, the firewall drops a query; afterwards it arrives, and one for another port does not."""
    say("ip", "address", "add", f"{V4.address}/32", "dev", "lo")
    say("nft", "-f", "-", text=OTHERS["nft"])

    def arrives(port: int, patience: float = DEADLINE) -> bool:
        with socket.socket(type=socket.SOCK_DGRAM) as server, socket.socket(type=socket.SOCK_DGRAM) as client:
            server.bind((V4.address, port))
            server.settimeout(patience)
            client.sendto(b"query", (V4.address, port))
            try:
                return server.recv(16) == b"query"
            except TimeoutError:
                return False

    assert not arrives(53, 0.3)
    firewall.converge(plan(V4), print)
    assert arrives(53)
    assert not arrives(54, 0.3)


KUBE = "*mangle\n:KUBE-IPTABLES-HINT - [0:0]\nCOMMIT\n"
CANARY = "*mangle\n:KUBE-KUBELET-CANARY - [0:0]\nCOMMIT\n"
DROP = "*filter\n:INPUT DROP [0:0]\nCOMMIT\n"


@pytest.mark.parametrize(
    ("written", "backend"),
    [
        ([], "nftables"),
        ([("iptables-nft-restore", KUBE)], "iptables-nft"),
        ([("iptables-legacy-restore", KUBE)], "iptables-legacy"),
        ([("ip6tables-legacy-restore", CANARY)], "iptables-legacy"),
        ([("iptables-legacy-restore", DROP), ("iptables-nft-restore", CANARY)], "iptables-nft"),
        ([("iptables-legacy-restore", DROP)], "iptables-legacy"),
        ([("iptables-nft-restore", OTHERS["iptables"])], "iptables-nft"),
        ([("iptables-legacy-restore", DROP), ("nft", "table ip kube-proxy {}")], "nftables"),
    ],
)
def test_detect(written: list[tuple[str, str]], backend: str) -> None:
    """What kubelet, kube-proxy or a firewall has left decides; to look leaves no table behind."""
    for command, text in written:
        say(command, *(["-f", "-"] if command == "nft" else []), text=text)
    before = host()
    assert detect()[0] == backend
    assert host() == before


def test_legacy_tables_and_no_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A container has brought its own iptables: whether it drops what comes to us cannot be seen, and that is said."""
    say("iptables-legacy-restore", text=DROP)
    (tmp_path / "nft").symlink_to(shutil.which("nft") or "")
    monkeypatch.setenv("PATH", str(tmp_path))
    (finding,) = network.commands(
        Scene(parse('[cluster]\ndns = "10.96.0.10"\n[[zone]]\nname = "."\nforward = ["192.0.2.1"]\n'), "/nonexistent")
    )
    assert finding.level == "note"
    assert finding.advice.startswith("install iptables")


@pytest.mark.parametrize("backend", iptables.BACKENDS)
def test_ours_decide_nothing(backend: str) -> None:
    """Our own chains are no reason to keep a backend."""
    iptables.converge(backend, plan(V4), print)
    assert detect()[0] == "nftables"


def test_a_missing_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """Named, with the package that has it."""
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(ChangeError, match="no command nft; install nftables"):
        firewall.converge(plan(V4), print)
