"""The deb as a file: what Debian's own checks say of it, and that one commit is one file."""

import shutil
import subprocess
from pathlib import Path

import pytest

from nodedns import __version__
from tests.node.debs import Debs, built, clone
from tests.node.roots import ROOT, made

CROSS = "build-essential,debhelper,dh-python,pybuild-plugin-pyproject,python3-all-dev,python3-setuptools"
CROSS += ",crossbuild-essential-arm64,libpython3-all-dev:arm64"
BUILD = "cd /tmp/nodedns && exec dpkg-buildpackage -aarm64 -Pcross,nocheck --build=binary --no-sign"


def test_lintian_is_content(debs: Debs) -> None:
    """Neither an error nor a warning, and nothing is overridden."""
    command = ["lintian", "--allow-root", "--fail-on=error,warning", "--show-overrides", debs.first]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


def test_two_builds_are_equal(debs: Debs, tmp_path: Path) -> None:
    """To the octet, in another folder, too."""
    assert built(clone(tmp_path / "elsewhere")).read_bytes() == debs.first.read_bytes()


@pytest.mark.parametrize("page", ["man1/nodedns.1.gz", "man5/nodedns.toml.5.gz"])
def test_manual_pages_are_readable(debs: Debs, page: str, tmp_path: Path) -> None:
    """man(1) warns of nothing."""
    subprocess.run(["dpkg-deb", "-x", debs.first, tmp_path], check=True)
    command = ["man", "--warnings", "-l", f"{tmp_path}/usr/share/man/{page}"]
    environment = {"PATH": "/usr/bin:/bin", "MANPAGER": "cat", "LC_ALL": "C.UTF-8"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert "SEE ALSO" in done.stdout


def test_it_builds_for_arm64(debs: Debs, tmp_path: Path) -> None:
    """By cross-compilers on Debian 12: the same files, and a C core for that machine. Nothing runs it here."""
    root = made("cross-bookworm-1", "bookworm", CROSS, "--architectures=amd64,arm64")
    tree = shutil.copytree(ROOT / "build/deb" / f"nodedns-{__version__}", tmp_path / "nodedns", symlinks=True)
    subprocess.run(["dh_clean"], cwd=tree, check=True, capture_output=True)
    command = ["unshare", "--mount", "sh", "-ec", f"mount --bind {tmp_path} {root}/tmp; chroot {root} sh -c '{BUILD}'"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    other = tmp_path / f"nodedns_{__version__}_arm64.deb"
    assert files(other) == files(debs.first)
    subprocess.run(["dpkg-deb", "-x", other, tmp_path / "files"], check=True)
    (core,) = (tmp_path / "files").rglob("*.abi3.so")
    assert core.read_bytes()[18:20] == b"\xb7\0"  # e_machine is EM_AARCH64 (elf.h)


def files(deb: Path) -> list[str]:
    """Modes and names."""
    listing = subprocess.run(["dpkg-deb", "-c", deb], capture_output=True, text=True, check=True).stdout
    return sorted(f"{line.split()[0]} {line.split()[-1]}" for line in listing.splitlines())
