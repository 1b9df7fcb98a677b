"""Which upstream next, by which way, and for how long. Pure: chance and order come in as arguments.

Attempts. A stub resolver gives up after 5 s (resolv.conf(5), `timeout`), so a question must end before that, and with
an answer: SERVFAIL lets it go on to its next server at once, silence costs it the 5 s. Hence a budget of 4.5 s.

Over UDP it is shared by three attempts, as many as RFC 9520 3.1 allows a server. The first is short, because a
cluster's DNS answers in milliseconds and what is late is most often a lost datagram; they grow, because what is late
twice is more often slow. The last goes over TCP: a firewall may let only that through. Over TCP nothing is lost but a
connection: two attempts, and the last one over UDP. TLS is never left. A late reply to an earlier attempt is still
taken.

Hedging. With a second server, one that mostly answers at once and for once does not is not waited for: another one is
asked after a tenth of a second, and the first good reply wins.

Health. An upstream is down after three attempts in a row without an answer, of which the first is no moment ago: then
the others get the questions, and it a probe of ours each second. With all of them down they are asked as ever. One that
leads back to us is never asked; a probe every ten seconds finds out when it does not any more.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

BUDGET = 4.5
FIRST, OTHER = 0, 1  # ways: the zone's own transport, the other one
_HEDGE = {"udp": 0.1, "tcp": 0.2, "tls": 0.2}  # seconds; the second is two round trips of a connection that is new
ATTEMPTS = {  # seconds and way; each sums to the budget less 0.1 s for our own way
    "udp": ((0.4, FIRST), (1.2, FIRST), (2.8, OTHER)),
    "tcp": ((2.0, FIRST), (1.4, FIRST), (1.0, OTHER)),
    "tls": ((2.2, FIRST), (2.2, FIRST)),
}
HEDGED = {
    kind: ((_HEDGE[kind], FIRST), (round(rows[0][0] - _HEDGE[kind], 3), FIRST), *rows[1:])
    for kind, rows in ATTEMPTS.items()
}
QUICK = 0.04  # seconds of usual time below which an upstream counts as one that answers at once
DOWN_AFTER = 3  # attempts
DOWN_FOR = 0.3  # seconds since the first of them: a thousand questions of one moment are no proof
RETRY = 1.0
RETRY_LOOPED = 10.0


@dataclass(slots=True)
class Health:
    """Of one zone's upstreams, by index. Times are the caller's clock, in seconds."""

    usual: dict[int, float] = field(default_factory=dict)  # how long an answer takes: EWMA, a quarter for the newest
    silences: dict[int, tuple[int, float]] = field(default_factory=dict)  # attempts without an answer, since when
    down: dict[int, float] = field(default_factory=dict)  # when to probe it again
    looped: set[int] = field(default_factory=set)

    def heard(self, upstream: int, took: float, probed: bool = False) -> None:
        """It has answered, whatever, after so long. Of one that leads back to us only a probe's answer counts: another
        may be our own."""
        if upstream in self.looped and not probed:
            return
        usual = self.usual.get(upstream, took)
        self.usual[upstream] = usual + (took - usual) / 4
        if self.silences or self.down:
            self.silences.pop(upstream, None)
            self.down.pop(upstream, None)
            self.looped.discard(upstream)

    def silent(self, upstream: int, now: float) -> None:
        """An attempt's time is over, or the network said no."""
        count, since = self.silences.get(upstream, (0, now))
        self.silences[upstream] = count + 1, since
        if count + 1 >= DOWN_AFTER and now - since >= DOWN_FOR:
            self.down.setdefault(upstream, now)

    def leads_back(self, upstream: int, now: float) -> bool:
        """What we asked it came to us. True when that is news."""
        news = upstream not in self.looped
        self.looped.add(upstream)
        self.down[upstream] = now + RETRY_LOOPED
        return news

    def due(self, now: float) -> list[int]:
        """The down ones to be probed now; their next turn is set."""
        found = [upstream for upstream, again in self.down.items() if again <= now]
        for upstream in found:
            self.down[upstream] = now + RETRY
        return found

    def is_quick(self, upstream: int) -> bool:
        """Does it mostly answer at once?"""
        return self.usual.get(upstream, QUICK) < QUICK


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
