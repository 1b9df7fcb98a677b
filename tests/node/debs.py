"""The deb of what is committed, variants of it, and the tools that install them on a node."""

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.node.node import Node, missing
from tests.node.roots import ROOT

LATER = "9.9.9"
NEW_DEFAULT = "\n# A later version explains more.\n"
KEY_OF_LATER = "of_later"
OURS = "usr/lib/python3/dist-packages/nodedns"


class Debs(NamedTuple):
    """`later` has another version, another default config and a key that `first` does not know."""

    first: Path
    later: Path


def lacking() -> str | None:
    """Why none can be built or tried here, None when one can."""
    return missing() or (None if shutil.which("dh_python3") else "needs dh-python and what Build-Depends says")


def clone(tree: Path) -> Path:
    """What is committed, once more."""
    subprocess.run(["git", "clone", "-q", ROOT, tree], check=True)
    (tree / "build").mkdir()
    return tree


def built(tree: Path) -> Path:
    """`make deb` in a clone, without a network."""
    command = ["unshare", "--net", "packaging/deb/build"]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return tree / done.stdout.split()[-1]


def variant(deb: Path, folder: Path, change: Callable[[Path], None], name: str) -> Path:
    """`deb` unpacked into `folder`, changed, and packed again."""
    tree, made = folder / name, folder / f"{name}.deb"
    subprocess.run(["dpkg-deb", "-R", deb, tree], check=True)
    change(tree)
    subprocess.run(["dpkg-deb", "-b", tree, made], check=True, capture_output=True)
    return made


def replace(file: Path, pattern: str, text: str) -> None:
    """The first match becomes `text`; there must be one."""
    changed, count = re.subn(pattern, text, file.read_text(), count=1, flags=re.MULTILINE)
    assert count, f"{file}: no {pattern}"
    file.write_text(changed)


def control(tree: Path, field: str, value: str) -> None:
    """A field of the binary package."""
    replace(tree / "DEBIAN/control", f"^{field}: .*$", f"{field}: {value}")


def make_later(tree: Path) -> None:
    """What the next version may bring."""
    control(tree, "Version", LATER)
    with (tree / "etc/nodedns/nodedns.toml").open("a") as file:
        file.write(NEW_DEFAULT)
    replace(
        tree / OURS / "config_schema.py",
        r'^    Key\("node\.hosts"',
        f'    Key("node.{KEY_OF_LATER}", values.whole(9), 0, ""),\n\\g<0>',
    )


def make_refusing(tree: Path) -> None:
    """It does not take the config of a node with two workers."""
    control(tree, "Version", "9.9.11")
    replace(
        tree / OURS / "config_schema.py",
        r'^    Key\("node\.workers", values\.workers',
        '    Key("node.workers", values.whole(1)',
    )


def tool(node: Node, *words: str, fails: bool = False) -> str:
    """What it says, on both; it must succeed, or fail. Nobody is there to be asked."""
    inside = ["nsenter", "-t", str(node.pid), "-a", "env", "DEBIAN_FRONTEND=noninteractive", *words]
    done = subprocess.run(inside, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert (done.returncode != 0) == fails, done.stdout + done.stderr
    return done.stdout + done.stderr


def dpkg(node: Node, *words: str, fails: bool = False) -> str:
    """dpkg; a config that was changed by hand stays."""
    return tool(node, "dpkg", "--force-confold", *words, fails=fails)


def apt(node: Node, *words: str, fails: bool = False) -> str:
    """apt-get, with what its cache has: a node has no way to a mirror."""
    return tool(node, "apt-get", "-y", "-o", "APT::Sandbox::User=root", *words, fails=fails)
