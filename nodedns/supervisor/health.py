"""How the service feels, while it runs: do its threads beat, do its addresses answer? And who is told."""

import time
from collections.abc import Sequence

from nodedns import native
from nodedns.config import Endpoint
from nodedns.core import slots
from nodedns.core.beats import Watch
from nodedns.supervisor import systemd
from nodedns.supervisor.machine import Machine
from nodedns.supervisor.monitor import Monitor
from nodedns.supervisor.poller import Poller
from nodedns.supervisor.pulse import Pulse
from nodedns.supervisor.workers import Worker


class Health:
    """From start() to close(): ends workers that hang, and says WATCHDOG=1 and the sign of life after good seconds."""

    def __init__(
        self,
        poller: Poller,
        counters: native.Memory,
        workers: Sequence[Worker],
        machine: Machine,
        monitor: Monitor,
    ) -> None:
        self._poller, self._counters, self._workers, self._machine = poller, counters, workers, machine
        self._monitor = monitor
        self._watch: Watch | None = None
        self._pulse: Pulse | None = None

    def start(self, listen: Sequence[Endpoint]) -> None:
        """Begins."""
        self._watch = Watch(time.monotonic())
        if systemd.watchdog() or self._machine.plan.steered:
            self._pulse = Pulse(self._poller, listen, self._judge, time.monotonic())

    def close(self) -> None:
        """Workers are about to leave: nobody is judged any more."""
        if self._pulse:
            self._pulse.close()
        self._pulse = self._watch = None

    @property
    def deadline(self) -> float | None:
        """When there is something to do, in seconds of the monotonic clock."""
        due = [*([self._watch.due] if self._watch else []), *([self._pulse.deadline] if self._pulse else [])]
        return min(due, default=None)

    def take_time(self, now: float) -> None:
        """Does what is due."""
        if self._pulse and self._pulse.deadline <= now:
            self._pulse.beat(now)
        if self._watch and self._watch.due <= now:
            self._look_at_beats(self._watch, now)

    def _look_at_beats(self, watch: Watch, now: float) -> None:
        pairs = native.read_beats(self._counters, len(self._workers))
        beats = {slot: min(pair) / 1000 for slot, pair in enumerate(pairs)}
        looked_at = list(self._workers)
        beats[len(looked_at)] = self._monitor.beat
        looked_at.append(self._monitor.worker)
        self._monitor.settle()
        serving = {s: w.changed for s, w in enumerate(looked_at) if w.state is slots.State.SERVING}
        hung = watch.look(now, beats, serving)
        if hung is not None:
            looked_at[hung].fire(slots.Event.HUNG)

    def _judge(self, answered: bool) -> None:
        good = answered and not self._monitor.failed
        # Without our rules a question to a Service IP goes to kube-proxy's endpoints: no answer is no verdict then.
        if systemd.watchdog() and (good or self._machine.repair.doubt):
            systemd.notify(systemd.WATCHDOG)
        (self._machine.good if good else self._machine.bad)()
