"""core.repair: when to look after what is ours."""

import pytest

from nodedns.core.repair import AGAIN, CALM, FREE, LONGEST, SETTLE, Repair

SLOW = 10.0


def rest(repair: Repair, now: float) -> float:
    """Hinted at once, looked at when due, something found: how long until the next look."""
    repair.hint(now)
    due = repair.due
    repair.done(due, changed=True)
    repair.hint(due)
    return repair.due - due


def test_a_hint() -> None:
    """The look comes soon after the first of several, and takes the doubt away."""
    repair = Repair(SLOW, 100.0)
    repair.hint(10.0)
    repair.hint(10.03)
    assert (repair.due, repair.doubt) == (10.0 + SETTLE, True)
    repair.done(10.1, changed=False)
    assert (repair.due, repair.doubt, repair.count, repair.streak) == (10.1 + SLOW, False, 0, 0)


def test_after_a_repair() -> None:
    """It looks again without a hint: while it was at work it heard nothing."""
    repair = Repair(SLOW, 100.0)
    repair.done(20.0, changed=True)
    assert (repair.due, repair.count, repair.streak) == (20.0 + AGAIN, 1, 1)
    repair.done(21.0, changed=False)
    assert (repair.due, repair.count) == (21.0 + SLOW, 1)


def test_another_agent() -> None:
    """Who keeps undoing us finds us ever slower, to a limit, and after a calm time as quick as before."""
    repair, now, rests = Repair(SLOW, 0.0), 0.0, []
    for _ in range(14):
        rests.append(rest(repair, now))
        now = repair.due
    assert rests[:FREE] == pytest.approx([SETTLE] * FREE)
    assert rests[FREE:] == pytest.approx([2, 4, 8, LONGEST, LONGEST, LONGEST, LONGEST, LONGEST, LONGEST])
    assert repair.streak == repair.count == 14
    repair.done(now + CALM, changed=False)
    assert rest(repair, now + CALM) == pytest.approx(SETTLE)
    assert (repair.streak, repair.count) == (1, 15)
