"""A snapshot of our code that cannot be made; what one is for stands in tests/service/test_drills.py."""

import sys
from pathlib import Path

import pytest

import nodedns
from nodedns.supervisor import snapshot, spawn
from nodedns.supervisor.poller import Poller


@pytest.mark.parametrize("code", ["/dev/null", "/nonexistent/nodedns"])
def test_code_that_cannot_be_packed(
    code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """What a child says, or its end, is told; code comes from where it did."""
    paths = {name: list(module.__path__) for name, module in sys.modules.items() if name == "nodedns.core"}
    monkeypatch.setattr(nodedns, "__path__", [code])
    poller, said = Poller(), ""
    snapshot.take(poller, str(tmp_path))
    while "an upgrade changes what runs" not in said:
        poller.wait(10)
        said += capfd.readouterr().err
    assert f"{tmp_path}/code: exit code 70; until the next start" in said
    assert list(tmp_path.iterdir()) == []
    assert not spawn.INHERITED
    assert paths == {"nodedns.core": list(sys.modules["nodedns.core"].__path__)}


def test_nowhere_to_put_it(capfd: pytest.CaptureFixture[str]) -> None:
    """A directory that has gone."""
    snapshot.take(Poller(), "/nonexistent")
    assert "/nonexistent/code: No such file or directory; until the next start" in capfd.readouterr().err
