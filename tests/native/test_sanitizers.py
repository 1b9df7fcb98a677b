"""The same tests on a build that stops at the first octet out of bounds or the first undefined operation."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
BUILD = ROOT / "build" / "sanitized"
FLAGS = "-fsanitize=address,undefined -fno-sanitize-recover=undefined"
# Not test_differential: the fuzz targets send more through the same functions, under the same sanitizers and in C.
TESTS = (
    "test_query.py",
    "test_reply.py",
    "test_reply_refused.py",
    "test_render.py",
    "test_table.py",
    "test_counters.py",
)


def libasan() -> str | None:
    """gcc's AddressSanitizer library, which must come before anything else in a process that is not built with it."""
    try:
        asked = ["gcc", "-print-file-name=libasan.so"]
        path = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
    return path if os.path.isabs(path) else None


@pytest.mark.skipif(libasan() is None, reason="gcc or its libasan is not installed")
def test_tables_hold_under_sanitizers() -> None:
    """The tables of this room pass on the instrumented build, which the normal one is not replaced by."""
    command = [sys.executable, "setup.py", "-q", "build_ext"]
    command += ["--build-lib", str(BUILD), "--build-temp", str(BUILD / "temp")]
    subprocess.run(command, cwd=ROOT, env={**os.environ, "NODEDNS_CFLAGS": FLAGS}, check=True, capture_output=True)
    built = next(BUILD.glob("nodedns/native/*.so"))
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-qs", "-p", "no:cacheprovider", *(str(HERE / name) for name in TESTS)],
        cwd=ROOT,
        env={
            **os.environ,
            "NODEDNS_NATIVE": str(built),
            "LD_PRELOAD": str(libasan()),
            "ASAN_OPTIONS": "detect_leaks=0",  # CPython itself leaves memory to the end of the process
            "PYTHONMALLOC": "malloc",  # else pymalloc's arenas hide overruns of bytes objects
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-4000:]
