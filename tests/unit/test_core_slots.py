"""The table of one worker slot, exhaustively, and its timers."""

import pytest

from nodedns.core.slots import GOOD_LIFE, LIMITS, TABLE, Action, Event, Slot, State, back_off

DEATHS = (Event.EXITED, Event.KILLED)
PAIRS = [(state, event) for state in State for event in Event]


@pytest.mark.parametrize(("state", "event"), PAIRS, ids=lambda value: value.name)
def test_every_pair_moves_as_listed_or_changes_nothing(state: State, event: Event) -> None:
    """A listed event gives its step; an unlisted one raises LookupError and leaves the slot as it was."""
    slot = Slot(state, since=1.0, deadline=2.0, failures=3)
    if event in TABLE[state]:
        assert slot.knows(event)
        assert slot.fire(event, 5.0) == TABLE[state][event].actions
        assert slot.state is TABLE[state][event].state
    else:
        assert not slot.knows(event)
        with pytest.raises(LookupError, match=f"{state.name} knows no event {event.name}"):
            slot.fire(event, 5.0)
        assert slot == Slot(state, since=1.0, deadline=2.0, failures=3)


@pytest.mark.parametrize("state", State, ids=lambda state: state.name)
def test_every_state_can_stop(state: State) -> None:
    """STOP is listed everywhere and leads to EMPTY or STOPPING: a stop is never refused."""
    assert TABLE[state][Event.STOP].state in (State.EMPTY, State.STOPPING)


def test_every_state_is_reached_and_left() -> None:
    """From EMPTY every state can be reached, and from every state EMPTY."""

    def reached(start: State) -> set[State]:
        found, new = set(), {start}
        while new:
            found |= new
            new = {step.state for state in new for step in TABLE[state].values()} - found
        return found

    assert reached(State.EMPTY) == set(State)
    assert all(State.EMPTY in reached(state) for state in State)


@pytest.mark.parametrize(
    ("state", "event"), [pair for pair in PAIRS if pair[1] in DEATHS and pair[1] in TABLE[pair[0]]]
)
def test_epoch_is_raised_before_anything_may_write(state: State, event: Event) -> None:
    """A holder's death raises its epoch first, before a fork or a promotion (rule 1)."""
    assert TABLE[state][event].actions[0] is Action.RAISE_EPOCH


def test_only_a_reaped_slot_gets_a_holder() -> None:
    """FORK and PROMOTE follow a death, or a state without a process: never two holders at once."""
    for state, event in PAIRS:
        actions = TABLE[state].get(event, TABLE[State.EMPTY][Event.STOP]).actions
        if Action.FORK in actions or Action.PROMOTE in actions:
            assert event in DEATHS or state in (State.EMPTY, State.COOLING, State.PAUSED)


@pytest.mark.parametrize("state", State, ids=lambda state: state.name)
def test_only_resting_states_have_no_limit(state: State) -> None:
    """Every state that waits for a process has a limit and an answer to its TIMEOUT."""
    assert (state in LIMITS or state is State.COOLING) == (Event.TIMEOUT in TABLE[state])
    assert (Event.TIMEOUT in TABLE[state]) == (state not in (State.EMPTY, State.SERVING))


@pytest.mark.parametrize(
    ("failures", "seconds"),
    [(0, 0.0), (1, 0.0), (2, 0.1), (3, 0.2), (4, 0.4), (5, 0.8), (6, 1.6), (7, 3.2), (8, 5.0), (9, 5.0), (10**6, 5.0)],
)
def test_back_off(failures: int, seconds: float) -> None:
    """The first refork is at once, then 0.1 s doubling to 5 s and no more."""
    assert back_off(failures) == pytest.approx(seconds)


def walk(slot: Slot, *events: tuple[float, Event]) -> list[Action]:
    return [action for now, event in events for action in slot.fire(event, now)]


def test_crash_loop_cools_down_longer_each_time() -> None:
    """Deaths without a good life between them wait 0, 0.1, 0.2 s."""
    slot = Slot()
    walk(slot, (0.0, Event.START), (1.0, Event.EXITED))
    assert slot.deadline == 1.0
    walk(slot, (1.0, Event.TIMEOUT), (1.5, Event.SERVES), (2.0, Event.EXITED))
    assert slot.deadline == pytest.approx(2.1)
    walk(slot, (2.1, Event.TIMEOUT), (3.0, Event.EXITED))
    assert slot.deadline == pytest.approx(3.2)


@pytest.mark.parametrize(("life", "wait"), [(GOOD_LIFE, 0.0), (GOOD_LIFE - 0.5, 0.2)])
def test_good_life_clears_the_record(life: float, wait: float) -> None:
    """After 10 s of serving the next death is a first one again, after less it is not."""
    slot = Slot(State.SERVING, since=100.0, failures=2)
    slot.fire(Event.EXITED, 100.0 + life)
    assert slot.deadline == pytest.approx(100.0 + life + wait)


def test_kills_from_outside_never_back_off() -> None:
    """A hundred SIGKILLs of a serving worker are a hundred forks at once, and leave no record."""
    slot = Slot()
    slot.fire(Event.START, 0.0)
    for now in range(1, 101):
        assert walk(slot, (now, Event.SERVES), (now + 0.1, Event.KILLED)) == [Action.RAISE_EPOCH, Action.FORK]
    assert slot.failures == 0


def test_limit_runs_from_entry_and_again_after_timeout() -> None:
    """WARM does not extend a start's limit; a TIMEOUT that changes no state begins it anew."""
    slot = Slot()
    slot.fire(Event.START, 10.0)
    slot.fire(Event.WARM, 12.0)
    assert slot.deadline == 10.0 + LIMITS[State.STARTING]
    slot.fire(Event.TIMEOUT, 15.0)
    assert slot.fire(Event.TIMEOUT, 17.0) == (Action.KILL,)
    assert (slot.state, slot.since, slot.deadline) == (State.LATE, 15.0, 17.0 + LIMITS[State.LATE])
    slot.fire(Event.EXITED, 17.5)
    slot.fire(Event.TIMEOUT, 17.5)
    slot.fire(Event.SERVES, 18.0)
    assert slot.deadline is None


@pytest.mark.parametrize(
    ("events", "state", "actions"),
    [
        pytest.param(
            [Event.REPLACE, Event.WARM, Event.EXITED, Event.SERVES],
            State.SERVING,
            [Action.FORK_SUCCESSOR, Action.TERM, Action.RAISE_EPOCH, Action.PROMOTE],
            id="replaced",
        ),
        pytest.param(
            [Event.REPLACE, Event.TIMEOUT, Event.SUCCESSOR_DIED],
            State.SERVING,
            [Action.FORK_SUCCESSOR, Action.KILL_SUCCESSOR],
            id="successor never warm: the holder stays",
        ),
        pytest.param(
            [Event.REPLACE, Event.KILLED, Event.WARM, Event.SERVES],
            State.SERVING,
            [Action.FORK_SUCCESSOR, Action.RAISE_EPOCH, Action.PROMOTE],
            id="holder dies first: the successor goes as soon as it is warm",
        ),
        pytest.param(
            [Event.REPLACE, Event.WARM, Event.TIMEOUT, Event.KILLED, Event.SERVES],
            State.SERVING,
            [Action.FORK_SUCCESSOR, Action.TERM, Action.KILL, Action.RAISE_EPOCH, Action.PROMOTE],
            id="holder does not leave",
        ),
        pytest.param(
            [Event.REPLACE, Event.WARM, Event.SUCCESSOR_DIED, Event.EXITED, Event.SERVES],
            State.SERVING,
            [Action.FORK_SUCCESSOR, Action.TERM, Action.RAISE_EPOCH, Action.FORK],
            id="both gone: forked anew",
        ),
        pytest.param(
            [Event.REPLACE, Event.STOP, Event.EXITED, Event.SUCCESSOR_DIED],
            State.EMPTY,
            [Action.FORK_SUCCESSOR, Action.KILL_SUCCESSOR, Action.TERM, Action.RAISE_EPOCH],
            id="stopped while being replaced",
        ),
        pytest.param(
            [Event.EXITED, Event.REPLACE, Event.SERVES],
            State.SERVING,
            [Action.RAISE_EPOCH, Action.FORK],
            id="replaced while cooling",
        ),
    ],
)
def test_walks(events: list[Event], state: State, actions: list[Action]) -> None:
    """From SERVING, a series of events ends in the state and with the actions that the rules ask for."""
    slot = Slot(State.SERVING)
    assert walk(slot, *((float(i), event) for i, event in enumerate(events))) == actions
    assert slot.state is state
