"""One forked child: what it has, how it ends, and what the parent learns; and the parent's poller and signals."""

import errno
import os
import resource
import select
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nodedns.supervisor import spawn
from nodedns.supervisor.poller import Poller, Signals
from nodedns.supervisor.systemd import notify, reloading

PATIENCE = 60.0  # seconds; only a failing test waits this long


def ended(child: spawn.Child) -> spawn.Death:
    """Waits for the child's end and closes what the parent has of it."""
    assert select.select([child.pidfd], [], [], PATIENCE)[0]
    death = child.reap()
    assert death is not None
    for fd in (child.pidfd, child.ready_fd, child.go_fd):
        os.close(fd)
    return death


def leave(code: int) -> spawn.Body:
    return lambda _ready, _go: code


def fail(_ready: int, _go: int) -> int:
    raise ValueError("a defect")


def kill(number: int) -> spawn.Body:
    def body(_ready: int, _go: int) -> int:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.kill(os.getpid(), number)
        return 0

    return body


@pytest.mark.parametrize(
    ("body", "death"),
    [
        (leave(0), spawn.Death("exit code 0", killed=False, clean=True)),
        (leave(3), spawn.Death("exit code 3", killed=False, clean=False)),
        (fail, spawn.Death("exit code 70", killed=False, clean=False)),
        (kill(signal.SIGKILL), spawn.Death("SIGKILL", killed=True, clean=False)),
        (kill(signal.SIGTERM), spawn.Death("SIGTERM", killed=False, clean=False)),
        (kill(signal.SIGSEGV), spawn.Death("SIGSEGV", killed=False, clean=False)),
    ],
)
def test_death_is_told_as_it_was(body: spawn.Body, death: spawn.Death) -> None:
    """The pidfd gives exit codes and signals; only SIGKILL counts as killed, only exit code 0 as clean."""
    assert ended(spawn.fork("child", body, (), go=True)) == death


def test_running_child_has_no_death() -> None:
    """reap() of a child that runs is None and takes nothing."""
    child = spawn.fork("child", lambda _ready, go: 7 if os.read(go, 1) else 8, (), go=False)
    assert child.reap() is None
    child.go()
    assert ended(child).text == "exit code 7"
    assert not Path(f"/proc/{child.pid}").exists()


def test_dead_child_bears_a_signal_and_go() -> None:
    """What the parent sends to a child that has just died is lost without an error, before and after it is reaped."""
    child = spawn.fork("child", leave(0), (), go=False)
    assert select.select([child.pidfd], [], [], PATIENCE)[0]
    child.send(signal.SIGTERM)
    child.go()
    assert child.reap() is not None
    child.send(signal.SIGTERM)
    for fd in (child.pidfd, child.ready_fd, child.go_fd):
        os.close(fd)


def test_child_has_its_own_descriptors_and_no_other() -> None:
    """Standard streams, its two pipes and what it is to keep; everything else of the parent is closed."""
    kept, other = os.pipe()
    with socket.socket() as sock:
        assert sock.fileno() > 0

        def body(ready: int, go: int) -> int:
            found = {int(fd) for fd in os.listdir("/proc/self/fd")}
            found = {fd for fd in found if Path(f"/proc/self/fd/{fd}").exists()}  # but listdir's own
            os.write(ready, repr((found - {0, 1, 2}, {ready, go, kept})).encode())
            return 0

        child = spawn.fork("child", body, [kept], go=True)
    assert select.select([child.ready_fd], [], [], PATIENCE)[0]
    has, should_have = eval(os.read(child.ready_fd, 512))
    assert has == should_have
    assert ended(child).clean
    os.close(kept)
    os.close(other)


def dispositions(ready: int, _go: int) -> int:
    found = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)]
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    right = [signal.SIG_DFL, signal.SIG_IGN, signal.SIG_IGN]
    return 0 if found == right and not blocked and signal.set_wakeup_fd(-1) == -1 else 1


def test_child_does_not_share_the_parents_signals() -> None:
    """A child has its own dispositions and no wake-up pipe, so its signals cannot look like the parent's."""
    heard = Signals(spawn.SIGNALS)
    try:
        assert ended(spawn.fork("child", dispositions, (), go=True)).clean
        child = spawn.fork("child", lambda _ready, go: len(os.read(go, 1)), (), go=False)
        child.send(signal.SIGTERM)
        assert ended(child).text == "SIGTERM"
        assert heard.take() == b""
    finally:
        heard.close()


def fork_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def fork() -> int:
        raise BlockingIOError(errno.EAGAIN, "no room")

    # The kernel refuses a fork by RLIMIT_NPROC, which does not hold for root.
    monkeypatch.setattr(os, "fork", fork)


def pidfd_fails(_monkeypatch: pytest.MonkeyPatch) -> None:
    """Room for the two pipes and for nothing else."""
    pipes = [*os.pipe(), *os.pipe()]
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(pipes) + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    for fd in pipes:
        os.close(fd)


@pytest.fixture
def limits() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.usefixtures("limits")
@pytest.mark.parametrize("spoil", [fork_fails, pidfd_fails])
def test_no_room_for_a_child_leaves_nothing(
    spoil: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fork or pidfd that fails raises OSError and leaves no descriptor, no process and no blocked signal."""
    before = os.listdir("/proc/self/fd")
    spoil(monkeypatch)
    with pytest.raises(OSError, match=r"no room|Too many open files"):
        spawn.fork("child", lambda _ready, go: len(os.read(go, 1)), (), go=False)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    assert os.listdir("/proc/self/fd") == before
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == set()
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_signals_arrive_through_the_poller() -> None:
    """A signal only queues its number; the loop takes it when it wakes."""
    heard, poller, taken = Signals([signal.SIGHUP, signal.SIGTERM]), Poller(), []
    try:
        poller.watch(heard.fd, lambda: taken.append(heard.take()))
        os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGTERM)
        poller.wait(PATIENCE)
        assert b"".join(taken) == bytes([signal.SIGHUP, signal.SIGTERM])
        assert heard.take() == b""
    finally:
        heard.close()


def test_poller_waits_no_longer_than_asked_and_no_shorter() -> None:
    """A wait without events ends after its time, rounded up, so that a timer is due when the loop wakes for it."""
    began = time.monotonic()
    Poller().wait(0.0101)
    assert 0.0101 <= time.monotonic() - began < 10


def test_handler_may_close_what_another_waits_for() -> None:
    """Of two descriptors that are ready at once, one's handler may close the other: the second is then not called."""
    poller, called = Poller(), []
    pipes = [os.pipe() for _ in range(2)]

    def handler(mine: int, others: int) -> Callable[[], None]:
        return lambda: (called.append(mine), poller.close(others), poller.unwatch(mine))[-1]

    (first, _), (second, _) = pipes
    poller.watch(first, handler(first, second))
    poller.watch(second, handler(second, first))
    for _, write in pipes:
        os.write(write, b"x")
    poller.wait(PATIENCE)
    poller.wait(0)
    assert len(called) == 1
    for fd in (called[0], *(write for _, write in pipes)):
        os.close(fd)


@pytest.mark.parametrize("abstract", [False, True])
def test_notify_is_one_datagram(abstract: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """States reach $NOTIFY_SOCKET in one datagram, in the file system or abstract."""
    name = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(f"\0{name}" if abstract else name)
        systemd.settimeout(PATIENCE)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}" if abstract else name)
        assert notify("READY=1", "STATUS=well")
        assert systemd.recv(512) == b"READY=1\nSTATUS=well"


@pytest.mark.parametrize(("address", "lines"), [("", 0), ("vsock:2:3", 0), ("/nowhere/notify", 1)])
def test_notify_without_systemd(
    address: str, lines: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """No socket is no error; one that cannot be reached is one line in the log, and the service goes on."""
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    assert not notify("READY=1")
    assert capfd.readouterr().err.count("\n") == lines


def test_reloading_carries_the_time_systemd_asks_for() -> None:
    """RELOADING=1 comes with the present CLOCK_MONOTONIC in microseconds."""
    before = time.monotonic_ns() // 1000
    state, stamp = reloading().split("\n")
    assert state == "RELOADING=1"
    assert before <= int(stamp.removeprefix("MONOTONIC_USEC=")) <= time.monotonic_ns() // 1000
