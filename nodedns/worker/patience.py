"""Clients who need not wait for ever: what has expired is given to them where the zone allows it (RFC 8767)."""

from typing import TYPE_CHECKING

from nodedns import native
from nodedns.core import stale
from nodedns.core.upstreams import BUDGET
from nodedns.journal import log
from nodedns.worker.question import Question

if TYPE_CHECKING:
    from nodedns.worker.forward import Forwarder


class Patience:
    """Of one worker's clients. `waiting`: questions whose clients may get a stale answer, the longest waiting first."""

    def __init__(self, forwarder: "Forwarder") -> None:
        self.forwarder = forwarder
        self.waiting: dict[Question, None] = {}

    def tick(self, now: float) -> None:
        """Who has waited long enough."""
        while self.waiting:
            question = next(iter(self.waiting))
            if question.ends - BUDGET + stale.CLIENT_TIMER > now:
                break
            del self.waiting[question]
            self.appease(question)

    def appease(self, question: Question, at_once: bool = False) -> None:
        """Whoever waits gets a stale answer, if there is one; the question goes on, for the table's sake. `at_once`:
        nobody has been asked yet."""
        entry = self.entry(question, at_once=at_once)
        if entry is not None:
            self.forwarder.answer(question, entry)
            question.refs, question.clients = [], []

    def entry(self, question: Question, positive: bool = False, at_once: bool = False) -> bytes | None:
        """What may be given in place of a failure; `positive`: in place of a denial. Counts whom it is given to.
        What has expired is in the table again afterwards, for a while; what lives stands there as it was."""
        server = self.forwarder.server
        found = server.stale(question.key) if self.forwarder.routes[question.zone].stale.max else None
        if found is None or (positive and stale.is_denial(found)):
            return None
        now = native.now()
        if stale.is_over(found, now):
            zone = self.forwarder.routes[question.zone].name
            if not at_once:
                text = f"no server of zone {zone} gives a good answer in time: one that has expired is given"
                log("stale_serving", text, zone=zone)
            server.add("stale", len(question.refs) + len(question.clients))
            found = stale.revived(found, now)
            server.store(found)
        return found
