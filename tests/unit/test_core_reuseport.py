"""core.reuseport: which places a program may say; what the kernel makes of it is in tests/netns/test_neighbour.py."""

import struct

import pytest

from nodedns.core.reuseport import places, program


def row(text: str) -> list[bool]:
    """ "oxx": one of ours, two of others."""
    return [letter == "o" for letter in text]


@pytest.mark.parametrize(
    ("text", "ours", "others"),
    [
        ("xoo", (1, 2), (0, 1)),
        ("oox", (0, 2), (2, 1)),
        ("xxoooo", (2, 4), (0, 2)),
        ("xooxo", (1, 2), (0, 1)),
        ("oxooxx", (2, 2), (4, 2)),
        ("oo", (0, 2), (0, 0)),
        ("", (0, 0), (0, 0)),
    ],
)
def test_places(text: str, ours: tuple[int, int], others: tuple[int, int]) -> None:
    """The longest run of each, the first one of equals."""
    assert places(row(text)) == (ours, others)


def test_alone_there_is_no_program() -> None:
    """Nobody to share with: the kernel's own hash does."""
    assert program(row("oo"), 4, taking=True) is None
    assert program(row("oo"), 6, taking=False) is None


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("taking", [True, False])
def test_a_jump_ends_in_the_program(version: int, taking: bool) -> None:
    """Each instruction has eight octets, the last one returns, and a jump goes to the other half's beginning."""
    code = program(row("xoo"), version, taking)
    assert code is not None
    ops = list(struct.iter_unpack("=HBBI", code))
    assert ops[-1][0] == 0x16
    halves = [number for number, op in enumerate(ops) if op[0] == 0x20 and op[3] == 0xFFFFF038]
    for number, (kind, true, false, _) in enumerate(ops):
        if kind == 0x15:
            assert (true, number + 1 + false) == (0, halves[1])
