"""A real parent with real children for the tests of the loop; only what a worker does is replaced.

The parent runs in a fork of the test. Its stderr, which all its children share, is a pipe to the test: log lines and
the fakes' own lines arrive in the order they were written, and its end proves that nobody is left.
"""

import fcntl
import json
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from nodedns import config, journal
from nodedns.config import Config
from nodedns.supervisor.loop import serve
from nodedns.worker.job import Job
from tests.ports import free_port

PATIENCE = 60.0  # only a failing test waits this long


def say(text: str) -> None:
    os.write(2, f"{text}\n".encode())


def make_config(run_dir: Path, workers: int = 2, allow: str = "127.0.0.0/8") -> Config:
    """A config that needs nothing of this machine but one free port; `allow` is how tests tell configs apart."""
    text = f"""
        cluster.dns = "127.0.0.1:1"
        cache.size = "1MiB"
        metrics.listen = "none"
        [node]
        listen = ["127.0.0.1:{free_port()}"]
        allow = ["{allow}"]
        workers = {workers}
        run_dir = "{run_dir}"
        [[zone]]
        name = "."
        forward = ["127.0.0.1:1"]"""
    return config.parse(text)


def with_allow(old: Config, allow: str) -> Config:
    return replace(old, node=replace(old.node, allow=(allow,)))


def tag(job: Job) -> str:
    return f"slot {job.slot} pid {os.getpid()} allow {job.config.node.allow[0]}"


def leave_on_term(job: Job) -> None:
    def leave(*_: object) -> None:
        say(f"left {tag(job)}")
        os._exit(0)

    signal.signal(signal.SIGTERM, leave)


def linger(job: Job) -> None:
    """Does nothing until the parent is gone."""
    select.select([job.life_fd], [], [])


def worker(job: Job) -> int:
    """Keeps a worker's protocol and answers every datagram, and the first message of a stream, with itself and the QR
    bit."""
    leave_on_term(job)
    if not select.select([job.go_fd], [], [], 0)[0]:
        os.write(job.ready_fd, b"w")
    if not os.read(job.go_fd, 1):
        return 0
    say(f"serves {tag(job)}")
    os.write(job.ready_fd, b"s")
    while True:
        for fd in select.select([job.life_fd, *job.udp, *job.tcp], [], [])[0]:
            if fd == job.life_fd:
                say(f"orphan {tag(job)}")
                return 0
            if fd in job.tcp:
                answer_stream(fd)
                continue
            with socket.socket(fileno=os.dup(fd)) as sock:
                query, client = sock.recvfrom(512)
                sock.sendto(query[:2] + bytes([query[2] | 0x80]) + query[3:], client)


def answer_stream(fd: int) -> None:
    with socket.socket(fileno=os.dup(fd)) as listener, suppress(BlockingIOError):
        stream, _ = listener.accept()
        stream.settimeout(PATIENCE)
        with stream:
            query = stream.recv(512)
            stream.sendall(query[:4] + bytes([query[4] | 0x80]) + query[5:])


class Service:
    """A running parent. `wait` returns the next line from it, or from one of its children, that holds all the words."""

    def __init__(self, pid: int, out: int, run_dir: Path) -> None:
        self.pid = pid
        self.pidfd = os.pidfd_open(pid)
        self.lines: list[str] = []
        self._out = out
        self._rest = b""
        self._run_dir = run_dir

    def send(self, number: signal.Signals) -> None:
        signal.pidfd_send_signal(self.pidfd, number)

    def wait(self, *words: str) -> str:
        while True:
            line = self._next_line()
            assert line is not None, f"the service ended; no line with {words} among {self.lines}"
            if all(word in line for word in words):
                return line

    def end(self) -> int:
        """Waits until the parent and all its children are gone; the parent's exit code, negative for a signal."""
        while self._next_line() is not None:
            pass
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self._run_dir / "status.json").read_text())
        return found

    def restarted(self, slot: int, count: int) -> None:
        """Waits until that many restarts of a slot are in status.json, which follows the log line."""
        deadline = time.monotonic() + PATIENCE
        while self.status()["workers"][slot]["restarts"] != count:
            assert time.monotonic() < deadline, self.lines
            os.sched_yield()

    def served(self, slot: int, before: int) -> int:
        """Waits until another process than `before` serves; its pid."""
        deadline = time.monotonic() + PATIENCE
        while (now := self.status()["workers"][slot])["pid"] in (None, before) or now["state"] != "SERVING":
            assert time.monotonic() < deadline, self.lines
            os.sched_yield()
        pid: int = now["pid"]
        return pid

    def reloaded(self, count: int) -> dict[str, Any]:
        """Waits for the verdict of reload number `count`. It is written after the log line that tells of it."""
        deadline = time.monotonic() + PATIENCE
        while (status := self.status())["reload"]["count"] < count:
            assert time.monotonic() < deadline, self.lines
            os.sched_yield()
        verdict: dict[str, Any] = status
        return verdict

    def _next_line(self) -> str | None:
        while b"\n" not in self._rest:
            assert select.select([self._out], [], [], PATIENCE)[0], f"silence after {self.lines}"
            data = os.read(self._out, 65536)
            if not data:
                return None
            self._rest += data
        line, self._rest = self._rest.split(b"\n", 1)
        self.lines.append(line.decode())
        return self.lines[-1]


def _pass(stored: Mapping[str, int]) -> None:
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 256) for fd in stored.values()]
    os.closerange(3, 256)
    for at, fd in enumerate(high):
        os.dup2(fd, 3 + at)
        os.close(fd)
    os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(high)), "LISTEN_FDNAMES": ":".join(stored)}


@contextmanager
def running(
    now: Config,
    worker_main: Callable[[Job], int] = worker,
    load: Callable[[], Config] | None = None,
    *,
    ready: bool = True,
    example: bool = False,
    stored: Mapping[str, int] = MappingProxyType({}),
) -> Iterator[Service]:
    """A parent on the config `now`, ready to serve unless `ready` is False; killed at the end if it still runs.

    `stored` are descriptors by name, passed as systemd passes those of its store (sd_listen_fds(3)).
    """
    out, err = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.dup2(err, 2)
            journal.begin("")  # what tests before this one have said is not its own
            _pass(stored)
            os._exit(serve(load or (lambda: now), now, example, lambda: say("announced"), worker_main))
        finally:
            os._exit(99)
    os.close(err)
    service = Service(pid, out, Path(now.node.run_dir))
    try:
        if ready:
            service.wait("announced")
        yield service
    finally:
        if not select.select([service.pidfd], [], [], 0)[0]:
            service.send(signal.SIGKILL)
            os.waitpid(pid, 0)
        os.close(service.pidfd)
        os.close(out)


def pid_in(line: str) -> int:
    """The process a fake's line is about."""
    return int(line.split("pid ")[1].split(maxsplit=1)[0].rstrip(")"))
