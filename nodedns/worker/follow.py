"""A question whose name stands for another: that one is asked for, and the answer told behind an alias of it."""

from typing import TYPE_CHECKING

from nodedns.core import alias, local
from nodedns.core.upstreams import BUDGET
from nodedns.core.zones import row_of
from nodedns.worker.question import Question

if TYPE_CHECKING:
    from nodedns.worker.forward import Forwarder

LEAST = 0.2  # seconds; a query taken over from a predecessor with less of its budget left is failed at once


def follow(forwarder: "Forwarder", question: Question, target: bytes, ttl: int) -> None:
    """Asks ourselves. Should no answer come of it, the question's time is over a moment before its client's."""
    key = target + question.key[-5:]
    question.deadline = question.ends - LEAST
    question.waiting = forwarder.waiting.setdefault(BUDGET, {})
    question.waiting[question] = None

    def told(entry: bytes) -> None:
        if forwarder.asking.get(question.key) is question:
            forwarder.reply(question, alias.message(question.key, target, entry, ttl), None)

    forwarder.ask_tcp(key, row_of(local.text(target), [route.name for route in forwarder.routes]), told)
