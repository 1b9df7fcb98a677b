"""Heavy keys in bounded memory."""

import random

import pytest

from nodedns.core.heavy import Heavy

SIZE = 8


@pytest.mark.parametrize(
    ("batches", "top"),
    [
        ([], []),
        ([{"a": 3.0, "b": 1.0}], [("a", 0.75), ("b", 0.25)]),
        ([{"a": 1.0}, {"b": 2.0}, {"a": 2.0}], [("a", 0.6), ("b", 0.4)]),
        ([{str(n): 1.0 for n in range(SIZE + 1)}], []),  # nobody is heavy
        ([{"a": 5.0} | {str(n): 1.0 for n in range(SIZE)}], [("a", 4 / 13)]),
    ],
)
def test_shares(batches: list[dict[str, float]], top: list[tuple[str, float]]) -> None:
    """Of everything, heaviest first; of more keys than there is room for, too low by what one without room had."""
    heavy: Heavy[str] = Heavy(SIZE)
    for batch in batches:
        heavy.add(batch)
    found = heavy.top(SIZE)
    assert [key for key, _ in found] == [key for key, _ in top]
    assert dict(found) == pytest.approx(dict(top))


def test_a_flood_of_random_names() -> None:
    """Does not make it grow, and hides nobody: a share is too low by at most 1 / (SIZE + 1), and never too high."""
    heavy: Heavy[str] = Heavy(SIZE)
    chance = random.Random(1)
    for _ in range(500):
        heavy.add({f"{chance.random()}": 1.0 for _ in range(60)} | {"a": 25.0, "b": 15.0})
        assert len(heavy) <= SIZE
    shares = dict(heavy.top(SIZE))
    for key, true in (("a", 0.25), ("b", 0.15)):
        assert true - 1 / (SIZE + 1) <= shares[key] <= true
    assert [key for key, _ in heavy.top(2)] == ["a", "b"]


def test_what_fades_goes() -> None:
    """Shares stay while all fades alike; what is new counts for more than what was."""
    heavy: Heavy[str] = Heavy(SIZE)
    heavy.add({"old": 100.0})
    heavy.fade(0.5)
    assert heavy.top(1) == [("old", 1.0)]
    heavy.add({"new": 100.0})
    assert heavy.top(1) == [("new", pytest.approx(2 / 3))]
    for _ in range(40):
        heavy.fade(0.5)
    assert (len(heavy), heavy.top(1)) == (0, [])
