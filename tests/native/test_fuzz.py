"""A short fuzz run of every parser; the long one is `make fuzz`."""

import importlib.util
import shutil
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
RUNS = 20_000  # a second each


def runner() -> ModuleType:
    """tests/fuzz/run.py, which is a command and not on the path of tests."""
    spec = importlib.util.spec_from_file_location("fuzz_run", ROOT / "tests" / "fuzz" / "run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.skipif(shutil.which("clang") is None, reason="clang is not on PATH")
@pytest.mark.parametrize("target", ["query", "reply", "entry"])
def test_fuzz(target: str) -> None:
    """Twenty thousand inputs give no crash, no overrun, no undefined behaviour, no answer that is not well formed."""
    done = runner().run(target, RUNS)
    assert done.returncode == 0, done.stderr[-4000:]
    executed = next(line for line in done.stderr.splitlines() if "number_of_executed_units" in line)
    assert int(executed.split()[-1]) >= RUNS
