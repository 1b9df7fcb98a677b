"""What the tests of the whole service share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service.service import Authority, Service


@pytest.fixture
def authority() -> Iterator[Authority]:
    """An upstream whose answers follow from the names."""
    with Authority() as upstream:
        yield upstream


@pytest.fixture
def service(tmp_path: Path, authority: Authority) -> Iterator[Service]:
    """Two workers that forward to it over UDP."""
    with Service(tmp_path, authority.port) as running:
        yield running
