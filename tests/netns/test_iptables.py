"""host.netfilter.iptables: ACCEPT chains of ours beside the rules of others, in each backend."""

import re

import pytest

from nodedns.host.netfilter import iptables
from tests.netns.conftest import host, say
from tests.netns.scenes import KUBE_DNS, OTHERS, SERVICE_IP, V4, V6, plan

WANTED = plan(V4, SERVICE_IP, V6, fallback=KUBE_DNS)
COMMANDS = {"iptables-nft": "tables-nft", "iptables-legacy": "tables-legacy"}


@pytest.fixture(params=iptables.BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    """One backend, with somebody's rules in it."""
    name: str = request.param
    for family in ("ip", "ip6"):
        text = OTHERS["iptables"] if family == "ip" else re.sub(r"-A MINE.*\n", "", OTHERS["iptables"])
        say(f"{family}{COMMANDS[name]}-restore", text=text)
    return name


def rules(backend: str, family: str = "ip") -> list[str]:
    """iptables-save's rules of the filter table."""
    saved = say(f"{family}{COMMANDS[backend]}-save", "-t", "filter")
    return [line for line in saved.splitlines() if line.startswith("-A")]


def test_converge_and_remove(backend: str) -> None:
    """Ours stand first, those of others stay as they were, and afterwards nothing is left."""
    before = host()
    assert iptables.converge(backend, WANTED, print)
    jump = '-A INPUT -m comment --comment "nodedns: allow DNS traffic" -j NODEDNS-INPUT'
    assert next(rule for rule in rules(backend) if rule.startswith("-A INPUT")) == jump
    assert sum("-j ACCEPT" in rule for rule in rules(backend)) == 8  # 2 addresses, 2 protocols, 2 directions
    assert sum("-j ACCEPT" in rule for rule in rules(backend, "ip6")) == 4
    assert sum("MINE" in rule for rule in rules(backend)) == 2
    iptables.remove(backend, print)
    assert host() == before


def test_a_thousand_looks(backend: str) -> None:
    """The number of rules does not grow, and none of the looks writes anything."""
    iptables.converge(backend, WANTED, print)
    before = rules(backend) + rules(backend, "ip6")
    said: list[str] = []
    for _ in range(1000):
        assert not iptables.converge(backend, WANTED, said.append)
    assert rules(backend) + rules(backend, "ip6") == before
    assert said == []


@pytest.mark.parametrize(
    "damage",
    [
        "-F NODEDNS-INPUT",
        "-F",
        "-F INPUT",
        "-I INPUT -p udp -j DROP",
        "-A INPUT -j NODEDNS-INPUT",
        "-D NODEDNS-OUTPUT 1",
        "-I NODEDNS-INPUT -j DROP",
    ],
)
def test_damage_is_put_right(backend: str, damage: str) -> None:
    """Every way to undo us, or to get in before us, is seen by the next look, and put right once."""
    iptables.converge(backend, WANTED, print)
    chains = [rule for rule in rules(backend) if "NODEDNS" in rule]
    say(f"ip{COMMANDS[backend]}", *damage.split())
    assert iptables.converge(backend, WANTED, print)
    assert [rule for rule in rules(backend) if "NODEDNS" in rule] == chains
    assert next(rule for rule in rules(backend) if rule.startswith("-A INPUT")).endswith("-j NODEDNS-INPUT")
    assert not iptables.converge(backend, WANTED, print)


def test_another_plan(backend: str) -> None:
    """An address that is gone from the plan is gone from the chains."""
    iptables.converge(backend, WANTED, print)
    assert iptables.converge(backend, plan(V4), print)
    assert sum("-j ACCEPT" in rule for rule in rules(backend)) == 4
    assert not any("10.96.0.10" in rule for rule in rules(backend))
