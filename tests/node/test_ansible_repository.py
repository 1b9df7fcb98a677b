"""The role with packages from an apt repository: installed, upgraded, put back, and refused where that could not be."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.node.debs import LATER, Debs, apt, control, make_refusing, variant
from tests.node.fleet import Fleet, fleet, no_ansible
from tests.node.node import ADDRESS, Node
from tests.node.test_ansible import answer, state
from tests.node.test_ansible_upgrade import version

REPOSITORY = "/srv/debs"
BAD = "9.9.11"
NEWEST = "9.9.12"


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """One node whose apt knows of nothing but what is published."""
    if reason := no_ansible():
        pytest.skip(reason)
    with fleet(tmp_path_factory.mktemp("fleet"), ("one",)) as booted:
        one = booted.nodes["one"]
        shutil.rmtree(one.path / "etc/apt/sources.list.d", ignore_errors=True)
        one.write("/etc/apt/sources.list", f"deb [trusted=yes] file:{REPOSITORY} ./\n")
        yield booted


@pytest.fixture(scope="module")
def bad(debs: Debs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package that does not take the node's config."""
    return variant(debs.later, tmp_path_factory.mktemp("deb"), make_refusing, "bad")


def publish(node: Node, *packages: Path) -> None:
    """The repository has these and no others. It is made out here: dpkg-scanpackages cannot walk a node's root."""
    with TemporaryDirectory() as scratch:
        folder = Path(scratch) / "debs"
        folder.mkdir()
        for package in packages:
            shutil.copy(package, folder)
        scan = ["dpkg-scanpackages", "--multiversion", "."]
        index = subprocess.run(scan, cwd=folder, capture_output=True, text=True, check=True).stdout
        (folder / "Packages").write_text(index)
        shutil.rmtree(node.path / REPOSITORY[1:], ignore_errors=True)
        shutil.copytree(folder, node.path / REPOSITORY[1:])
    apt(node, "update")


def test_by_repository(nodes: Fleet, debs: Debs, bad: Path) -> None:
    """A rollout takes what is there and is content with it; an upgrade is told the version, and one that fails is put
    back from the repository."""
    one = nodes.nodes["one"]
    publish(one, debs.first)
    play = nodes.play("rollout")
    assert play.code == 0, play.said
    assert version(one) == "0.1.0"
    publish(one, debs.first, debs.later, bad)
    assert nodes.play("rollout").hosts == {"one": (0, 0)}
    play = nodes.play("upgrade")
    assert (
        "expected the version to upgrade to, got neither nodedns_package_version nor nodedns_package_file" in play.said
    )
    assert play.hosts == {"one": (0, 1)}
    play = nodes.play("upgrade", nodedns_package_version=LATER)
    assert play.code == 0, play.said
    assert version(one) == LATER
    play = nodes.play("upgrade", nodedns_package_version=BAD)
    assert f"; the node was put back to nodedns {LATER} and its config" in play.said, play.said
    assert version(one) == LATER
    assert answer(one, "pod", ADDRESS) != ""


def test_the_former_version_is_nowhere(nodes: Fleet, debs: Debs, bad: Path, tmp_path: Path) -> None:
    """A repository that keeps the newest alone: refused before anything is changed, until there is a way back, or
    nobody wants one."""
    one = nodes.nodes["one"]
    newest = variant(debs.first, tmp_path, lambda tree: control(tree, "Version", NEWEST), "newest")
    publish(one, newest)
    before = state(one)
    play = nodes.play("upgrade", nodedns_package_version=NEWEST)
    assert f"nodedns {LATER} could not be put back if the wanted package fails" in play.said, play.said
    assert play.hosts == {"one": (0, 1)}
    assert state(one) == before
    play = nodes.play("upgrade", "--check", nodedns_package_version=NEWEST, nodedns_former_package_required=False)
    assert play.code == 0, play.said

    publish(one, bad)
    shutil.copy(debs.later, one.path / "var/lib/nodedns-role/package.deb")
    play = nodes.play("upgrade", nodedns_package_version=BAD)
    assert f"; the node was put back to nodedns {LATER} and its config" in play.said, play.said
    assert version(one) == LATER
    assert answer(one, "pod", ADDRESS) != ""
