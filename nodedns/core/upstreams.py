"""Which upstream next, and for how long. Pure: chance and order come in as arguments.

Attempts. A stub resolver gives up after 5 s (resolv.conf(5), `timeout`), so a question must end before that, and with
an answer: SERVFAIL lets it go on to its next server at once, silence costs it the 5 s. Hence a budget of 4.5 s.

Over UDP it is shared by three attempts, as many as RFC 9520 3.1 allows a server. The first is short, because a
cluster's DNS answers in milliseconds and what is late is most often a lost datagram; they grow, because what is late
twice is more often slow. Over TCP nothing is lost but a connection: two attempts. A late reply to an earlier attempt is
still taken.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

BUDGET = 4.5
ATTEMPTS = {"udp": (0.4, 1.2, 2.8), "tcp": (2.0, 2.4)}  # seconds; each sums to the budget less 0.1 s for our own way


@dataclass(slots=True)
class Picker:
    """Picks among `count` upstreams by CoreDNS's policies: "random", "round_robin", "sequential".

    An upstream already tried for a question comes again only when all were tried.
    """

    policy: str
    count: int
    turn: int = field(default=-1)

    def pick(self, tried: Sequence[int], chance: float) -> int:
        """Index of the upstream for the next attempt; `tried` lists the earlier ones, `chance` is in [0, 1)."""
        rest = (
            [i for i in range(self.count) if i not in tried] or [i for i in range(self.count) if i != tried[-1]] or [0]
        )
        if self.policy == "sequential":
            return rest[0]
        if self.policy == "random":
            return rest[int(chance * len(rest))]
        if not tried:
            self.turn = (self.turn + 1) % self.count
        return next((i for i in rest if i >= self.turn), rest[0])
