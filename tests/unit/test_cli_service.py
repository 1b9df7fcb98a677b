"""status and reload: the service as its files show it. Whoever holds the lock of the run directory is the service."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from service_files import Verb, held_lock, write, write_status

from nodedns import native
from nodedns.verbs.files import DEFAULT_RUN_DIR, Source
from nodedns.verbs.status import span


@pytest.mark.parametrize("words", ["reload", "status", "cache dump", "cache get a.", "cache flush"])
def test_no_service(words: str, config_file: Path, verb: Verb) -> None:
    """Where no service ever ran, a verb names the file it looked for and how to start one."""
    code, out, err = verb(*words.split(), "--config", str(config_file))
    assert (code, out) == (1, "")
    where = config_file.parent / "run" / "status.json"
    assert err.endswith(f"not running: expected {where}, got no such file; start it: systemctl start nodedns\n")


@pytest.mark.parametrize(
    ("text", "run_dir"),
    [
        ("bogus", DEFAULT_RUN_DIR),
        ("[node]\nrun_dir = '/a'\nbogus = 1\n", "/a"),
        ('bogus bogus\n  run_dir="/a b"  # note\n', "/a b"),
        ('node.run_dir = "/a"\nrun_dir = 1\n# run_dir = "/b"\n', "/a"),
        (None, DEFAULT_RUN_DIR),
    ],
)
def test_broken_config_does_not_hide_the_service(text: str | None, run_dir: str, tmp_path: Path) -> None:
    """Of a file with problems the run directory is still read; a file without one leaves the default."""
    file = tmp_path / "nodedns.toml"
    if text is not None:
        write(file, text)
    assert Source(str(file)).run_dir() == run_dir


def test_dropin_of_a_broken_config_moves_the_service(config_file: Path) -> None:
    """The last drop-in that sets the run directory wins, as it does in a good config."""
    write(config_file, "bogus")
    write(config_file.with_suffix(".d") / "10.toml", '[node]\nrun_dir = "/from-dropin"\n')
    assert Source(str(config_file)).run_dir() == "/from-dropin"


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "\x00"])
def test_damaged_status_is_one_line(text: str, config_file: Path, verb: Verb) -> None:
    """A status.json that is not one is named, with what to do."""
    where = write(config_file.parent / "run" / "status.json", text)
    code, _, err = verb("status", "--config", str(config_file))
    assert (code, err.count("\n"), str(where) in err, "restart the service" in err) == (1, 1, True, True)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: gives a directory to another user")
def test_foreign_run_dir_is_refused(config_file: Path, verb: Verb) -> None:
    """A run directory of another user is not believed: it could name any pid to signal."""
    write_status(config_file)
    os.chown(config_file.parent / "run", 65534, -1)
    code, _, err = verb("reload", "--config", str(config_file))
    assert (code, "expected to run as its owner, uid 65534, got uid 0" in err) == (1, True)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it looks for links and rules")
def test_cleanup_beside_a_service(config_file: Path, verb: Verb) -> None:
    """Refused: the service would put everything back. Nothing is touched."""
    with held_lock(config_file):
        code, out, err = verb("cleanup", "--config", str(config_file))
    assert (code, out) == (1, "")
    assert "another instance runs" in err
    assert "--force" in err


@pytest.mark.usefixtures("still", "table", "lock")
def test_status_shows_why_a_reload_was_refused(config_file: Path, verb: Verb) -> None:
    """The problems of the last reload stay on the screen."""
    problem = "nodedns.toml: node.workers: expected 1 to 64, got 0"
    write_status(config_file, reload={"count": 2, "at": native.now(), "ok": False, "problems": [problem]})
    out = verb("status", "--config", str(config_file))[1]
    assert f"reloads   2, the last 0 s ago was refused, the old config is still served:\n          {problem}\n" in out


@pytest.mark.parametrize(
    ("ms", "text"),
    [(-5, "0 s"), (59_999, "59 s"), (60_000, "1 min 0 s"), (3_661_000, "1 h 1 min"), (90_000_000, "1 d 1 h")],
)
def test_span(ms: int, text: str) -> None:
    """A span is shown in its two largest units."""
    assert span(ms) == text


def _stand_in(config_file: Path, verdict: dict[str, Any] | None, say: int) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    with held_lock(config_file):
        os.write(say, b"x")
        signal.sigwait({signal.SIGHUP})
        if verdict is None:
            (config_file.parent / "run" / "status.json").unlink()
            return
        write_status(config_file, pid=os.getpid(), reload=verdict)
        signal.pause()


def parent(config_file: Path, verdict: dict[str, Any] | None) -> int:
    """A process that holds the lock and answers one SIGHUP with `verdict`, None: by its death. Returns its pid."""
    ready, say = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            _stand_in(config_file, verdict, say)
        finally:
            os._exit(1)
    os.read(ready, 1)
    os.close(ready)
    os.close(say)
    write_status(config_file, pid=pid)
    return pid


@pytest.mark.parametrize(
    ("verdict", "shown"),
    [
        (
            {"count": 1, "at": 0, "ok": True, "problems": []},
            (0, "reloaded: every worker runs the new config\n", ""),
        ),
        (
            {"count": 1, "at": 0, "ok": False, "problems": ["a: expected b, got c", "d"]},
            (1, "refused: the old config is still served\n  a: expected b, got c\n  d\n", ""),
        ),
        (None, (1, "", "nodedns reload: the service ended during the reload; see the journal\n")),
    ],
    ids=["taken", "refused", "died"],
)
def test_reload_verdicts(
    verdict: dict[str, Any] | None, shown: tuple[int, str, str], config_file: Path, verb: Verb
) -> None:
    """The verdict that the parent writes after SIGHUP is printed, and is the exit code."""
    pid = parent(config_file, verdict)
    try:
        assert verb("reload", "--config", str(config_file)) == shown
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_reload_signals_nobody_without_the_lock(config_file: Path, verb: Verb) -> None:
    """A pid without the lock is not the service any more: this process's own SIGHUP would kill the test."""
    write_status(config_file)
    code, _, err = verb("reload", "--config", str(config_file))
    assert (code, "not running: nobody holds" in err) == (1, True)


def test_reload_of_a_pid_that_is_gone(config_file: Path, verb: Verb) -> None:
    """A reaped pid is named."""
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    write_status(config_file, pid=pid)
    code, _, err = verb("reload", "--config", str(config_file))
    assert (code, f"not running: pid {pid}" in err) == (1, True)
