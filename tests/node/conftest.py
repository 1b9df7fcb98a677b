"""One booted node for all drills of a module, and its upstream."""

from collections.abc import Iterator

import pytest

from tests.node.node import Node, missing
from tests.service.service import Authority


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    """A node with nodedns running under systemd."""
    if reason := missing():
        pytest.skip(reason)
    with Node() as booted, Authority(booted.network()) as authority:
        booted.install(authority.port)
        booted.authority = authority
        booted.run("systemctl", "start", "nodedns", check=False)
        assert booted.active(), booted.journal()
        yield booted
