"""When to look after what is ours on the machine: soon after a hint, now and then without one, and ever more rarely
while another agent keeps undoing it.
"""

from dataclasses import dataclass

SETTLE = 0.05
"""Seconds from a hint to the look: `nft flush ruleset` is one event for each chain."""
AGAIN = 1.0
"""Seconds after a repair: what happened while we were at it was not heard."""
FREE = 5
"""Repairs within CALM seconds before we suspect another agent. A person at work undoes less."""
CALM = 60.0
LONGEST = 10.0
"""A link that is gone is an outage: however often it is taken, it is not given up."""


@dataclass(slots=True)
class Repair:
    """`due` is when to look next, in seconds of the caller's clock. `count`: looks that had to put something right.
    `doubt`: something of ours may have been changed since the last look."""

    slow: float
    due: float
    count: int = 0
    streak: int = 0
    doubt: bool = False
    _repaired: float = float("-inf")
    _not_before: float = float("-inf")

    def hint(self, now: float) -> None:
        """Something of ours may have changed."""
        self.doubt = True
        self.due = min(self.due, max(now + SETTLE, self._not_before))

    def done(self, now: float, changed: bool) -> None:
        """A look has ended; `changed`: something had to be put right."""
        self.doubt = False
        if not changed:
            self.due = now + self.slow
            return
        self.count += 1
        self.streak = self.streak + 1 if now - self._repaired < CALM else 1
        self._repaired = now
        wait = min(LONGEST, 2.0 ** (self.streak - FREE)) if self.streak > FREE else 0.0
        self._not_before = now + wait
        self.due = now + AGAIN + wait
