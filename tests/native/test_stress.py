"""The table under writers that are killed at any instruction: no reader sees a mixture, no slot is lost for ever."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = [
    Path(__file__).with_name("stress.c"),
    *(ROOT / "nodedns" / "native" / f"{n}.c" for n in ("table", "table_put", "marks", "wire", "names")),
]
KILLS = 200
ENOUGH = 60  # of which one at least dies inside a claim: every tenth does
MILLISECONDS = 20_000  # it takes two seconds on two cores; a busy machine kills fewer instead of taking longer

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not on PATH")


def stress(program: Path, *flags: str) -> dict[str, int]:
    """Builds stress.c with `flags` and runs it; its figures by name."""
    build = ["gcc", "-std=c11", "-O2", "-g", "-D_GNU_SOURCE", *flags, *map(str, SOURCES), "-o", str(program)]
    subprocess.run(build, check=True)
    command = [str(program), str(KILLS), str(MILLISECONDS), "1"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=MILLISECONDS / 1000 + 5)
    return {name: int(value) for name, value in (figure.split("=") for figure in done.stdout.split())}


def test_writers_killed_at_random(tmp_path: Path) -> None:
    """Of many copies none is torn; claims died with their writers, and every slot took an entry again."""
    found = stress(tmp_path / "stress")
    assert found["killed"] >= ENOUGH
    assert found["claims_left"] > 0, "no writer died inside a claim: the run has shown nothing"
    assert found["checked"] > 10_000
    assert (found["torn"], found["unusable"], found["claims_at_end"]) == (0, 0, 0)


def test_the_detector_sees_torn_entries(tmp_path: Path) -> None:
    """The control run: readers that do not look at the control word again do see mixtures, and we notice."""
    assert stress(tmp_path / "stress", "-DTABLE_NO_RECHECK")["torn"] > 0
