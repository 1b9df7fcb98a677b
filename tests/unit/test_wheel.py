"""`pip install .`: the wheel has everything that runs, and nothing is downloaded once what builds it is there."""

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from nodedns import __version__

ROOT = Path(__file__).parents[2]
SKIPPED = (".*", "build", "dist", "tests", "docs", "*.egg-info", "*.so", "__pycache__")
OFFLINE = ("--no-build-isolation", "--no-index", "--no-deps")


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_wheel_runs_from_an_environment_of_its_own(tmp_path: Path) -> None:
    """One file for Python 3.11 and later; installed elsewhere, the command works with its C core."""
    if sys.prefix == sys.base_prefix:
        pytest.skip("needs a virtual environment with setuptools and wheel: make native")
    source, fresh = tmp_path / "source", tmp_path / "fresh"
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(*SKIPPED))
    run(sys.executable, "-m", "pip", "wheel", "-q", *OFFLINE, "-w", tmp_path, source, cwd=tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name.startswith(f"nodedns-{__version__}-cp311-abi3-linux_")

    run(sys.executable, "-m", "venv", "--without-pip", fresh, cwd=tmp_path)
    run(sys.executable, "-m", "pip", "-q", "--python", fresh / "bin/python", "install", *OFFLINE, wheel, cwd=tmp_path)
    # The libraries it depends on, from here: that pip finds them is not what is tested.
    (fresh / "lib" / f"python3.{sys.version_info.minor}" / "site-packages/here.pth").write_text(
        sysconfig.get_path("purelib")
    )
    assert run(fresh / "bin/nodedns", "--version", cwd=tmp_path).strip() == __version__
    config = tmp_path / "nodedns.toml"
    config.write_text('[cluster]\ndns = "10.96.0.10"\n[[zone]]\nname = "."\nforward = ["10.0.0.1"]\n')
    assert f"{config}: well" in run(fresh / "bin/nodedns", "check", "--config", config, cwd=tmp_path)
    assert run(fresh / "bin/python", "-c", "import nodedns.native as n; print(n.__file__)", cwd=tmp_path).startswith(
        str(fresh)
    )
