"""core.shape and core.alias on entries that were cut: nothing a damaged entry says is believed beyond its end."""

import pytest

from nodedns import native
from nodedns.core import shape
from nodedns.core.entries import Entry, entry_ok

KEY = b"\1a\4test\0\0\1\0\1\0"
POLICY = (300, 5, 300, 5, 5, 1, 0)
A = b"\xc0\x0c\0\1\0\1\0\0\1\0\0\4\1\2\3\4"


def entry(an: int, ns: int, rcode: int = 0) -> bytes:
    reply = b"\0\0\x81" + bytes([0x80 | rcode, 0, 1, 0, an, 0, ns, 0, 0]) + KEY[:-1] + A * (an + ns)
    made = native.make_entry(KEY, reply, 1, POLICY, 1000)
    assert isinstance(made, bytes)
    return made


@pytest.mark.parametrize(
    ("an", "ns", "left"), [(1, 1, (1, 0, 0)), (3, 2, (3, 0, 0)), (2, 0, (2, 0, 0)), (0, 1, (0, 1, 0))]
)
def test_minimal(an: int, ns: int, left: tuple[int, int, int]) -> None:
    made = shape.minimal(entry(an, ns))
    assert entry_ok(made)
    assert Entry.unpack(made).section == left
    assert native.render(made, native.parse_query(b"\0\1\1\0\0\1\0\0\0\0\0\0" + KEY[:-1])[2], 1000, 512)[6:12] == bytes(
        [0, left[0], 0, left[1], 0, 0]
    )


def test_rotating_only_answers() -> None:
    assert Entry.unpack(shape.rotating(entry(2, 0))).rotate == 1
    failure = native.failure_entry(KEY, 1, 2, b"", 5, 0, 1, 1000)
    assert shape.rotating(failure) == failure
    assert shape.minimal(failure) == failure
