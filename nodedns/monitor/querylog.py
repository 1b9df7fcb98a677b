"""The query log's lines, to the journal with fields, or to standard output. What it cannot write at once is dropped and
counted: a reader that stands still must not stop the self-probe."""

import os
import select
import time
from collections.abc import Sequence

from nodedns import journal, native
from nodedns.config import Log
from nodedns.core.events import INFO
from nodedns.core.querylog import Bound, Filter, line, rcode_name, type_name
from nodedns.core.sample import Sample, address
from nodedns.core.spelling import spelled_wire

SAY = 10.0
"""Seconds between two events that tell what was dropped."""


class QueryLog:
    """Of one monitor."""

    def __init__(self, config: Log, counters: native.Memory) -> None:
        self._filter = Filter(config.clients, config.zones, config.rcodes)
        self._bound = Bound(config.rate)
        self._counters = counters
        self._dropped, self._due = 0, 0.0  # since it was last told
        self._write = _to_journal if journal.is_journal() else _to_stdout

    def take(self, samples: Sequence[Sample], missed: int) -> None:
        """Writes those that are wanted."""
        now = time.monotonic()
        wanted = [one for one in samples if self._filter.wants(one)]
        chosen = [one for one in wanted if self._bound.take(now)]
        written = sum(map(self._write, chosen))
        self._count(written, missed + len(wanted) - written)
        if self._dropped and now >= self._due:
            dropped, self._dropped, self._due = self._dropped, 0, now + SAY
            text = f"{dropped} answers are missing in the query log: log.rate, or who reads it is too slow"
            journal.log("querylog_dropped", text, answers=dropped)

    def _count(self, written: int, dropped: int) -> None:
        self._dropped += dropped
        for name, n in (("querylog_lines", written), ("querylog_dropped", dropped)):
            if n:
                native.count_parent(self._counters, name, n)


def _to_journal(one: Sample) -> bool:
    """Was it written? Its fields are the line's, for who filters by them."""
    try:
        journal.send(
            {
                "MESSAGE": line(one),
                "PRIORITY": str(INFO),
                "NODEDNS_EVENT": "query",
                "NODEDNS_CLIENT": address(one.client),
                "NODEDNS_NAME": spelled_wire(one.name.lower()),
                "NODEDNS_TYPE": type_name(one.type),
                "NODEDNS_RCODE": rcode_name(one.rcode),
            }
        )
    except OSError:
        return False
    return True


def _to_stdout(one: Sample) -> bool:
    """Was it written? A pipe that polls writable takes PIPE_BUF octets at once (pipe(7)), which no line reaches."""
    poll = select.poll()
    poll.register(1, select.POLLOUT)
    try:
        return bool(poll.poll(0)[0][1] & select.POLLOUT) and os.write(1, f"{line(one)}\n".encode()) > 0
    except (OSError, IndexError):
        return False
