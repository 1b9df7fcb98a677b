"""host.netfilter.steering and supervisor.netlink: our own table as the kernel takes it, and the sign of life."""

import re
import time
from dataclasses import replace

import pytest

from nodedns.core.plan import Plan
from nodedns.host.netfilter import steering
from nodedns.supervisor.netlink import SignOfLife
from tests.netns.conftest import host, say
from tests.netns.scenes import KUBE_DNS, OTHERS, PLANS, SERVICE_IP, V4, V6, plan
from tests.service.service import DEADLINE

LONG = 50
"""Seconds of a sign of life: more than the slowest machine takes to look, and less than nft calls a minute."""


def alive(name: str = "alive4") -> dict[str, int]:
    """The living elements, "address . port", with the milliseconds they have left."""
    listing = say("nft", "list", "set", "inet", "nodedns", name)
    found = re.findall(r"([0-9a-f.:]+ \. \d+) (?:timeout \S+ )?expires (?:(\d+)s)?(?:(\d+)ms)?", listing)
    return {key: int(seconds or 0) * 1000 + int(ms or 0) for key, seconds, ms in found}


@pytest.mark.parametrize("wanted", PLANS.values(), ids=PLANS)
def test_converge(wanted: Plan) -> None:
    """Written once, found as wanted by the next look, and taken away without a trace."""
    say("nft", "-f", "-", text=OTHERS["nft"])
    before, said = host(), list[str]()
    assert steering.converge(wanted, alive=False, log=said.append)
    assert "wrote nftables table inet nodedns" in said[0]
    there = say("nft", "list", "ruleset")
    assert not steering.converge(wanted, alive=False, log=said.append)
    assert (say("nft", "list", "ruleset"), len(said)) == (there, 1)
    steering.remove(said.append)
    assert host() == before
    steering.remove(said.append)
    assert said[1:] == ["removed nftables table inet nodedns"]


@pytest.mark.parametrize(
    "damage",
    [
        "delete table inet nodedns",
        "flush ruleset",
        "flush chain inet nodedns prerouting",
        "flush chain inet nodedns nat_output",
        "add rule inet nodedns output notrack",
    ],
)
def test_damage_is_put_right(damage: str) -> None:
    """Whatever is missing or too much, the next look sees it and makes the table as it was."""
    wanted = PLANS["both"]
    steering.converge(wanted, alive=False, log=print)
    whole = say("nft", "-s", "list", "table", "inet", "nodedns")
    say("nft", *damage.split())
    assert steering.converge(wanted, alive=False, log=print)
    assert say("nft", "-s", "list", "table", "inet", "nodedns") == whole


@pytest.mark.parametrize("after", [name for name in PLANS if name != "both"])
def test_another_plan(after: str) -> None:
    """A change of plan, and only that, is a change of the table."""
    steering.converge(PLANS["both"], alive=False, log=print)
    assert steering.converge(PLANS[after], alive=False, log=print)
    assert not steering.converge(PLANS[after], alive=False, log=print)


def test_another_plan_while_alive() -> None:
    """Who has the queries has them behind the change, too, while a sign of life holds; whoever has not, has not."""
    first, more = replace(PLANS["both"], hold=LONG), plan(SERVICE_IP, V4, V6, hold=5)
    for living in (True, False):
        say("nft", "-f", "-", text=steering.render(first, living))
        assert steering.converge(plan(SERVICE_IP, V4, hold=7), alive=False, log=print)
        assert bool(alive()) == living
    say("nft", "-f", "-", text=steering.render(plan(V4), True))
    assert steering.converge(more, alive=False, log=print)
    assert alive() == {}


def test_sign_of_life() -> None:
    """It fills both sets, and gives each element its whole time again."""
    wanted = plan(V4, SERVICE_IP, V6, fallback=KUBE_DNS, hold=LONG)
    steering.converge(wanted, alive=False, log=print)
    assert alive() == {}
    sign = SignOfLife(wanted.steered, wanted.hold)
    given = time.monotonic()
    assert sign.give() == ""
    assert set(alive()) == {"169.254.20.10 . 53", "10.96.0.10 . 53"}
    assert set(alive("alive6")) == {"fd00::10 . 53"}
    while min(alive().values()) > LONG * 1000 - 1000:
        assert time.monotonic() < given + DEADLINE
    given = time.monotonic()
    assert sign.give() == ""
    left = min(alive().values())
    assert left > LONG * 1000 - (time.monotonic() - given) * 1000 - 100
    sign.close()


def test_the_end_of_life() -> None:
    """Elements end by themselves, and not before their time."""
    sign = SignOfLife((V4,), 2)
    steering.converge(plan(V4, hold=2), alive=False, log=print)
    given = time.monotonic()
    assert sign.give() == ""
    while alive():
        assert time.monotonic() < given + DEADLINE
    assert time.monotonic() > given + 1.9
    sign.close()


def test_sign_of_life_without_a_table() -> None:
    """It says that the kernel did not take it, every time, and works again when there is a table."""
    sign = SignOfLife((V4,), 3)
    assert sign.give() == sign.give() == "No such file or directory"
    steering.converge(plan(V4), alive=False, log=print)
    assert sign.give() == ""
    assert len(alive()) == 1
    sign.close()


def test_let_go() -> None:
    """From now on nobody is steered to us, and the rules stay."""
    wanted = replace(PLANS["both"], hold=LONG)
    steering.converge(wanted, alive=True, log=print)
    assert (len(alive()), len(alive("alive6"))) == (2, 1)
    rules = say("nft", "-s", "list", "chain", "inet", "nodedns", "prerouting")
    steering.let_go(print)
    assert (alive(), alive("alive6")) == ({}, {})
    assert say("nft", "-s", "list", "chain", "inet", "nodedns", "prerouting") == rules
    steering.remove(print)
    steering.let_go(print)  # nothing to let go
