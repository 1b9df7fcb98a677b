"""One booted node for all drills of a module, and its upstream."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.node.debs import Debs, apt, built, lacking, make_later, variant
from tests.node.network import KUBE_DNS
from tests.node.node import Node, missing
from tests.node.roots import RELEASES, ROOT, fresh
from tests.service.service import Authority


@contextmanager
def without_nodedns(root: Path | None = None) -> Iterator[Node]:
    """A node without nodedns, its upstream and its kube-dns."""
    if reason := missing():
        pytest.skip(reason)
    with Node(root=root) as booted, Authority(booted.network.inside("node")) as authority:
        booted.authority = authority
        booted.run("ip", "link", "set", "lo", "up", check=True)
        with Authority(booted.network.inside("dns"), 53, KUBE_DNS) as kube_dns:
            booted.kube_dns = kube_dns
            yield booted


@contextmanager
def running() -> Iterator[Node]:
    """A node with nodedns running under systemd."""
    with without_nodedns() as booted:
        booted.install(booted.authority.port)
        booted.run("systemctl", "start", "nodedns", check=False)
        assert booted.active(), booted.journal()
        yield booted


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    """As above; shared by the drills of a module."""
    with running() as booted:
        yield booted


@pytest.fixture(scope="session")
def debs(tmp_path_factory: pytest.TempPathFactory) -> Debs:
    """What is committed, and the same as a later version."""
    if reason := lacking():
        pytest.skip(reason)
    first = built(ROOT)
    return Debs(first, variant(first, tmp_path_factory.mktemp("deb"), make_later, "later"))


@pytest.fixture(scope="session", params=RELEASES)
def fresh_node(request: pytest.FixtureRequest, debs: Debs) -> Iterator[Node]:
    """A node of each release that had an init and nothing else before apt installed the deb, and then `said` so."""
    with Node(root=fresh(request.param, debs.first)) as booted, Authority(booted.network.inside("node")) as authority:
        booted.authority = authority
        booted.network.ip("node", "link set lo up")
        with Authority(booted.network.inside("dns"), 53, KUBE_DNS) as kube_dns:
            booted.kube_dns = kube_dns
            for name, deb in debs._asdict().items():
                shutil.copy(deb, booted.path / f"root/{name}.deb")
            booted.write("/etc/resolv.conf", f"nameserver {KUBE_DNS}\n")
            booted.said = apt(booted, "install", "/root/first.deb")
            yield booted
