"""A snapshot of our code that cannot be made; what one is for stands in tests/service/test_drills.py."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import nodedns
import nodedns.core
from nodedns.supervisor import spawn
from nodedns.supervisor.poller import Poller
from nodedns.supervisor.snapshot import Snapshot


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        (lambda package: (package / "lost.py").symlink_to("nowhere"), "No such file or directory: '{package}/lost.py'"),
        (lambda package: (package / "__init__.py").rename(package.with_name("nodedns.txt")), "exit code 70"),
    ],
)
def test_code_that_cannot_be_packed(
    broken: Callable[[Path], None],
    why: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """What a child says, or its end, is told; code comes from where it did."""
    package, run_dir = tmp_path / "nodedns", tmp_path / "run"
    for made in (package, run_dir):
        made.mkdir()
    (package / "__init__.py").write_text("")
    broken(package)
    core = list(sys.modules["nodedns.core"].__path__)
    monkeypatch.setattr(nodedns, "__path__", [str(next(tmp_path.glob("nodedns.txt"), package))])
    poller = Poller()
    Snapshot(poller, str(run_dir)).take()
    poller.wait(10)
    said = capfd.readouterr().err
    assert f"{run_dir}/code: " in said
    assert f"{why.format(package=package)}; until the next start" in said
    assert list(run_dir.iterdir()) == []
    assert not spawn.INHERITED
    assert core == list(sys.modules["nodedns.core"].__path__)


def test_nowhere_to_put_it(capfd: pytest.CaptureFixture[str]) -> None:
    """A directory that has gone."""
    Snapshot(Poller(), "/nonexistent").take()
    assert "/nonexistent/code: No such file or directory; until the next start" in capfd.readouterr().err


def test_who_stops_needs_none(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Nobody is left who makes one, and nothing is said."""
    before = len(os.listdir("/proc/self/fd"))
    snapshot = Snapshot(Poller(), str(tmp_path))
    snapshot.take()
    snapshot.end()
    snapshot.end()
    assert len(os.listdir("/proc/self/fd")) == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
    assert capfd.readouterr().err == ""
    assert not spawn.INHERITED
