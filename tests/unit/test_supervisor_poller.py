"""supervisor.poller: how long it waits."""

import os

import pytest

from nodedns.supervisor.poller import Poller


@pytest.mark.parametrize("seconds", [None, float("inf"), 3600.0, 0.0])
def test_wait(seconds: float | None) -> None:
    """Whatever the deadline, "never" included, what is readable is handled at once."""
    poller, heard = Poller(), list[bytes]()
    out, into = os.pipe()
    poller.watch(out, lambda: heard.append(os.read(out, 8)))
    os.write(into, b"x")
    poller.wait(seconds)
    assert heard == [b"x"]
    poller.close(out)
    os.close(into)


@pytest.mark.parametrize("seconds", [0.0, -1.0, 0.001])
def test_a_deadline_that_is_over(seconds: float) -> None:
    """Nothing is waited for."""
    Poller().wait(seconds)
