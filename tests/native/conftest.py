"""Both implementations of the same signatures: nodedns.native (C) and nodedns.core.message (its slow twin)."""

import importlib.util
import os
import sys
from types import ModuleType

import pytest

# The sanitizer run puts its own build here; it must be in place before anything imports nodedns.native.
if OTHER := os.environ.get("NODEDNS_NATIVE"):
    spec = importlib.util.spec_from_file_location("nodedns.native", OTHER)
    assert spec is not None
    assert spec.loader is not None
    sys.modules[spec.name] = importlib.util.module_from_spec(spec)

from nodedns import native
from nodedns.core import message


@pytest.fixture(params=[native, message], ids=["native", "twin"])
def wire(request: pytest.FixtureRequest) -> ModuleType:
    """The implementation under test: the same cases hold for both."""
    module: ModuleType = request.param
    return module
