"""A config file with its run directory, the shared files of a service without the service, and a command line."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from service_files import GOOD, WORKERS, ZONE, Verb, held_lock, write, write_status

from nodedns import cli, journal, native
from nodedns.core import slots
from nodedns.core.slots import State
from nodedns.supervisor.memory import map_all


@pytest.fixture(autouse=True)
def own_words() -> None:
    """What tests before this one have said, in whatever order and however fast, does not silence it."""
    journal.begin("")


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    """A config that needs nothing of this machine; its run directory is `run` beside it."""
    run_dir = tmp_path / "run"
    run_dir.mkdir(mode=0o700)
    return write(tmp_path / "nodedns.toml", GOOD + f'run_dir = "{run_dir}"\n' + ZONE.format("10.1.1.53"))


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock of entries and ages stands still: what is shown of them is exact. To be named before `table`."""
    now = native.now()
    monkeypatch.setattr(native, "now", lambda: now)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No worker is late: a test that is about a limit sets its own."""
    for state in (State.STARTING, State.WARMING, State.HANDING, State.LEAVING, State.STOPPING):
        monkeypatch.setitem(slots.LIMITS, state, 60.0)
    monkeypatch.setattr(slots, "LEAVE_LIMIT", 60.0)  # of a dead parent's workers


@pytest.fixture
def table(config_file: Path) -> native.Table:
    """The shared files of a service with two workers."""
    shared = map_all(str(config_file.parent / "run"), 2**20, len(WORKERS) + 1)
    write_status(config_file)
    return native.Table(shared.table)


@pytest.fixture
def counters(tmp_path: Path) -> native.Memory:
    """Those of one slot, all zero."""
    size = native.counters_size(1)
    with (tmp_path / "counters").open("wb+") as file:
        file.truncate(size)
        return native.map_file(file.fileno(), size, True)


@pytest.fixture
def lock(config_file: Path) -> Iterator[None]:
    with held_lock(config_file):
        yield


@pytest.fixture
def verb(capsys: pytest.CaptureFixture[str]) -> Verb:
    """Runs one command line: (exit code, stdout, stderr)."""

    def run(*words: str) -> tuple[int, str, str]:
        try:
            code = cli.main(words)
        except SystemExit as exit:
            code = int(exit.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return run
