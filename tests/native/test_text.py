"""native.fill beside its slow twin."""

import random
import re
import struct

import pytest

from nodedns import native


def twin(text: bytes, values: list[int]) -> bytes:
    """As the stub file says, line by line."""
    lines, rest, total = [], list(values), 0
    for line in text.split(b"\n"):
        keep, parts = True, []
        for piece in re.split(rb"(\x01.)", line):
            if piece[:1] != b"\1":
                parts.append(piece)
                continue
            value = total if piece[1:] == b"t" else rest.pop(0)
            total = {b"m": total + value, b"t": 0}.get(piece[1:], total)
            keep = keep and not (piece[1:] == b"z" and not value)
            shown = (
                f"{value // 10**9}.{value % 10**9:09}" if piece[1:] == b"s" else total if piece[1:] == b"m" else value
            )
            parts.append(str(shown).encode())
        lines += [b"".join(parts)] if keep else []
    assert not rest
    return b"\n".join(lines)


def pack(values: list[int]) -> bytes:
    return struct.pack(f"={len(values)}Q", *values)


@pytest.mark.parametrize("seed", range(300))
def test_like_its_twin(seed: int) -> None:
    """Any lines; a place that takes its line away is the only one there."""
    dice = random.Random(seed)
    lines, values = [], []
    for _ in range(dice.randrange(6)):
        places = dice.choice(["z", "".join(dice.choices("vmst", k=dice.randrange(4)))])
        lines.append(b"".join(dice.choice([b"", b"x", b'a{le="1"} ']) + b"\1" + place.encode() for place in places))
        values += [dice.choice([0, 1, dice.randrange(2**64)]) for place in places if place != "t"]
    while sum(values) >= 2**64:
        values = [value // 2 for value in values]
    text = b"".join(line + b"\n" for line in lines)
    assert native.fill(text, pack(values)) == twin(text, values)


def test_numbers() -> None:
    assert (
        native.fill(b"\1v \1v\n\1s\n", pack([0, 2**64 - 1, 1_000_000_007])) == b"0 18446744073709551615\n1.000000007\n"
    )
    assert native.fill(b"a \1m\nb \1m\nc \1t\nd \1t", pack([3, 4])) == b"a 3\nb 7\nc 7\nd 0"
    assert native.fill(b"a \1z\nb \1z\nc \1z", pack([0, 5, 0])) == b"b 5\n"
    assert native.fill(b"", b"") == b""


@pytest.mark.parametrize(
    ("text", "values"), [(b"\1v", b""), (b"\1v\1v", bytes(8)), (b"x", bytes(8)), (b"\1v", bytes(7))]
)
def test_as_many_values_as_places(text: bytes, values: bytes) -> None:
    with pytest.raises(ValueError, match="as many u64 as places"):
        native.fill(text, values)


def test_a_cut_place_is_text() -> None:
    """At the very end."""
    assert native.fill(b"a\1", b"") == b"a\1"
