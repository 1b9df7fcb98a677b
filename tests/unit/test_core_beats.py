"""core.beats: who hangs, and who only seems to."""

import pytest

from nodedns.core.beats import EVERY, LATE, SILENCE, Watch


def steady(watch: Watch, now: float, beats: dict[int, float], since: dict[int, float]) -> int | None:
    """Two looks in time; the second one's verdict."""
    watch.due = now - EVERY
    watch.look(now - EVERY, beats, since)
    return watch.look(now, beats, since)


@pytest.mark.parametrize(
    ("beats", "since", "hung"),
    [
        ({0: 100.0, 1: 100.0}, {0: 1.0, 1: 1.0}, None),
        ({0: 100.0 - SILENCE, 1: 100.0}, {0: 1.0, 1: 1.0}, None),
        ({0: 98.9, 1: 100.0}, {0: 1.0, 1: 1.0}, 0),
        ({0: 98.9, 1: 98.0}, {0: 1.0, 1: 1.0}, 1),
        ({0: 90.0, 1: 100.0}, {0: 99.5, 1: 1.0}, None),
        ({0: 90.0, 1: 100.0}, {0: 98.5, 1: 1.0}, 0),
        ({0: 0.0, 1: 100.0}, {0: 1.0, 1: 1.0}, None),
        ({0: 1.0}, {}, None),
    ],
    ids=["well", "just", "one", "the longest first", "just begun", "begun and silent", "never beat", "not serving"],
)
def test_look(beats: dict[int, float], since: dict[int, float], hung: int | None) -> None:
    """A slot that serves and has not beaten for a second hangs; one that has just begun gets a second."""
    assert steady(Watch(0.0), 100.0, beats, since) == hung


def test_a_late_look_counts_for_nothing() -> None:
    """After a pause everyone looks dead: neither that look nor the next one kills, the third does."""
    watch, beats, since = Watch(0.0), {0: 1.0}, {0: 1.0}
    assert steady(watch, 1.5, {0: 1.4}, since) is None
    late = watch.due + LATE + 10
    assert watch.look(late, beats, since) is None
    assert watch.look(late + EVERY, beats, since) is None
    assert watch.look(late + 2 * EVERY, beats, since) == 0


def test_the_first_look_counts_for_nothing() -> None:
    """Nothing is known about the parent's own punctuality yet."""
    assert Watch(100.0).look(100.0, {0: 1.0}, {0: 1.0}) is None
