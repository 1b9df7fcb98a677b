"""A snapshot of our code that cannot be made; what one is for stands in tests/service/test_drills.py."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import nodedns
import nodedns.core
from nodedns.supervisor import snapshot, spawn
from nodedns.supervisor.poller import Poller


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
    snapshot.take(poller, str(run_dir))
    poller.wait(10)
    said = capfd.readouterr().err
    assert f"{run_dir}/code: " in said
    assert f"{why.format(package=package)}; until the next start" in said
    assert list(run_dir.iterdir()) == []
    assert not spawn.INHERITED
    assert core == list(sys.modules["nodedns.core"].__path__)


def test_nowhere_to_put_it(capfd: pytest.CaptureFixture[str]) -> None:
    """A directory that has gone."""
    snapshot.take(Poller(), "/nonexistent")
    assert "/nonexistent/code: No such file or directory; until the next start" in capfd.readouterr().err
