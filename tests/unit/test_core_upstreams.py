"""core.upstreams: who is asked next."""

import pytest

from nodedns.core.upstreams import ATTEMPTS, BUDGET, DOWN_AFTER, RETRY, RISK, Health, Picker


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
    """Down after some silences in a row, risked once a second, up again with the first answer."""
    health = Health(2)
    for _ in range(DOWN_AFTER - 1):
        health.silent(0, 10.0)
    health.heard(0)
    for _ in range(DOWN_AFTER):
        assert health.down == {}
        health.silent(0, 10.0)
    assert health.down == {0: 10.0 + RETRY}
    assert health.risk(10.5) is None
    assert health.risk(11.0) == 0
    assert health.risk(11.0) is None
    health.silent(0, 11.0 + RISK)
    assert health.risk(11.5 + RISK) is None
    assert health.risk(12.0 + RISK) == 0
    health.heard(0)
    assert (health.down, health.risk(99.0)) == ({}, None)


def test_with_all_down_none_is_risked() -> None:
    """They are asked for every question as it is, with all the time there is."""
    health = Health(2)
    for upstream in (0, 1):
        for _ in range(DOWN_AFTER):
            health.silent(upstream, 0.0)
    assert health.risk(100.0) is None


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_attempts_fit_the_budget(transport: str) -> None:
    """Attempts grow and end before the budget does; at most three, as RFC 9520 3.1 allows."""
    attempts = ATTEMPTS[transport]
    assert sorted(attempts) == list(attempts)
    assert BUDGET - 0.2 <= sum(attempts) < BUDGET
    assert len(attempts) <= 3
