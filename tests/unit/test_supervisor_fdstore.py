"""supervisor.fdstore: what systemd kept for us, adopted or removed."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from nodedns.config import Endpoint
from nodedns.supervisor import sockets
from nodedns.supervisor.fdstore import FIRST, Store, name_of
from tests.ports import free_port

UDP, TCP = socket.SOCK_DGRAM, socket.SOCK_STREAM


@pytest.fixture
def stored() -> Iterator[tuple[Endpoint, list[int]]]:
    """A slot's sockets as a former parent left them: consecutive descriptors, and their endpoint."""
    endpoint = Endpoint("127.0.0.1", free_port())
    made = sockets.open_slots([endpoint], 1, Store({}))[0]
    first = 500
    for at, fd in enumerate((*made.udp, *made.tcp)):
        os.dup2(fd, first + at)
        os.close(fd)
    yield endpoint, [first, first + 1]
    for fd in (first, first + 1):
        try:
            os.close(fd)
        except OSError:
            continue  # the test has closed it


def environ(*names: str, pid: int | None = None) -> dict[str, str]:
    """What systemd passes (sd_listen_fds(3))."""
    return {
        "LISTEN_PID": str(os.getpid() if pid is None else pid),
        "LISTEN_FDS": str(len(names)),
        "LISTEN_FDNAMES": ":".join(names),
    }


def test_adopted(stored: tuple[Endpoint, list[int]]) -> None:
    """Sockets of the right name are taken as they are; nothing is bound anew, and the environment is used up."""
    endpoint, fds = stored
    said = environ(name_of(UDP, 0, endpoint), name_of(TCP, 0, endpoint))
    store = Store(said, fds[0])
    assert store.has(endpoint)
    assert sockets.open_slots([endpoint], 1, store) == [sockets.SlotSockets((fds[0],), (fds[1],))]
    assert (store.adopted, store.held) == (2, {})
    assert said == {}


@pytest.mark.parametrize("wrong", ["slot", "kind", "address"])
def test_a_name_that_lies(stored: tuple[Endpoint, list[int]], wrong: str) -> None:
    """A socket that is not what its name says is not adopted."""
    endpoint, fds = stored
    other = Endpoint("127.0.0.2", endpoint.port)
    asked = {"slot": (UDP, 1, endpoint), "kind": (TCP, 0, endpoint), "address": (UDP, 0, other)}[wrong]
    name = name_of(UDP, 0, endpoint) if wrong == "slot" else name_of(*asked)
    store = Store(environ(name), fds[0])
    assert store.adopt(*asked) is None
    assert store.adopted == 0


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The other end of sd_notify(3)."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(f"{tmp_path}/notify")
        sock.settimeout(60)
        monkeypatch.setenv("NOTIFY_SOCKET", f"{tmp_path}/notify")
        yield sock


def test_the_rest_is_removed(stored: tuple[Endpoint, list[int]], systemd: socket.socket) -> None:
    """What no slot wants is closed here and taken out of systemd's store: unread, it would swallow queries."""
    endpoint, fds = stored
    store = Store(environ("udp-9-10.0.0.1-53", name_of(TCP, 0, endpoint)), fds[0])
    assert store.adopt(TCP, 0, endpoint) == fds[1]
    store.remove_rest()
    assert systemd.recv(512) == b"FDSTOREREMOVE=1\nFDNAME=udp-9-10.0.0.1-53"
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fds[0])
    os.fstat(fds[1])


def test_two_of_one_name(stored: tuple[Endpoint, list[int]], systemd: socket.socket) -> None:
    """Of two sockets under one name the right one is adopted; the store, which knows names only, is told of it anew."""
    endpoint, fds = stored
    name = name_of(TCP, 0, endpoint)
    store = Store(environ(name, name), fds[0])
    assert store.adopt(TCP, 0, endpoint) == fds[1]
    assert systemd.recv(512) == f"FDSTOREREMOVE=1\nFDNAME={name}".encode()
    said, given, *_ = socket.recv_fds(systemd, 512, 1)
    assert said == f"FDSTORE=1\nFDNAME={name}\nFDPOLL=0".encode()
    assert os.path.samestat(os.fstat(given[0]), os.fstat(fds[1]))
    os.close(given[0])
    store.remove_rest()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fds[0])


@pytest.mark.parametrize(
    "said", [{}, environ("a", pid=1), {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "x"}, {"LISTEN_FDS": "3"}]
)
def test_nothing_for_us(said: dict[str, str]) -> None:
    """Without the variables, or with another process's, there is nothing to adopt."""
    assert Store(dict(said), FIRST).held == {}


def test_the_metrics_socket() -> None:
    """Is stored and adopted like the others, under a name of its own."""
    endpoint = Endpoint("127.0.0.1", free_port())
    fd = sockets.open_metrics(endpoint, Store({}))
    store = Store(environ(name_of(TCP, "metrics", endpoint)), fd)
    assert sockets.open_metrics(endpoint, store) == fd
    assert store.adopted == 1
    os.close(fd)


def test_names_have_no_colon() -> None:
    """FDNAME= takes none (sd_notify(3)): IPv6 addresses are written with underscores."""
    assert name_of(UDP, 3, Endpoint("fd00::a", 53)) == "udp-3-fd00__a-53"
