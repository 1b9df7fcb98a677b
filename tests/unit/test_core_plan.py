"""core.plan: what a config makes of the machine."""

import pytest

from nodedns.config import Config, Endpoint, parse
from nodedns.core.plan import plan, stays_open

KUBE_DNS = Endpoint("10.244.2.10", 53)
OTHER = Endpoint("10.244.2.9", 53)
V6 = Endpoint("fd00:244::10", 53)


def config(node: str) -> Config:
    return parse(f'[cluster]\ndns = "10.96.0.11"\n[node]\n{node}\n[[zone]]\nname = "."\nforward = ["192.0.2.1"]\n')


@pytest.mark.parametrize(
    ("node", "link", "addresses", "steered"),
    [
        ("", "nodelocaldns", ["169.254.20.10"], ["169.254.20.10:53"]),
        ('listen = ["169.254.20.10", "10.96.0.10"]', "nodelocaldns", ["169.254.20.10", "10.96.0.10"], None),
        ('listen = ["169.254.20.10:53", "169.254.20.10:5353"]', "nodelocaldns", ["169.254.20.10"], None),
        ('listen = ["127.0.0.1", "::1", "fd00::10"]', "nodelocaldns", ["fd00::10"], ["[fd00::10]:53"]),
        ('interface = "none"', "", [], ["169.254.20.10:53"]),
        ('netfilter = "none"', "nodelocaldns", ["169.254.20.10"], []),
        ('interface = "dns0"\nnetfilter = "none"', "dns0", ["169.254.20.10"], []),
        ('listen = "127.0.0.1:5399"', "nodelocaldns", [], []),
    ],
)
def test_plan(node: str, link: str, addresses: list[str], steered: list[str] | None) -> None:
    """Loopback is neither put on a link nor steered; everything else is, unless told not to."""
    wanted = plan(config(node), ())
    assert (wanted.link, list(wanted.addresses)) == (link, addresses)
    listen = [str(at) for at in config(node).node.listen]
    assert [str(at) for at in wanted.steered] == (listen if steered is None else steered)


@pytest.mark.parametrize(
    ("node", "known", "fallback"),
    [
        ("", (), ()),
        ("", (KUBE_DNS, OTHER), (KUBE_DNS, OTHER)),
        ("", (OTHER, KUBE_DNS), (KUBE_DNS, OTHER)),
        ('fallback = "none"', (KUBE_DNS,), ()),
        ('fallback = ["10.244.2.9"]', (KUBE_DNS,), (OTHER,)),
        ("", (Endpoint("169.254.20.10", 53), KUBE_DNS), (KUBE_DNS,)),
    ],
    ids=["nothing known", "auto", "shuffled", "none", "listed", "ourselves"],
)
def test_fallback(node: str, known: tuple[Endpoint, ...], fallback: tuple[Endpoint, ...]) -> None:
    """What is known counts where the config says auto, in an order of its own; we are never our own fallback."""
    assert plan(config(node), known).fallback == fallback


def test_families() -> None:
    """IPv4 and IPv6 each have their own part."""
    whole = plan(config('listen = ["169.254.20.10", "fd00::10"]'), (KUBE_DNS, V6))
    assert (whole.of(4).addresses, whole.of(6).addresses) == (("169.254.20.10",), ("fd00::10",))
    assert (whole.of(4).fallback, whole.of(6).fallback) == ((KUBE_DNS,), (V6,))


def test_beside() -> None:
    """Only where the config says so."""
    assert plan(config('beside = "node-cache"\ninterface = "nodedns"'), ()).beside
    assert not plan(config('interface = "nodedns"'), ()).beside


@pytest.mark.parametrize(
    ("node", "known", "stays"),
    [
        ("", (KUBE_DNS,), True),
        ("", (), False),
        ("", (V6,), False),
        ('on_stop = "clean"', (KUBE_DNS,), False),
        ('listen = "10.96.0.10"', (KUBE_DNS,), False),
        ('listen = "10.96.0.10"\non_stop = "failopen"', (KUBE_DNS,), True),
        ('on_stop = "failopen"', (), False),
        ('netfilter = "none"\non_stop = "failopen"', (KUBE_DNS,), False),
    ],
)
def test_stays_open(node: str, known: tuple[Endpoint, ...], stays: bool) -> None:
    """Something stays after a stop only where it can help: a fallback of the same family is known."""
    loaded = config(node)
    assert stays_open(loaded, plan(loaded, known)) == stays
