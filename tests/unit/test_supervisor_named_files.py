"""supervisor.named_files: which change of a file is one."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from nodedns.config import Config, parse
from nodedns.supervisor.named_files import EVERY, NamedFiles


def config(path: Path) -> Config:
    return parse(f'[cluster]\ndns = "10.96.0.10"\n[[zone]]\nname = "."\nforward = "{path}"\n')


def same_again(path: Path) -> None:
    path.with_suffix(".new").write_text(path.read_text())
    path.with_suffix(".new").rename(path)


CHANGES: dict[str, tuple[Callable[[Path], object], bool]] = {
    "nothing": (lambda path: None, False),
    "touched": (os.utime, False),
    "equal text": (same_again, False),
    "other text": (lambda path: path.write_text("nameserver 192.0.2.2\n"), True),
    "emptied": (lambda path: path.write_text(""), True),
    "gone": (lambda path: path.unlink(), True),
    "a FIFO": (lambda path: (path.unlink(), os.mkfifo(path)), True),
}


@pytest.mark.parametrize(("change", "seen"), CHANGES.values(), ids=CHANGES)
def test_changed(change: Callable[[Path], object], seen: bool, tmp_path: Path) -> None:
    """Another content is a change, seen once, when it is time; what only looks like one is none."""
    path = tmp_path / "resolv.conf"
    path.write_text("nameserver 192.0.2.1\n")
    files = NamedFiles(config(path))
    change(path)
    assert not files.changed(files.due - 0.1)
    due = files.due
    assert files.changed(due) == seen
    assert files.due == due + EVERY
    assert not files.changed(files.due)


def test_follow(tmp_path: Path) -> None:
    """A new config's files are known from then on; one that was known keeps its look; without any there is no due."""
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text("nameserver 192.0.2.1\n")
    files = NamedFiles(config(one))
    one.write_text("nameserver 192.0.2.2\n")
    files.follow(config(one))
    assert files.changed(files.due)
    files.follow(config(other))
    assert not files.changed(files.due)
    other.write_text("nameserver 192.0.2.2\n")
    assert files.changed(files.due)
    none = parse('cluster.dns = "10.96.0.10"\nzone = [{ name = ".", forward = "192.0.2.1" }]')
    files.follow(none)
    assert files.due == float("inf")
