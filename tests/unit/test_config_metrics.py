"""Where metrics are served, and which."""

from pathlib import Path

import pytest

from nodedns import config
from nodedns.config import Endpoint

DOCS = Path(__file__).parents[2] / "docs" / "configuration.md"

DNS = '[cluster]\ndns = "10.96.0.10"\n'
SCRAPED = [
    ("none", None),
    ("10.1.2.3", Endpoint("10.1.2.3", 9253)),
    ("10.1.2.3:9153", Endpoint("10.1.2.3", 9153)),
    ("0.0.0.0", Endpoint("0.0.0.0", 9253)),
    ("0.0.0.0:9153", Endpoint("0.0.0.0", 9153)),
    ("::", Endpoint("::", 9253)),
    ("fd00::1", Endpoint("fd00::1", 9253)),
    ("[::]:80", Endpoint("::", 80)),
    ("[fd00::1]:53", Endpoint("fd00::1", 53)),
]


@pytest.mark.parametrize(("text", "listen"), SCRAPED)
def test_metrics_listen(text: str, listen: Endpoint | None) -> None:
    """One address or all of them; node-cache's port where none is written."""
    assert config.parse(f'{DNS}[metrics]\nlisten = "{text}"').metrics.listen == listen


def test_metrics_coredns() -> None:
    """Some generations, one, or none."""
    for text, names in (("'1.7'", ("1.7",)), ("['1.11', '1.6']", ("1.11", "1.6")), ("'none'", ())):
        assert config.parse(f"{DNS}[metrics]\ncoredns = {text}").metrics.coredns == names
