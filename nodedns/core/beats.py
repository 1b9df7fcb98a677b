"""Who hangs. Each thread of a worker notes in the counters page that it lives; the parent looks four times a second.
Pure.

A thread without a beat for a second is taken for dead, and its worker killed: a hung one holds its share of the sockets
and answers nobody. But when the parent itself woke late, the machine stood still (a paused VM, a host out of CPU) and
everyone looks dead: such a look counts for nothing, and neither does the next one, so that all get their chance to
beat. One worker at a time, the longest silent first: a mistake must not cost all of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

EVERY = 0.25  # seconds between looks, as often as an idle hit thread beats (LIVELINESS_MS in native/serve.h)
SILENCE = 1.0  # seconds without a beat: four missed ones, and below the 2 s in which a hang must be over
LATE = 0.25  # seconds the parent may wake late and still trust what it sees


@dataclass(slots=True)
class Watch:
    """Looks at beats. `due` is when to look next, in seconds of CLOCK_MONOTONIC, as are all times here."""

    due: float
    _trust: bool = field(default=False)

    def look(self, now: float, beats: Mapping[int, float], since: Mapping[int, float]) -> int | None:
        """The slot that hangs, if any. `beats`: each slot's older beat of its two threads, 0 = none ever (then the
        limit of a start is what holds it); `since`: when it began to serve, for those that serve.
        """
        late, self.due = now - self.due > LATE, now + EVERY
        trusted, self._trust = self._trust and not late, not late
        if not trusted:
            return None
        silent = {slot: max(beats[slot], began) for slot, began in since.items() if beats[slot]}
        slot = min(silent, key=lambda s: silent[s], default=None)
        return slot if slot is not None and now - silent[slot] > SILENCE else None
