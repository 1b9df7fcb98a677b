"""supervisor.neighbour and beside-rules with real packets: a node-cache of sockets alone, on the same address."""

import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from nodedns.config import Endpoint
from nodedns.host import link
from nodedns.host.errors import ChangeError
from nodedns.supervisor import owner
from nodedns.supervisor.group import Group
from nodedns.supervisor.neighbour import Neighbour
from nodedns.supervisor.sockets import SlotSockets
from tests.netns.conftest import say
from tests.netns.scenes import V4, V6
from tests.service.service import DEADLINE

UDP, TCP = socket.SOCK_DGRAM, socket.SOCK_STREAM
LOOPBACK = {V4: "127.0.0.1", V6: "::1"}
MANY = 60  # that all of them happen to meet the right one of three sockets by a hash: 3 to the power of -60


@pytest.fixture(params=[V4, V6], ids=str)
def at(request: pytest.FixtureRequest) -> Endpoint:
    """The address, on node-cache's link and on ours."""
    served: Endpoint = request.param
    say("ip", "link", "add", "nodelocaldns", "type", "bridge")
    width, nodad = (128, ["nodad"]) if ":" in served.address else (32, [])
    say("ip", "address", "add", f"{served.address}/{width}", "dev", "nodelocaldns", *nodad)
    say("ip", "link", "set", "nodelocaldns", "up")
    link.converge("nodedns", (served.address,), print, beside=True)
    return served


@pytest.fixture(params=[UDP, TCP], ids=["UDP", "TCP"])
def kind(request: pytest.FixtureRequest) -> socket.SocketKind:
    """Of the sockets."""
    found: socket.SocketKind = request.param
    return found


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """What is closed at the end."""
    with ExitStack() as held:
        yield held


def bound(at: Endpoint, kind: socket.SocketKind, stack: ExitStack) -> socket.socket:
    """A socket of the group."""
    sock = stack.enter_context(socket.socket(socket.AF_INET6 if ":" in at.address else socket.AF_INET, kind))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind((at.address, at.port))
    if kind == TCP:
        sock.listen(4 * MANY)
    sock.setblocking(False)
    return sock


def shared(at: Endpoint, kind: socket.SocketKind, ours: list[socket.socket], stack: ExitStack) -> Neighbour:
    """For sockets of one kind; those of the other are a lone one of ours."""
    other = [bound(at, TCP if kind == UDP else UDP, stack)] * len(ours)
    pairs = zip(ours, other, strict=True) if kind == UDP else zip(other, ours, strict=True)
    return Neighbour([at], [SlotSockets((udp.fileno(),), (tcp.fileno(),)) for udp, tcp in pairs])


def asked(at: Endpoint, kind: socket.SocketKind, among: list[socket.socket], source: str = "") -> list[int]:
    """How many of MANY questions each gets; one that goes elsewhere is waited for in vain."""
    for _ in range(MANY):
        with socket.socket(among[0].family, kind) as client:
            if source:
                client.bind((source, 0))
            client.connect((at.address, at.port))
            if kind == UDP:
                client.send(b"?")
    counts, ends = [0] * len(among), time.monotonic() + 5
    while sum(counts) < MANY and time.monotonic() < ends:
        select.select(among, [], [], 0.1)
        counts = [count + taken(sock, kind) for count, sock in zip(counts, among, strict=True)]
    return counts


def taken(sock: socket.socket, kind: socket.SocketKind) -> int:
    """How many wait in it; they are taken out."""
    count = 0
    try:
        while True:
            sock.recv(9) if kind == UDP else sock.accept()[0].close()
            count += 1
    except BlockingIOError:
        return count


def test_all_to_one_of_the_two(at: Endpoint, kind: socket.SocketKind, stack: ExitStack) -> None:
    """To node-cache, our probes excepted; to us; and when it has left, still to us, each socket some."""
    theirs = bound(at, kind, stack)
    ours = [bound(at, kind, stack) for _ in range(3)]
    neighbour = shared(at, kind, ours, stack)
    neighbour.turn(taking=False)
    assert neighbour.here
    assert asked(at, kind, [theirs, *ours]) == [MANY, 0, 0, 0]
    assert asked(at, kind, [theirs, *ours], LOOPBACK[at])[0] == 0
    neighbour.turn(taking=True)
    found = asked(at, kind, [theirs, *ours])
    assert found[0] == 0
    assert min(found[1:]) > 0
    theirs.close()
    assert sum(asked(at, kind, ours)) == MANY
    neighbour.look()
    assert not neighbour.here
    assert min(asked(at, kind, ours)) > 0


def test_one_that_comes_back(at: Endpoint, kind: socket.SocketKind, stack: ExitStack) -> None:
    """A node-cache that was restarted stands elsewhere in the group: from the next look on it gets nothing, too."""
    first = bound(at, kind, stack)
    ours = [bound(at, kind, stack) for _ in range(2)]
    neighbour = shared(at, kind, ours, stack)
    neighbour.turn(taking=True)
    first.close()
    second = bound(at, kind, stack)
    assert sum(asked(at, kind, [second, *ours])) == MANY
    neighbour.look()
    found = asked(at, kind, [second, *ours])
    assert (found[0], sum(found)) == (0, MANY)
    neighbour.turn(taking=False)
    assert asked(at, kind, [second, *ours]) == [MANY, 0, 0]


@pytest.mark.parametrize("order", ["we first", "it first"])
def test_we_leave(at: Endpoint, kind: socket.SocketKind, stack: ExitStack, order: str) -> None:
    """Nothing comes to us any more while our sockets, of which systemd has copies, are closed one by one. The copy of
    what waits can still be read until then."""
    theirs = bound(at, kind, stack) if order == "it first" else None
    ours = [bound(at, kind, stack) for _ in range(3)]
    theirs = theirs or bound(at, kind, stack)
    neighbour = shared(at, kind, ours, stack)
    neighbour.turn(taking=True)
    neighbour.turn(taking=False)
    copies = [stack.enter_context(sock.dup()) for sock in ours]
    neighbour.leave()
    for sock in ours:
        sock.close()
    for copy in copies:
        assert asked(at, kind, [theirs]) == [MANY]
        copy.close()
    assert asked(at, kind, [theirs]) == [MANY]


def test_forgotten(at: Endpoint, kind: socket.SocketKind, stack: ExitStack) -> None:
    """The kernel spreads queries again."""
    sockets = [bound(at, kind, stack) for _ in range(3)]
    neighbour = shared(at, kind, sockets[1:], stack)
    neighbour.turn(taking=True)
    assert asked(at, kind, sockets)[0] == 0
    neighbour.forget()
    neighbour.forget()
    assert min(asked(at, kind, sockets)) > 0


def test_the_address_survives_its_link(at: Endpoint, stack: ExitStack) -> None:
    """Its teardown takes its link away; the address is ours as before, and a client that is connected stays so."""
    ours = bound(at, UDP, stack)
    with socket.socket(ours.family, UDP) as client:
        client.settimeout(DEADLINE)
        client.connect((at.address, at.port))
        say("ip", "link", "del", "nodelocaldns")
        client.send(b"?")
        select.select([ours], [], [], DEADLINE)
        data, source = ours.recvfrom(9)
        ours.sendto(data + b"!", source)
        assert client.recv(9) == b"?!"
    assert asked(at, UDP, [ours]) == [MANY]
    before = say("ip", "address", "show", "nodedns")
    link.converge("nodedns", (at.address,), print, beside=True)
    assert say("ip", "address", "show", "nodedns") == before


@pytest.mark.parametrize("holder", ["kube-ipvs0", "eth7"])
def test_only_node_caches_link(at: Endpoint, holder: str) -> None:
    """An address that yet another link has is refused as ever."""
    link.remove("nodedns", print)
    say("ip", "link", "add", holder, "type", "bridge")
    width = 128 if ":" in at.address else 32
    say("ip", "address", "add", f"{at.address}/{width}", "dev", holder)
    with pytest.raises(ChangeError, match=f"is on link {holder} already"):
        link.converge("nodedns", (at.address,), print, beside=True)


def test_without_the_key_it_is_refused(at: Endpoint) -> None:
    """And the message says what the key is."""
    link.remove("nodedns", print)
    with pytest.raises(ChangeError, match=r'on link nodelocaldns already; .* node\.beside = "node-cache"'):
        link.converge("nodedns", (at.address,), print)


CHURN = """import socket, sys
while True:
    socks = [socket.socket(int(sys.argv[1]), socket.SOCK_DGRAM) for _ in range(20)]
    for sock in socks:
        sock.bind(("", 0))
"""


def test_the_row_is_whole(at: Endpoint, stack: ExitStack) -> None:
    """While others come and go: /proc/net/udp, read in pieces, has one of a group missing then, again and again."""
    ours, its = [bound(at, UDP, stack) for _ in range(20)], bound(at, UDP, stack)
    for _ in range(200):  # enough to fill several pieces
        stack.enter_context(socket.socket(its.family, UDP)).bind((at.address, 0))
    group = Group(at, UDP, [sock.fileno() for sock in ours])
    with subprocess.Popen([sys.executable, "-c", CHURN, str(int(its.family))]) as churn:
        try:
            rows = {tuple(group.row()) for _ in range(1_000)}
        finally:
            churn.kill()
    assert rows == {(True,) * 20 + (False,)}


def test_without_sock_diag(
    at: Endpoint, kind: socket.SocketKind, stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kernel that knows nothing of the protocol: /proc/net says the same, the cgroup excepted."""
    bound(at, kind, stack)
    if kind == UDP:
        bound(at, kind, stack).connect((LOOPBACK[at], 9))
    family = socket.AF_INET6 if ":" in at.address else socket.AF_INET
    said = owner._sockets(family, kind, at.port)
    assert len(said) == (2 if kind == UDP else 1)
    monkeypatch.setitem(owner._PROTOCOLS, kind, socket.IPPROTO_IGMP)
    assert owner._sockets(family, kind, at.port) == [one._replace(cgroup=0) for one in said]
