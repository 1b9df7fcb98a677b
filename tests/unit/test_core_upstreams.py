"""core.upstreams: who is asked next."""

import pytest

from nodedns.core.upstreams import ATTEMPTS, BUDGET, Picker


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


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_attempts_fit_the_budget(transport: str) -> None:
    """Attempts grow and end before the budget does; at most three, as RFC 9520 3.1 allows."""
    attempts = ATTEMPTS[transport]
    assert sorted(attempts) == list(attempts)
    assert BUDGET - 0.2 <= sum(attempts) < BUDGET
    assert len(attempts) <= 3
