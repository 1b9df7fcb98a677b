"""Events as a person finds them: in the journal, on stderr, consolidated, and in docs/logs.md."""

import ast
import math
import os
import socket
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

import nodedns
from nodedns import journal
from nodedns.core.consolidate import FIRST, WINDOW, Consolidator
from nodedns.core.events import EVENTS, table

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(autouse=True)
def anew() -> Iterator[None]:
    journal.begin("")
    yield
    journal.begin("")


@pytest.fixture
def journald(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A socket where the journal's is, and a stderr that is said to be its own."""
    found = os.fstat(2)
    monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
    monkeypatch.setattr(journal, "SOCKET", str(tmp_path / "socket"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "socket"))
        sock.settimeout(5)
        yield sock


def entry(data: bytes) -> dict[str, str]:
    """The native protocol, read by its description."""
    fields = {}
    while data:
        line, _, data = data.partition(b"\n")
        name, plain, value = line.partition(b"=")
        if not plain:
            size = int.from_bytes(data[:8], "little")
            value, data = data[8 : 8 + size], data[8 + size + 1 :]
        fields[name.decode()] = value.decode()
    return fields


@pytest.mark.parametrize("stream", [None, "8:1"])
@pytest.mark.parametrize(
    ("message", "line"),
    [
        ("plain", "nodedns: plain\n"),
        ("two\nlines \x1b[31m\udc80 \xe9", "nodedns: two\\x0alines \\x1b[31m\\xdc80 \xe9\n"),
    ],
)
def test_lines_on_stderr(
    stream: str | None, message: str, line: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """One line, whatever is in it; another stderr than the journal's is a person's."""
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    if stream:
        monkeypatch.setenv("JOURNAL_STREAM", stream)
    journal.log("setup_error", message)
    assert capfd.readouterr().err == line


def test_entries(journald: socket.socket) -> None:
    """Fields under their names, the child's name with them, a message of several lines in one entry."""
    journal.log("worker_died", "worker 0 (pid 7) ended", worker="worker 0", pid=7, death="SIGKILL")
    journal.begin("worker 1")
    journal.log("reload_refused", "one", "two\nforged=1")
    assert entry(journald.recv(4096)) == {
        "SYSLOG_IDENTIFIER": "nodedns",
        "MESSAGE": "worker 0 (pid 7) ended",
        "PRIORITY": "4",
        "NODEDNS_EVENT": "worker_died",
        "NODEDNS_WORKER": "worker 0",
        "NODEDNS_PID": "7",
        "NODEDNS_DEATH": "SIGKILL",
    }
    found = entry(journald.recv(4096))
    assert found["MESSAGE"] == "one\ntwo\\x0aforged=1"
    assert found["NODEDNS_CHILD"] == "worker 1"
    assert "forged" not in found


def test_no_journal(
    journald: socket.socket, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without its socket stderr leads to it, line by line, with sd-daemon(3)'s prefix."""
    os.unlink(journald.getsockname())
    found = os.fstat(2)  # capfd has put another one there
    monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
    journal.log("reload_refused", "one", "two")
    assert capfd.readouterr().err == "<3>one\n<3>two\n"


def test_a_journal_that_stands_still(journald: socket.socket) -> None:
    """It costs lines, never time; what was lost is said when it goes on."""
    sent = 0

    def fill() -> None:
        nonlocal sent
        for sent in count():  # noqa: B007
            journal.send({"MESSAGE": "filler"})

    with pytest.raises(BlockingIOError):
        fill()
    for _ in range(3):
        journal.log("reload", "lost")
    for _ in range(sent):
        journald.recv(4096)
    journal.log("reload_taken", "there")
    said = [entry(journald.recv(4096)) for _ in range(2)]
    assert [one["NODEDNS_EVENT"] for one in said] == ["lines_lost", "reload_taken"]
    assert said[0]["NODEDNS_LINES"] == "3"


def test_consolidated(journald: socket.socket) -> None:
    """The first few, then how many more; another zone is another matter, a child's are its own."""
    for _ in range(FIRST + 5):
        journal.log("no_answer", "no server of zone a. answered", zone="a.")
    journal.log("no_answer", "no server of zone b. answered", zone="b.")
    assert journal.due() is not None
    journal.take_time(0)
    journal.take_time(math.inf)
    assert journal.due() is None
    said = [entry(journald.recv(4096)) for _ in range(FIRST + 2)]
    assert [one["NODEDNS_ZONE"] for one in said] == ["a."] * FIRST + ["b.", "a."]
    assert (said[-1]["NODEDNS_MORE"], said[-1]["MESSAGE"]) == ("5", "no_answer (a.): 5 more in the last 10 s")
    for _ in range(FIRST + 1):
        journal.log("reload", "reload")
    journal.begin("worker 0")
    journal.take_time(math.inf)
    for _ in range(FIRST):
        journald.recv(4096)
    journald.setblocking(False)
    with pytest.raises(BlockingIOError):
        journald.recv(4096)


def test_windows() -> None:
    """Begin with their first event, end once, and begin anew."""
    one = Consolidator()
    assert one.due is None
    assert [one.take(("x",), 5.0) for _ in range(FIRST + 1)] == [True] * FIRST + [False]
    assert one.take(("y",), 6.0)
    assert one.due == 5.0 + WINDOW
    assert one.over(5.0 + WINDOW - 0.1) == []
    assert one.over(5.0 + WINDOW) == [(("x",), 1)]
    assert one.take(("x",), 16.0)
    assert one.over(100.0) == []
    assert one.due is None


def test_page_has_the_table() -> None:
    """docs/logs.md has core/events.py's table, whole."""
    assert table() in (DOCS / "logs.md").read_text()


def calls() -> list[tuple[str, ast.Call]]:
    found = []
    for path in sorted(Path(nodedns.__file__).parent.rglob("*.py")):
        if "host" in path.parts:
            continue  # its log() is what a task says
        for node in ast.walk(ast.parse(path.read_text())):
            name = getattr(node.func, "id", getattr(node.func, "attr", "")) if isinstance(node, ast.Call) else ""
            if isinstance(node, ast.Call) and name in ("log", "_log") and isinstance(node.args[0], ast.Constant):
                found.append((path.name, node))
    return found


def test_calls_are_of_the_table() -> None:
    """Each event is said somewhere, with fields that the table has."""
    said = set()
    for where, call in calls():
        event = ast.literal_eval(call.args[0])
        said.add(event)
        assert {word.arg for word in call.keywords} <= {*EVENTS[event].fields, None}, (where, event)
    assert all(set(kind.by) <= set(kind.fields) for kind in EVENTS.values())
    # said by a name that is worked out
    assert set(EVENTS) - said == {"worker_hung", "worker_late", "worker_left", "worker_died", "lines_lost"}
