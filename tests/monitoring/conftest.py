"""One Prometheus for all tests that need one: it takes five seconds to see a new target, so all are set before."""

from collections.abc import Iterator

import pytest

from tests.monitoring.prometheus import Prometheus
from tests.ports import free_port
from tests.service.service import Authority

SERVICES = 12
"""As many as all tests together start."""


@pytest.fixture(scope="session")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    targets = [f"127.0.0.1:{free_port()}" for _ in range(SERVICES)]
    with Prometheus(tmp_path_factory.mktemp("prometheus"), targets) as running:
        yield running


@pytest.fixture
def authority() -> Iterator[Authority]:
    """An upstream whose answers follow from the names."""
    with Authority() as upstream:
        yield upstream
