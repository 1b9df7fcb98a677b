"""core.spelling, and what reads it back."""

import pytest

from nodedns import query_wire
from nodedns.core.spelling import spelled


@pytest.mark.parametrize(
    ("typed", "labels", "spelling"),
    [
        (".", (), "."),
        ("a.b", (b"a", b"b"), "a.b."),
        ("a.b.", (b"a", b"b"), "a.b."),
        ("b\u00fccher.de", (b"xn--bcher-kva", b"de"), "xn--bcher-kva.de."),
        ("a\\.b.c", (b"a.b", b"c"), "a\\.b.c."),
        ("a\\032b\\000\\255", (b"a b\x00\xff",), "a\\032b\\000\\255."),
        ("a\\\\b", (b"a\\b",), "a\\\\b."),
        ("_dns._udp.*.x", (b"_dns", b"_udp", b"*", b"x"), "_dns._udp.*.x."),
    ],
)
def test_names(typed: str, labels: tuple[bytes, ...], spelling: str) -> None:
    """A name as typed becomes labels, and labels become a name that can be typed again (RFC 1035 section 5.1)."""
    assert query_wire.labels_of(typed) == labels
    assert spelled(labels) == spelling
    assert query_wire.labels_of(spelling) == labels
