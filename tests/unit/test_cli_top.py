"""`nodedns top` beside the files of a service: what it prints for scripts, and lines that fit any screen."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from service_files import WORKERS, Verb, write_status

from nodedns import native
from nodedns.core.spelling import spelled_wire
from nodedns.supervisor.memory import counters_mark
from nodedns.verbs.files import Source
from nodedns.verbs.service import find
from nodedns.verbs.status import duration
from nodedns.verbs.top.reading import Reader
from nodedns.verbs.top.screen import ASCII, UNICODE, VIEWS, Look, Marks, number, screen
from nodedns.verbs.top.watch import Watch

QUICK = ("--once", "--interval", "0.01")
HOSTILE = "\x1b]0;x\x07"


@pytest.fixture
def watch(config_file: Path, table: native.Table) -> Watch:
    """Beside a dead service whose names are hostile."""
    del table
    run_dir = config_file.parent / "run"
    source = Source(str(config_file))
    mark = counters_mark(find(source).counters())
    rows = [["dns://127.0.0.1:53", f"{HOSTILE}{n}."] for n in range(70)]
    (run_dir / "rows.json").write_text(json.dumps({"mark": mark, "rows": rows, "upstreams": [[HOSTILE]] * 40}))
    write_status(config_file, version=HOSTILE, forward=[{"name": ".", "forward": [HOSTILE]}])
    return Watch(Reader(source))


@pytest.mark.usefixtures("table", "lock")
def test_once(config_file: Path, verb: Verb) -> None:
    """One interval as text."""
    code, out, err = verb("top", *QUICK, "--config", str(config_file))
    assert (code, err) == (0, "")
    assert re.match(r"nodedns 0\.1\.0: READY for \d+ s, 2 workers", out)
    assert "1 SERVING" in out


@pytest.mark.usefixtures("table", "lock")
def test_once_as_json(config_file: Path, verb: Verb) -> None:
    """One object, of one interval."""
    code, out, _ = verb("top", *QUICK, "--json", "--config", str(config_file))
    report = json.loads(out)
    assert (code, report["alive"], report["answers"], report["p50"]) == (0, True, 0, None)
    assert 0 < report["seconds"] < 60
    assert [worker["pid"] for worker in report["workers"]] == [worker["pid"] for worker in WORKERS]


@pytest.mark.usefixtures("table")
def test_beside_a_dead_service(config_file: Path, verb: Verb) -> None:
    """It says so, shows what is left, and does not go on for ever."""
    code, out, _ = verb("top", *QUICK, "--config", str(config_file))
    assert (code, "NOT RUNNING" in out, "0 was SERVING" in out) == (1, True, True)
    code, out, _ = verb("top", "--json", "--config", str(config_file))
    report = json.loads(out)
    assert (code, report["alive"], report["seconds"]) == (1, False, None)


@pytest.mark.usefixtures("lock")
def test_a_server_that_is_asked_no_more(watch: Watch, config_file: Path, verb: Verb) -> None:
    """Keeps its counts, and is no concern of those who look."""
    del watch
    look = ("top", *QUICK, "--json", "--config", str(config_file))
    assert [up["name"] for up in json.loads(verb(*look)[1])["upstreams"]] == [HOSTILE]
    write_status(config_file, forward=[{"name": ".", "forward": ["192.0.2.1:53"]}])
    assert json.loads(verb(*look)[1])["upstreams"] == []


@pytest.mark.usefixtures("table", "lock")
def test_without_a_terminal(config_file: Path, verb: Verb) -> None:
    """It says what scripts use."""
    code, out, err = verb("top", "--config", str(config_file))
    assert (code, out) == (1, "")
    assert err == "nodedns top: expected a terminal, got something else; for scripts: nodedns top --once [--json]\n"


@pytest.mark.usefixtures("table", "lock")
@pytest.mark.parametrize(
    ("name", "change", "got"),
    [
        ("counters", lambda octets: b"other" + octets[5:], "other counters; restart the service"),
        ("counters", lambda octets: octets[:4096], "octets instead of"),
        ("samples", lambda octets: octets[:4096], "got 4096"),
        ("samples", None, "No such file or directory"),
    ],
)
def test_files_of_another_version(name: str, change: Any, got: str, config_file: Path, verb: Verb) -> None:
    """Are named, not read."""
    file = config_file.parent / "run" / name
    octets = file.read_bytes()
    file.unlink()
    if change:
        file.write_bytes(change(octets))
    code, out, err = verb("top", *QUICK, "--config", str(config_file))
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert got in err


@pytest.mark.parametrize("marks", [UNICODE, ASCII], ids=["unicode", "ascii"])
@pytest.mark.parametrize("view", range(len(VIEWS)), ids=[name for name, _ in VIEWS])
def test_it_fits_any_screen(view: int, marks: Marks, watch: Watch) -> None:
    """As many lines as there are, none too wide, all of them printable."""
    watch.history.extend([(1.0, None, 2.0, 3.0)] * 300)
    for width in (1, 2, 7, 39, 40, 71, 72, 80, 131, 132, 250):
        for height in (1, 2, 5, 8, 10, 13, 24, 100):
            lines = screen(watch, Look(view), width, height, marks)
            assert len(lines) == height
            assert max(len(line.text) for line in lines) <= width
            text = "".join(line.text for line in lines)
            assert text.isprintable()
            assert marks is UNICODE or text.isascii()


def test_zones_take_turns(watch: Watch) -> None:
    """And come to an end, at which all are there again."""
    seen = []
    for _ in range(71):
        watch.next_zone()
        seen.append(watch.zone)
    assert (len(set(seen)), seen[-1]) == (71, None)


@pytest.mark.parametrize(
    ("wire", "text"),
    [
        (b"\0", "."),
        (b"\3a.b\2\x1b[\0", r"a\.b.\027[."),
        (b"\3ab", r"\003ab"),  # too short
        (b"\1a", r"\001a"),  # without its end
        (b"\1a\0x", r"\001a\000x"),  # with more behind it
        (b"", ""),
        (b"\xc0\x0c", r"\192\012"),
    ],
)
def test_wire_names(wire: bytes, text: str) -> None:
    """Are spelled; octets that are no name are shown as they are."""
    assert spelled_wire(wire) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-"), (0.000125, "0.125 ms"), (0.0099, "9.9 ms"), (0.9996, "1 s"), (8.192, "8.19 s"), (0.123456, "123 ms")],
)
def test_durations(seconds: float | None, text: str) -> None:
    """Three digits."""
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (3, "3"), (3.14, "3.1"), (12.6, "13"), (1234567, "1234567"), (0.01, "0.0")]
)
def test_numbers(value: float, text: str) -> None:
    """With one decimal where they are small."""
    assert number(value) == text
