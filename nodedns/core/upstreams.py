"""Which upstream next, and for how long. Pure: chance and order come in as arguments.

Attempts. A stub resolver gives up after 5 s (resolv.conf(5), `timeout`), so a question must end before that, and with
an answer: SERVFAIL lets it go on to its next server at once, silence costs it the 5 s. Hence a budget of 4.5 s.

Over UDP it is shared by three attempts, as many as RFC 9520 3.1 allows a server. The first is short, because a
cluster's DNS answers in milliseconds and what is late is most often a lost datagram; they grow, because what is late
twice is more often slow. Over TCP nothing is lost but a connection: two attempts. A late reply to an earlier attempt is
still taken.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

BUDGET = 4.5
ATTEMPTS = {"udp": (0.4, 1.2, 2.8), "tcp": (2.0, 2.4)}  # seconds; each sums to the budget less 0.1 s for our own way


DOWN_AFTER = 3
RETRY = 1.0
RISK = ATTEMPTS["udp"][0]


@dataclass(slots=True)
class Health:
    """Of one zone's upstreams, by index. Times are the caller's clock, in seconds."""

    count: int
    silences: dict[int, int] = field(default_factory=dict)  # attempts in a row without an answer
    down: dict[int, float] = field(default_factory=dict)  # when to risk a question on it again

    def heard(self, upstream: int) -> None:
        """It has answered, whatever."""
        if self.silences:
            self.silences.pop(upstream, None)
            self.down.pop(upstream, None)

    def silent(self, upstream: int, now: float) -> None:
        """An attempt's time is over, or the network said no."""
        self.silences[upstream] = self.silences.get(upstream, 0) + 1
        if self.silences[upstream] >= DOWN_AFTER:
            self.down[upstream] = now + RETRY

    def risk(self, now: float) -> int | None:
        """A down upstream that is to get the question at hand; None for the most part."""
        if len(self.down) == self.count:
            return None  # they are asked anyway
        due = next((upstream for upstream, again in self.down.items() if again <= now), None)
        if due is not None:
            self.down[due] = now + RETRY
        return due


@dataclass(slots=True)
class Picker:
    """Picks among `count` upstreams by CoreDNS's policies: "random", "round_robin", "sequential".

    An upstream already tried for a question comes again only when all were tried.
    """

    policy: str
    count: int
    turn: int = field(default=-1)

    def pick(self, tried: Sequence[int], chance: float, down: Collection[int] = ()) -> int:
        """Index of the upstream for the next attempt; `tried` lists the earlier ones, `chance` is in [0, 1), `down` are
        those to be avoided if there are others."""
        untried = [i for i in range(self.count) if i not in tried]
        rest = (
            ([i for i in untried if i not in down] if down else untried)
            or untried
            or [i for i in range(self.count) if i != tried[-1]]
            or [0]
        )
        if self.policy == "sequential":
            return rest[0]
        if self.policy == "random":
            return rest[int(chance * len(rest))]
        if not tried:
            self.turn = (self.turn + 1) % self.count
        return next((i for i in rest if i >= self.turn), rest[0])
