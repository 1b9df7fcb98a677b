"""Questions that another worker asks already: their entry is looked for in the table instead of asking twice.

The other worker takes its mark away right after it has stored the entry (native/table.h). So a mark that is gone
without an entry says "done, not stored", and a mark that has lost its owner or its time is gone too: the question is
then asked here. Nobody tells us when; a question is looked for often while it is young, for the cluster's DNS answers
in milliseconds, and with every tick of the loop later.
"""

import asyncio
from collections.abc import Callable

from nodedns import native
from nodedns.worker.question import Question

EVERY = 0.002  # seconds between looks
YOUNG = 0.06  # seconds: 30 looks of a microsecond each a question

Found = Callable[[Question, bytes | None], None]


class Elsewhere:
    """The questions of this worker that wait for another; `found` gets each with its entry, or with None to ask it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, server: native.Server, found: Found) -> None:
        self._loop = loop
        self._server = server
        self._found = found
        self._young: dict[Question, float] = {}
        self._old: dict[Question, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def claim(self, question: Question) -> bool:
        """Is the question ours to ask? Otherwise it waits here."""
        left = max(0.0, question.ends - self._loop.time())
        if not self._server.mark(question.key, round(left * 1000)):
            return True
        self._server.add("elsewhere")
        self._young[question] = self._loop.time() + YOUNG
        if self._timer is None:
            self._timer = self._loop.call_later(EVERY, self._look)
        return False

    def tick(self) -> None:
        """Looks for the old ones."""
        for question in tuple(self._old):
            if self._settle(question):
                del self._old[question]

    def _look(self) -> None:
        """Looks for the young ones, again and again while there are any."""
        now = self._loop.time()
        for question, until in tuple(self._young.items()):
            if self._settle(question):
                del self._young[question]
            elif until < now:
                del self._young[question]
                self._old[question] = None
        self._timer = self._loop.call_later(EVERY, self._look) if self._young else None

    def _settle(self, question: Question) -> bool:
        found = self._server.awaited(question.key)
        if found is True:
            return False
        self._found(question, found or None)
        return True
