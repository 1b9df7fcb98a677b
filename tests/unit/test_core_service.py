"""The table of the whole service, exhaustively, and its one timer."""

import pytest

from nodedns.core.service import START_LIMIT, TABLE, Action, Event, Service, State

LEAVING = (State.LAMEDUCK, State.RELEASING, State.STOPPING, State.FAILING)
PAIRS = [(state, event) for state in State for event in Event]


@pytest.mark.parametrize(("state", "event"), PAIRS, ids=lambda value: value.name)
def test_every_pair_moves_as_listed_or_changes_nothing(state: State, event: Event) -> None:
    """A listed event gives its step; an unlisted one raises LookupError and leaves the service as it was."""
    service = Service(state, deadline=7.0)
    if event in TABLE[state]:
        assert service.fire(event, 5.0) == TABLE[state][event].actions
        assert service.state is TABLE[state][event].state
    else:
        with pytest.raises(LookupError, match=f"{state.name} knows no event {event.name}"):
            service.fire(event, 5.0)
        assert service == Service(state, deadline=7.0)


@pytest.mark.parametrize(
    "state", [state for state in State if state is not State.STOPPED], ids=lambda state: state.name
)
def test_signals_are_never_refused(state: State) -> None:
    """HUP and TERM may come at any moment of a service's life; TERM always leads towards the end."""
    assert Event.HUP in TABLE[state]
    assert TABLE[state][Event.TERM].state in LEAVING


@pytest.mark.parametrize(
    ("event", "first"),
    [(Event.STEERED, Action.SAY_READY), (Event.RELOADED, Action.ADOPT), (Event.REFUSED, Action.REPORT)],
)
def test_ready_is_said_after_the_proof_and_before_what_was_kept(event: Event, first: Action) -> None:
    """Whatever leads to READY says so, and begins a kept reload last."""
    steps = [table[event] for table in TABLE.values() if event in table and table[event].actions]
    assert [step.state for step in steps] == [State.READY]
    assert steps[0].actions[0] is first
    assert Action.SAY_READY in steps[0].actions
    assert steps[0].actions[-1] is Action.TAKE_HUP


def test_ready_is_said_nowhere_else() -> None:
    """SAY_READY is an action of exactly the steps into READY."""
    for table in TABLE.values():
        for step in table.values():
            assert (Action.SAY_READY in step.actions) == (step.state is State.READY)


def test_start_limit_runs_from_opened_to_steered() -> None:
    """The limit is set once and nothing on the way extends it; READY has none."""
    service = Service()
    assert service.deadline is None
    service.fire(Event.OPENED, 100.0)
    service.fire(Event.HUP, 110.0)
    service.fire(Event.SERVING, 120.0)
    assert service.deadline == 100.0 + START_LIMIT
    service.fire(Event.ANSWERED, 121.0)
    assert service.deadline == 100.0 + START_LIMIT
    service.fire(Event.STEERED, 122.0)
    assert service.deadline is None


def test_a_lame_duck_has_its_time() -> None:
    """It is set once, by the first SIGTERM; a second one ends it, and so does the clock."""
    for end in (Event.TERM, Event.TIMEOUT):
        service = Service(State.READY, lameduck=5.0)
        assert service.fire(Event.TERM, 100.0) == (Action.SAY_STOPPING,)
        assert service.fire(Event.HUP, 101.0) == ()
        assert (service.state, service.deadline) == (State.LAMEDUCK, 105.0)
        assert service.fire(end, 102.0) == (Action.RELEASE,)
        assert service.deadline is None


@pytest.mark.parametrize(
    ("events", "state", "actions"),
    [
        pytest.param(
            [
                Event.OPENED,
                Event.SERVING,
                Event.ANSWERED,
                Event.STEERED,
                Event.TERM,
                Event.TIMEOUT,
                Event.RELEASED,
                Event.GONE,
            ],
            State.STOPPED,
            [
                Action.START_WORKERS,
                Action.PROBE,
                Action.STEER,
                Action.SAY_READY,
                Action.FEEL_PULSE,
                Action.ANNOUNCE,
                Action.TAKE_HUP,
                Action.SAY_STOPPING,
                Action.RELEASE,
                Action.STOP_WORKERS,
                Action.CLEAN_UP,
            ],
            id="a whole life",
        ),
        pytest.param(
            [Event.OPENED, Event.TIMEOUT, Event.GONE],
            State.STOPPED,
            [Action.START_WORKERS, Action.FAIL, Action.SAY_STOPPING, Action.STOP_WORKERS, Action.UNDO],
            id="a failed start keeps its files",
        ),
        pytest.param(
            [Event.OPENED, Event.HUP, Event.TERM, Event.TERM, Event.HUP, Event.RELEASED],
            State.STOPPING,
            [Action.START_WORKERS, Action.KEEP_HUP, Action.SAY_STOPPING, Action.RELEASE, Action.STOP_WORKERS],
            id="stopped while starting, more than once",
        ),
        pytest.param(
            [Event.OPENED, Event.SERVING, Event.ANSWERED, Event.TERM, Event.STEERED, Event.RELEASED],
            State.STOPPING,
            [
                Action.START_WORKERS,
                Action.PROBE,
                Action.STEER,
                Action.SAY_STOPPING,
                Action.RELEASE,
                Action.STOP_WORKERS,
            ],
            id="stopped while rules are made: what is under way ends first",
        ),
    ],
)
def test_walks(events: list[Event], state: State, actions: list[Action]) -> None:
    """From the beginning, a series of events ends in the state and with the actions that the rules ask for."""
    service = Service()
    assert [action for event in events for action in service.fire(event, 0.0)] == actions
    assert service.state is state
