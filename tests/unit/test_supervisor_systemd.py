"""supervisor.systemd: which job of systemd's ends us, asked within bounds."""

from pathlib import Path

import pytest

from nodedns.supervisor import systemd

UNIT = "nodedns.service"


@pytest.fixture
def systemctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A command of that name, alone on the path, for the test to write."""
    monkeypatch.setattr(systemd, "PATIENCE", 30.0)
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/nobody-listens")
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "cgroup").write_text(f"0::/system.slice/{UNIT}\n")
    path = tmp_path / "systemctl"
    path.touch(0o755)
    return path


@pytest.mark.parametrize(
    ("jobs", "verdict"),
    [
        (f"712 {UNIT} restart running", True),
        (f"1 other.service stop waiting\n712 {UNIT} restart running", True),
        (f"712 {UNIT} stop running", False),
        (f"712 other-{UNIT} restart running", False),
        ("", False),
    ],
)
def test_restart_is_told_from_stop(systemctl: Path, jobs: str, verdict: bool) -> None:
    """Only a restart job of our own unit is a restart."""
    systemctl.write_text(f"#!/bin/sh\n[ $1 = list-jobs ] && echo '{jobs}'\n")
    assert systemd.restarting(f"{systemctl.parent}/cgroup") is verdict


def test_who_does_not_answer_is_not_waited_for(systemctl: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A systemctl that hangs is ended, and what is under way is taken for a stop."""
    monkeypatch.setattr(systemd, "PATIENCE", 0.1)
    systemctl.write_text("#!/bin/sh\nexec /bin/sleep 30\n")
    assert not systemd.restarting(f"{systemctl.parent}/cgroup")


def test_no_systemctl(systemctl: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Where it cannot be asked, the log says so, and it is taken for a stop."""
    systemctl.unlink()
    assert not systemd.restarting(f"{systemctl.parent}/cgroup")
    assert "systemctl list-jobs: No such file or directory; taken for a stop" in capfd.readouterr().err


def test_without_systemd_nobody_is_asked(systemctl: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A parent that systemd has not started is stopped, never restarted."""
    monkeypatch.delenv("NOTIFY_SOCKET")
    systemctl.write_text(f"#!/bin/sh\necho '712 {UNIT} restart running'\n")
    assert not systemd.restarting(f"{systemctl.parent}/cgroup")


@pytest.mark.parametrize(
    ("usec", "pid", "seconds"), [("10000000", "", 10.0), ("10000000", "1", None), ("", "", None), ("x", "", None)]
)
def test_watchdog(monkeypatch: pytest.MonkeyPatch, usec: str, pid: str, seconds: float | None) -> None:
    """The limit is ours when it names no other process (sd_watchdog_enabled(3))."""
    monkeypatch.setenv("WATCHDOG_USEC", usec)
    monkeypatch.setenv("WATCHDOG_PID", pid)
    assert systemd.watchdog() == seconds
