"""`nodedns top` and `nodedns status` as an operator sees them: beside a service under load, in a real terminal."""

import os
import re
import select
import signal
import socket
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from nodedns.verbs.top.screen import FOOT
from tests.service.service import DEADLINE, ROOT, Service
from tests.service.terminal import Terminal
from tests.service.test_json import nodedns, report

RATE = 500
CLIENT = "127.0.0.7"
TOLERANCE = 0.2


class Dnsperf:
    """RATE queries a second, eight in ten of them for hot.load.test, from CLIENT."""

    def __init__(self, home: Path, port: int) -> None:
        names = home / "names"
        names.write_text("hot.load.test A\n" * 8 + "warm.load.test A\nxnone.load.test A\n")
        words = ["-s", "127.0.0.1", "-p", str(port), "-d", str(names), "-Q", str(RATE), "-l", "300", "-a", CLIENT]
        self.process = subprocess.Popen(
            ["dnsperf", *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def rate(self) -> float:
        """Ends it; the queries a second of its own account."""
        self.process.send_signal(signal.SIGINT)
        said, _ = self.process.communicate(timeout=DEADLINE)
        found = re.search(r"Queries per second: +([\d.]+)", said)
        assert found, said
        return float(found[1])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    """Of the usual size."""
    with Terminal(tmp_path) as found:
        yield found


def shown(screen: str, label: str) -> float | None:
    """The figure behind a label."""
    found = re.search(rf"{re.escape(label)} +([\d.]+)", screen)
    return float(found[1]) if found else None


def close(screen: str, label: str, expected: float) -> bool:
    """Is the figure that is shown within TOLERANCE?"""
    value = shown(screen, label)
    return value is not None and abs(value - expected) <= TOLERANCE * expected


def as_loaded(screen: str) -> bool:
    """Does it show what Dnsperf asks: rate, names, rcodes, client?"""
    hot = re.search(r"hot\.load\.test\. +([\d.]+) +([\d.]+) %", screen)
    rcodes = re.search(r"rcodes +NOERROR ([\d.]+) %  NXDOMAIN ([\d.]+) %", screen)
    if not hot or not rcodes or not close(screen, "answers/s", RATE):
        return False
    client = re.search(rf"{CLIENT} +[\d.]+ +([\d.]+) %", screen)
    found = [*map(float, hot.groups()), *map(float, rcodes.groups()), float(client[1]) if client else 0.0]
    return found == pytest.approx([0.8 * RATE, 80, 90, 10, 100], rel=TOLERANCE)


def test_top_under_load(service: Service, terminal: Terminal, tmp_path: Path) -> None:
    """Rate, share of hits, rcodes, names, clients, upstreams and workers; a killed worker shows; keys; a clean end."""
    with Dnsperf(tmp_path, service.port) as load:
        terminal.run(*nodedns(service, "top"))
        up = re.compile(rf"{service.forward[0]} +up")
        screen = terminal.await_(lambda screen: up.search(screen) and as_loaded(screen), "load as it is")
        print(screen)
        assert re.search(r"p50 +[\d.]+ ms", screen)

        victim = service.pids()[1]
        os.kill(victim, signal.SIGKILL)
        terminal.press("s", "s", "s", "s", "s", "s")
        terminal.await_(lambda screen: re.search(rf"1 SERVING +(?!{victim} )\d+ +.* 1  ", screen), "new worker")
        terminal.press("s")
        terminal.await_(lambda screen: "[all]" in screen, "first view")

        terminal.press("p")
        terminal.line("PAUSED")
        terminal.press("p", "+")
        terminal.line("all zones  2 s")
        terminal.press("-", "-", "z")
        terminal.await_(lambda screen: ".  0.5 s" in screen and close(screen, "answers/s", RATE), "zone")
        terminal.press("q")
        terminal.line("ended with 0")
        assert terminal.as_before
        measured = load.rate()
    assert shown(screen, "answers/s") == pytest.approx(measured, rel=TOLERANCE)


@pytest.mark.parametrize("end", ["q", "C-c", signal.SIGTERM, signal.SIGHUP])
def test_the_terminal_is_as_before(end: str | signal.Signals, service: Service, terminal: Terminal) -> None:
    """However it ends."""
    terminal.run("echo before;", *nodedns(service, "top"))
    terminal.line("READY for")
    if isinstance(end, str):
        terminal.press(end)
    else:
        os.kill(last_child(int(terminal.tmux("display-message", "-p", "#{pane_pid}"))), end)
    screen = terminal.await_(lambda screen: "ended with 0" in screen, "end")
    assert "READY for" not in screen
    assert terminal.as_before
    terminal.run("echo typed")
    terminal.line("typed")


def test_stopped_and_continued(service: Service, terminal: Terminal) -> None:
    """By Ctrl-Z and fg."""
    terminal.run(*nodedns(service, "top"))
    terminal.line("READY for")
    terminal.press("C-z")
    screen = terminal.await_(lambda screen: "Stopped" in screen, "prompt")
    assert "READY for" not in screen
    assert terminal.as_before
    terminal.run("fg")
    terminal.line("READY for")
    terminal.press("q")
    terminal.line("ended with 0")
    assert terminal.as_before


def last_child(pid: int) -> int:
    """Of a line of processes, each with one child."""
    while children := Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        pid = int(children[0])
    return pid


@pytest.mark.parametrize("session", ["", "setsid -w"], ids=["hung up", "only closed"])
def test_the_terminal_goes_away(session: str, service: Service, terminal: Terminal) -> None:
    """So does it: it does not spin on a terminal that nobody is at."""
    terminal.run(session, *nodedns(service, "top"))
    terminal.line("READY for")
    pidfd = os.pidfd_open(last_child(int(terminal.tmux("display-message", "-p", "#{pane_pid}"))))
    terminal.tmux("kill-server")
    ended, _, _ = select.select([pidfd], [], [], DEADLINE)
    os.close(pidfd)
    assert ended


def has_foot(width: int, height: int, screen: str) -> bool:
    """Is the last line that of the keys, as far as it fits?"""
    lines = screen.splitlines()
    return len(lines) == height and lines[-1].startswith(FOOT[: width - 1]) and len(lines[-1]) <= width


def test_any_size(service: Service, terminal: Terminal) -> None:
    """While it runs."""
    terminal.run(*nodedns(service, "top"))
    terminal.line("READY for")
    for width, height in ((40, 10), (1, 1), (200, 60), (2, 50), (100, 2), (80, 24)):
        terminal.resize(width, height)
        terminal.await_(partial(has_foot, width, height), f"foot at {width}x{height}")
    terminal.press("q")
    terminal.line("ended with 0")


def test_hostile_names(service: Service, terminal: Terminal) -> None:
    """Are escaped: whoever asks does not write on the terminal of whoever looks."""
    name = b"\x10\x1b]0;owned\x07\x1b[2J\x9b1\x04test\x00"
    terminal.run(*nodedns(service, "top"))
    terminal.line("READY for")
    title = terminal.tmux("display-message", "-p", "#{pane_title}")
    with socket.create_connection(("127.0.0.1", service.port)) as client:
        query = b"\1\2\1\0\0\1\0\0\0\0\0\0" + name + b"\0\1\0\1"
        for _ in range(20):
            client.sendall(len(query).to_bytes(2) + query)
            assert client.recv(2)
        terminal.line(r"\027]0;owned\007\027[2j\1551.test.")
        assert terminal.tmux("display-message", "-p", "#{pane_title}") == title
    with socket.create_connection(("127.0.0.1", service.port)) as client:  # the first is closed when it idles
        client.sendall((len(query) - 3).to_bytes(2) + query[:-3])
        terminal.line("(malformed)")
    terminal.press("q")
    terminal.line("ended with 0")


def test_beside_a_dead_service(service: Service, terminal: Terminal, tmp_path: Path) -> None:
    """What was last seen stays, and it says that nobody is there; so it does when it comes later."""
    terminal.run(*nodedns(service, "top", "--interval", "0.2"))
    with Dnsperf(tmp_path, service.port):
        terminal.line("hot.load.test.")
        service.process.kill()
        terminal.await_(lambda screen: "NOT RUNNING" in screen and "hot.load.test." in screen, "last state")
        terminal.press("q")
        terminal.line("ended with 0")
    service.process.wait()
    command = list(map(str, nodedns(service, "top", "--once")))
    once = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert once.returncode == 1
    assert once.stdout.startswith("nodedns ")
    assert "NOT RUNNING" in once.stdout
    assert "hot.load.test." in once.stdout
    service.process = subprocess.Popen(["true"])


def test_a_terminal_that_cannot_be_drawn_on(service: Service, terminal: Terminal) -> None:
    """It says what to do."""
    terminal.run("TERM=bogus", *nodedns(service, "top"))
    terminal.line("TERM='bogus'")
    terminal.line("ended with 1")
    assert terminal.as_before


def test_status_under_load(service: Service, terminal: Terminal, tmp_path: Path) -> None:
    """One screen, with what a miss goes to and how that does."""
    with Dnsperf(tmp_path, service.port):
        upstream = service.forward[0]
        service.await_(lambda: report(service, "status")["upstreams"][0]["state"] == "up", "sure of its upstream")
        terminal.run("clear;", *nodedns(service, "status"))
        screen = terminal.await_(lambda screen: "ended with 0" in screen, "status")
    print(screen)
    assert screen.startswith("nodedns ")
    assert re.search(rf"^upstream  {upstream} up, p50 [\d.]+ m?s, p99 [\d.]+ m?s; asked [1-9]\d*$", screen, re.M)
    assert re.search(rf"^zone      \., cluster.local., in-addr.arpa., ip6.arpa. -> {upstream}$", screen, re.M)
    assert re.search(r"^metrics   http://\S+:\d+/metrics$", screen, re.M)
    assert re.search(r"^answers   \d+, [\d.]+ % from the cache$", screen, re.M)
