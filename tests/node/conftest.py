"""One booted node for all drills of a module, and its upstream."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.node.network import KUBE_DNS
from tests.node.node import Node, missing
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
