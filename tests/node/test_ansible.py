"""The role over two booted nodes: rolled out under load, run again, in check mode, with configs that are bad."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.node.debs import Debs
from tests.node.fleet import KUBELET, KUBELET_CONFIG, UPSTREAM, Fleet, config, fleet, no_ansible
from tests.node.network import SERVICE_IP
from tests.node.node import ADDRESS, Node
from tests.node.test_host import unharmed

RATE = 200
CONFIG = "etc/nodedns/nodedns.toml"


@pytest.fixture(scope="module")
def nodes(debs: Debs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Two nodes without nodedns, in this order."""
    if reason := no_ansible():
        pytest.skip(reason)
    with fleet(tmp_path_factory.mktemp("fleet")) as booted:
        yield booted


def state(node: Node) -> list[Any]:
    """Whatever a run may have changed."""
    files = [node.path / name for name in (KUBELET[1:], CONFIG, "run/kubelet-starts")]
    texts = [file.read_text() if file.exists() else None for file in files]
    kept = node.run(
        "find", "/var/lib/nodedns-role", "/etc/systemd/system", "-newermt", "1970-01-01", "-printf", "%p %T@\n"
    )
    return [*texts, node.main_pid(), node.run("dpkg-query", "--show"), kept]


def answer(node: Node, who: str, address: str) -> str:
    """A name's address, asked over TCP, which no load does."""
    return node.outside(who, "dig", f"@{address}", "+short", "+tcp", "+tries=1", "n1.load.test").strip()


def test_rollout(nodes: Fleet, debs: Debs) -> None:
    """Check mode touches nothing. Then both nodes have it, without a query lost at the Service IP, and a second run
    changes nothing."""
    package = str(debs.first)
    before = [state(node) for node in nodes.nodes.values()]
    play = nodes.play("rollout", "--check", "--diff", nodedns_package_file=package)
    assert play.code == 0, play.said
    assert all(changed for changed, _ in play.hosts.values())
    assert "+  - 169.254.20.10  # kube-dns" in play.said
    assert [state(node) for node in nodes.nodes.values()] == before

    with ExitStack() as stack:
        loads = [stack.enter_context(node.load(RATE, "pod", SERVICE_IP)) for node in nodes.nodes.values()]
        play = nodes.play("rollout", nodedns_package_file=package)
        assert play.code == 0, play.said
        for load in loads:
            unharmed(load, slowest=1.5)
    for node in nodes.nodes.values():
        kubelet = (node.path / KUBELET[1:]).read_text()
        assert kubelet == KUBELET_CONFIG.replace(SERVICE_IP, ADDRESS).replace("  - 10.96.0.11\n", "")
        assert (node.path / "run/kubelet-starts").read_text() == f"{SERVICE_IP},10.96.0.11\n{ADDRESS}\n"
        assert (node.path / KUBELET[1:]).stat().st_mode & 0o777 == 0o600
        assert answer(node, "pod", ADDRESS) == answer(node, "node", SERVICE_IP) != ""
        assert node.run("systemctl", "is-enabled", "nodedns", "nodedns-failopen") == "enabled\nenabled"
        assert "nodedns-verify" not in node.run("ip", "netns") + node.run("ip", "link")

    before = [state(node) for node in nodes.nodes.values()]
    play = nodes.play("rollout", nodedns_package_file=package)
    assert (play.code, play.hosts) == (0, {"one": (0, 0), "two": (0, 0)}), play.said
    assert [state(node) for node in nodes.nodes.values()] == before


def test_check_mode_of_a_change(nodes: Fleet, debs: Debs) -> None:
    """It shows what would be written, and nothing is."""
    before = [state(node) for node in nodes.nodes.values()]
    play = nodes.play(
        "rollout", "--check", "--diff", nodedns_package_file=str(debs.later), nodedns_config=config(rate_limit=7)
    )
    assert play.code == 0, play.said
    assert "+rate_limit = 7" in play.said
    assert "nodedns 0.1.0 would give way to later.deb" in play.said
    assert [state(node) for node in nodes.nodes.values()] == before


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (config(listen=[ADDRESS, "0.0.0.0"]), '/etc/nodedns/nodedns.toml: node.listen[1]: expected an IP, "IP:port"'),
        (config(UPSTREAM + 1), "two: Ask from the node: SERVFAIL: kubernetes.default.svc.cluster.local. A at"),
    ],
    ids=["that check refuses", "that does not answer"],
)
def test_bad_config(nodes: Fleet, debs: Debs, bad: dict[str, Any], said: str) -> None:
    """The first node keeps the new one; the second serves its old one, and the play ends with a line that says why."""
    package, two = str(debs.first), nodes.nodes["two"]
    old = (two.path / CONFIG).read_text()
    good = config(rate_limit=100_000 + len(said))
    play = nodes.play(
        "rollout", nodedns_package_file=package, nodedns_config=good, hosts={"two": {"nodedns_config": bad}}
    )
    assert play.code != 0
    assert [failed for _, failed in play.hosts.values()] == [0, 1], play.said
    line = next(line for line in play.said.splitlines() if line.startswith("[ERROR]") and "put back" in line)
    assert said in line
    assert line.endswith("the node was put back to nodedns 0.1.0 and its config")
    assert f"rate_limit = {100_000 + len(said)}" in (nodes.nodes["one"].path / CONFIG).read_text()
    assert (two.path / CONFIG).read_text() == old
    assert two.active()
    assert answer(two, "pod", ADDRESS) != ""


def test_the_first_bad_node_is_the_last(nodes: Fleet, debs: Debs) -> None:
    """Nobody behind it is come to."""
    before = state(nodes.nodes["two"])
    play = nodes.play(
        "rollout", nodedns_package_file=str(debs.first), hosts={"one": {"nodedns_config": config(workers=0)}}
    )
    assert list(play.hosts) == ["one"]
    assert state(nodes.nodes["two"]) == before


def test_a_batch(nodes: Fleet, debs: Debs) -> None:
    """A bad node does not keep the others of its batch from coming to their end."""
    bad, two = config(listen=[ADDRESS, "0.0.0.0"]), nodes.nodes["two"]
    variables = {
        "nodedns_package_file": str(debs.first),
        "nodedns_config": config(rate_limit=4711),
    }
    play = nodes.play("rollout", "-e", "nodedns_serial=2", hosts={"one": {"nodedns_config": bad}}, **variables)
    assert play.code != 0
    assert {name: failed for name, (_, failed) in play.hosts.items()} == {"one": 1, "two": 0}
    assert "rate_limit = 4711" in (two.path / CONFIG).read_text()
    assert (two.path / "run/kubelet-starts").read_text().splitlines()[-1] == ADDRESS
    assert answer(two, "pod", ADDRESS) != ""
