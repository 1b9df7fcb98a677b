"""The dead-man switch: whatever keeps nodedns from serving, kube-dns answers in its place; prints sent, lost, gap."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.node.network import SERVICE_IP
from tests.node.node import ADDRESS, Node
from tests.service.service import Authority, Load

CLIENTS = [(who, address) for who in ("pod", "node") for address in (ADDRESS, SERVICE_IP)]
RATE = 8
PROGRAM = "/usr/bin/nodedns"
CONFIG = "/etc/nodedns/nodedns.toml"
TAKEN_OVER = 4.0
"""Seconds: fail_open_after, and one for the fault to be noticed."""


@pytest.fixture(autouse=True)
def well(node: Node) -> Iterator[None]:
    """Every drill begins and ends with a service that is up."""
    node.await_(node.steered, "active, with a fallback")
    yield
    node.unpack()
    node.configure(node.authority.port)
    node.run("systemctl", "reset-failed", "nodedns")
    node.run("systemctl", "start", "nodedns")
    node.await_(node.active, "active again")


def served_by(node: Node, server: Authority) -> Callable[[], bool]:
    """Tells, asked again and again, whether of a lot of new names `server` alone has heard each."""
    numbers = iter(range(1000000))

    def look() -> bool:
        name = f"u{next(numbers)}-{id(numbers)}.load.test"
        for who, address in CLIENTS:
            question = ["dig", "+tries=1", "+time=1", "+short", f"@{address}", name]
            node.outside(who, *question)
        return server.asked().get(name, 0) >= (len(CLIENTS) if server is node.kube_dns else 1)

    return look


def crash_loop(node: Node) -> None:
    node.write(PROGRAM, "#!/bin/sh\nexit 1\n", 0o755)


def hang(node: Node) -> None:
    node.write(PROGRAM, "#!/bin/sh\nexec sleep infinity\n", 0o755)


def no_interpreter(node: Node) -> None:
    node.write(PROGRAM, "#!/usr/bin/python-of-yesterday\n", 0o755)


def bad_config(node: Node) -> None:
    node.write(CONFIG, "[cluster]\n")


def no_package(node: Node) -> None:
    node.run("rm", "-r", "/usr/lib/python3/dist-packages/nodedns", PROGRAM, check=True)


@pytest.mark.parametrize("fault", [crash_loop, hang, no_interpreter, bad_config, no_package])
def test_kube_dns_takes_over(node: Node, fault: Callable[[Node], None]) -> None:
    """Nothing of ours runs, and pods and host are answered by kube-dns at both addresses within 4 s, until we are
    back."""
    with ExitStack() as stack:
        loads = [stack.enter_context(node.load(RATE, who, address)) for who, address in CLIENTS]
        fault(node)
        node.run("systemctl", "kill", "-s", "KILL", "nodedns", check=True)
        node.await_(served_by(node, node.kube_dns), "served by kube-dns")
        node.unpack()
        node.configure(node.authority.port)
        if fault is bad_config:
            node.run("systemctl", "start", "nodedns", check=True)
        if fault is hang:  # its start limit is a minute and a half; an operator has less patience
            node.run("systemctl", "kill", "-s", "KILL", "nodedns", check=True)
        node.await_(node.active, "active again")
        node.await_(served_by(node, node.authority), "served by us")
        for load in loads:
            load.stop()
        for load in loads:
            survived(load)


def survived(load: Load) -> None:
    """Wrong answers none, and never more than 4 s without one."""
    verdict = load.verdict()
    assert verdict["wrong"] == 0
    assert verdict["gap"] <= TAKEN_OVER + 0.2  # what a query took that was sent just before
    assert verdict["lost"] <= RATE * TAKEN_OVER
