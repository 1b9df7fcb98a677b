"""The service's pulse: every second one question to each listen address; an answer from all of them is a good second.

What hangs on it: WATCHDOG=1, and the sign of life without which the kernel sends queries elsewhere. A service that
answers nobody must not say that it is well, whatever its processes look like; systemd then restarts it, and the sockets
in its store keep queueing meanwhile.
"""

from collections.abc import Callable, Sequence

from nodedns.config import Endpoint
from nodedns.supervisor.poller import Poller
from nodedns.supervisor.probe import Probe

EVERY = 1.0
"""Seconds between questions: ten chances in a WatchdogSec of 10 s."""


class Pulse:
    """Asks for as long as it lives. `deadline` is when there is something to do, in seconds of the caller's clock."""

    def __init__(self, poller: Poller, listen: Sequence[Endpoint], judge: Callable[[bool], object], now: float) -> None:
        self._poller, self._listen, self._judge = poller, listen, judge
        self._probe: Probe | None = None
        self.missed = 0  # seconds in a row without an answer from all
        self.deadline = now

    def beat(self, now: float) -> None:
        """Judges the last second and begins the next."""
        if self._probe is not None:
            self.missed = 0 if self._probe.answered else self.missed + 1
            self._probe.close()
            self._judge(not self.missed)
        self.deadline = now + EVERY
        self._probe = Probe(self._poller, self._listen, now)

    def close(self) -> None:
        """Ends it."""
        if self._probe is not None:
            self._probe.close()
