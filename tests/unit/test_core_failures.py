"""core.failures: how long a failure is kept."""

from nodedns.core.failures import LONGEST, MAX, Failures


def test_twice_as_long_each_time() -> None:
    """Up to the longest; from the beginning after an answer, or a long rest."""
    failures, now, lives = Failures(), 100.0, []
    for _ in range(5):
        lives.append(failures.life(b"a", now))
        now += lives[-1] + 1
    assert lives == [5, 10, 20, 30, 30]
    failures.over(b"a")
    assert failures.life(b"a", now) == 5
    assert failures.life(b"a", now + 5 + LONGEST) == 5
    assert failures.life(b"b", now) == 5


def test_memory_is_bounded() -> None:
    """The oldest goes."""
    failures = Failures()
    for n in range(MAX + 1):
        failures.life(n.to_bytes(4), 0.0)
    assert failures.life((0).to_bytes(4), 6.0) == 5
    assert failures.life((MAX).to_bytes(4), 6.0) == 10
