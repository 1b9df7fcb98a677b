"""The dead-man switch with real packets: whom does a query reach, by UDP and TCP, over IPv4 and IPv6?"""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

import pytest

from nodedns.config import Endpoint
from nodedns.host import link
from nodedns.host.netfilter import steering
from nodedns.supervisor.netlink import SignOfLife
from tests.netns.conftest import say
from tests.netns.scenes import V4, V6, plan
from tests.node.node_cache import rules
from tests.service.service import DEADLINE, ROOT

FALLBACK = {V4: Endpoint("192.0.2.2", 53), V6: Endpoint("fd00:2::2", 53)}
NEAR = {V4: "192.0.2.1", V6: "fd00:2::1"}
LOOPBACK = {V4: "127.0.0.1", V6: "::1"}
KINDS = (socket.SOCK_DGRAM, socket.SOCK_STREAM)


def answering(at: Endpoint, name: str, stack: ExitStack, *prefix: str) -> int:
    """A process that answers there with its name; its pid."""
    command = [*prefix, sys.executable, "-m", "tests.netns.names", at.address, str(at.port), name]
    process = stack.enter_context(
        subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    )
    stack.callback(process.kill)
    assert process.stdout is not None
    assert process.stdout.readline() == "on\n"
    return process.pid


@pytest.fixture(params=[V4, V6], ids=str)
def at(request: pytest.FixtureRequest) -> Iterator[Endpoint]:
    """The served address on our link; both servers answer, the fallback in a namespace at the end of a cable."""
    served: Endpoint = request.param
    with ExitStack() as stack:
        link.converge("nodelocaldns", (served.address,), print)
        answering(served, "ours", stack)
        pid = answering(FALLBACK[served], "theirs", stack, "unshare", "-n")
        far, near = (FALLBACK[served].address, NEAR[served])
        nodad, width = (["nodad"], 64) if served is V6 else ([], 24)
        say("ip", "link", "add", "cable", "type", "veth", "peer", "name", "end", "netns", str(pid))
        for inside, device, address in (([], "cable", near), (["nsenter", "-t", str(pid), "-n"], "end", far)):
            say(*inside, "ip", "address", "add", f"{address}/{width}", "dev", device, *nodad)
            say(*inside, "ip", "link", "set", device, "up")
        yield served


def asked(at: Endpoint, kind: socket.SocketKind, source: str = "") -> str:
    """Who answers there, and whom it saw; "" when nobody does."""
    with socket.socket(socket.AF_INET6 if ":" in at.address else socket.AF_INET, kind) as client:
        client.settimeout(DEADLINE)
        if source:
            client.bind((source, 0))
        try:
            client.connect((at.address, at.port))
            client.send(b"who?")
            return client.recv(512).decode()
        except (TimeoutError, ConnectionError):
            return ""


@pytest.mark.parametrize("kind", KINDS, ids=["UDP", "TCP"])
def test_the_switch(at: Endpoint, kind: socket.SocketKind) -> None:
    """Alive: ours. Let go, or silent for longer than the hold: theirs, which sees the node's own address. A self-probe
    from loopback reaches us all the same."""
    wanted = plan(at, fallback=(FALLBACK[at],), hold=60)
    steering.converge(wanted, alive=True, log=print)
    assert asked(at, kind) == f"ours {at.address}"
    steering.let_go(print)
    assert asked(at, kind) == f"theirs {NEAR[at]}"
    assert asked(at, kind, LOOPBACK[at]) == f"ours {LOOPBACK[at]}"
    for hold in (60, 2):
        sign = SignOfLife((at,), hold)
        began = time.monotonic()
        assert sign.give() == ""
        sign.close()
        assert hold == 2 or asked(at, kind) == f"ours {at.address}"
    while asked(at, kind).startswith("ours"):
        assert time.monotonic() < began + DEADLINE
    assert time.monotonic() > began + 1.9
    assert asked(at, kind) == f"theirs {NEAR[at]}"


@pytest.mark.parametrize("kind", KINDS, ids=["UDP", "TCP"])
def test_without_the_link(at: Endpoint, kind: socket.SocketKind) -> None:
    """Alive, and somebody takes the address away: the fallback answers at once."""
    steering.converge(plan(at, fallback=(FALLBACK[at],)), alive=True, log=print)
    say("ip", "route", "add", f"{at.address}/{128 if ':' in at.address else 32}", "dev", "cable", "metric", "9")
    say("ip", "link", "del", "nodelocaldns")
    assert asked(at, kind) == f"theirs {NEAR[at]}"


@pytest.mark.parametrize("kind", KINDS, ids=["UDP", "TCP"])
def test_without_a_fallback(at: Endpoint, kind: socket.SocketKind) -> None:
    """With nobody alive and no fallback, nothing is translated: what is local stays local."""
    steering.converge(plan(at), alive=False, log=print)
    assert asked(at, kind) == f"ours {at.address}"


@pytest.mark.parametrize("kind", KINDS, ids=["UDP", "TCP"])
@pytest.mark.parametrize("backend", ["nft", "legacy"])
def test_beside_node_cache(at: Endpoint, kind: socket.SocketKind, backend: str) -> None:
    """Its rules keep the address untracked, whatever ours say; beside it, ours have the last word."""
    tables = "ip6tables" if ":" in at.address else "iptables"
    for rule in rules(at.address):
        say(f"{tables}-{backend}", *rule[:2], "-I", *rule[2:])
    wanted = plan(at, fallback=(FALLBACK[at],))
    steering.converge(wanted, alive=False, log=print)
    assert asked(at, kind) == f"ours {at.address}"
    wanted = replace(wanted, beside=True)
    steering.converge(wanted, alive=False, log=print)
    assert not steering.converge(wanted, alive=False, log=print)
    assert asked(at, kind) == f"theirs {NEAR[at]}"
    assert asked(at, kind, LOOPBACK[at]) == f"ours {LOOPBACK[at]}"
    sign = SignOfLife((at,), 60)
    assert sign.give() == ""
    assert asked(at, kind) == f"ours {at.address}"
    steering.let_go(print)
    assert asked(at, kind) == f"theirs {NEAR[at]}"
    sign.close()
