"""core.upstreams: who is asked next."""

import pytest

from nodedns.core.upstreams import ATTEMPTS, BUDGET, DOWN_AFTER, DOWN_FOR, HEDGED, RETRY, RETRY_LOOPED, Health, Picker


@pytest.mark.parametrize(
    ("policy", "count", "tried", "chance", "picked"),
    [
        ("sequential", 3, [], 0.9, 0),
        ("sequential", 3, [0], 0.9, 1),
        ("sequential", 3, [0, 1], 0.9, 2),
        ("sequential", 2, [0, 1], 0.9, 0),
        ("sequential", 1, [0], 0.9, 0),
        ("random", 3, [], 0.0, 0),
        ("random", 3, [], 0.999, 2),
        ("random", 3, [2], 0.999, 1),
        ("random", 2, [0, 1], 0.999, 0),
        ("random", 1, [0, 0], 0.5, 0),
    ],
)
def test_pick(policy: str, count: int, tried: list[int], chance: float, picked: int) -> None:
    """The untried come first, by the policy; when all were tried, any but the last one."""
    assert Picker(policy, count).pick(tried, chance) == picked


def test_round_robin() -> None:
    """Each question begins at the next upstream; its retries go on from there and do not move the turn."""
    picker = Picker("round_robin", 3)
    assert [picker.pick([], 0.5) for _ in range(4)] == [0, 1, 2, 0]
    assert picker.pick([], 0.5) == 1
    assert picker.pick([1], 0.5) == 2
    assert picker.pick([1, 2], 0.5) == 0
    assert picker.pick([], 0.5) == 2


@pytest.mark.parametrize(
    ("policy", "tried", "down", "picked"),
    [
        ("sequential", [], {0}, 1),
        ("sequential", [1], {0}, 2),
        ("sequential", [1, 2], {0}, 0),
        ("sequential", [], {0, 1, 2}, 0),
        ("random", [], {1, 2}, 0),
        ("random", [0], {1}, 2),
        ("round_robin", [], {0}, 1),
    ],
)
def test_down_ones_come_last(policy: str, tried: list[int], down: set[int], picked: int) -> None:
    """As long as there are others; a policy goes on among those."""
    assert Picker(policy, 3).pick(tried, 0.999, down) == picked


def test_health() -> None:
    """Down after some silences in a row, probed at once and then once a second, up again with the first answer."""
    health = Health()
    for _ in range(DOWN_AFTER - 1):
        health.silent(0, 10.0)
    health.heard(0, 0.01)
    for _ in range(10 * DOWN_AFTER):
        health.silent(0, 20.0)
    assert health.down == {}  # a thousand questions of one moment say no more than one
    health.silent(0, 20.0 + DOWN_FOR)
    assert health.due(20.0 + DOWN_FOR) == [0]
    assert health.due(20.2 + DOWN_FOR) == []
    health.silent(0, 20.3 + DOWN_FOR)
    assert health.due(20.0 + DOWN_FOR + RETRY) == [0]
    health.heard(0, 0.01)
    assert (health.down, health.silences, health.due(99.0)) == ({}, {}, [])


def test_a_loop() -> None:
    """News once; looked at again from time to time, and over with an honest answer."""
    health = Health()
    assert health.leads_back(1, 10.0)
    assert not health.leads_back(1, 11.0)
    assert health.due(11.0 + RETRY) == []
    assert health.due(11.0 + RETRY_LOOPED) == [1]
    health.heard(1, 0.01)
    assert health.looped == {1}  # its own answer, for all one knows
    health.heard(1, 0.01, probed=True)
    assert (health.looped, health.down) == (set(), {})


def test_the_usual_time() -> None:
    """Unknown is not quick; a quarter of the newest counts."""
    health = Health()
    assert not health.is_quick(0)
    health.heard(0, 0.01)
    assert health.is_quick(0)
    health.heard(0, 0.25)
    assert health.usual[0] == pytest.approx(0.07)
    assert not health.is_quick(0)


@pytest.mark.parametrize("attempts", [*ATTEMPTS.values(), *HEDGED.values()])
def test_attempts_fit_the_budget(attempts: tuple[tuple[float, int], ...]) -> None:
    """They end before the budget does; at most three by one way, as RFC 9520 3.1 allows a server."""
    assert BUDGET - 0.2 <= sum(seconds for seconds, _ in attempts) < BUDGET
    assert all(sum(way == one for _, one in attempts) <= 3 for _, way in attempts)
    assert all(seconds > 0 for seconds, _ in attempts)
