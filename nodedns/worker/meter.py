"""What is counted of each upstream (native/counters.h, UPSTREAM_FIELDS), under the row that the parent gave it."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from nodedns import native
from nodedns.config import Endpoint
from nodedns.core.rows import Rows

if TYPE_CHECKING:
    from nodedns.worker.route import Route

UDP, TCP, TLS = 0, 1, 2  # ways
UNKNOWN, UP, DOWN, LOOPED = 0, 1, 2, 3  # states
EVERY = 1.0  # seconds between looks at the gauges
_SENT, _REUSED, _OPENED, _TIMEOUTS, _ERRORS, _PROBE_FAILURES = (
    native.UPSTREAM[name][0] for name in ("sent", "reused", "opened", "timeouts", "errors", "probe_failures")
)


class Meter:
    """Of one worker. A server without a row is not counted."""

    def __init__(self, server: native.Server, rows: Rows) -> None:
        self._server, self._rows = server, rows
        self._due = 0.0
        self.sockets: dict[int, int] = {}  # open ones, by row

    def row(self, server: Endpoint) -> int | None:
        """A server's row."""
        return self._rows.upstream(server)

    def sent(self, row: int | None, way: int, questions: int, opened: int) -> None:
        """Questions that left by `way`, for which so many sockets or streams were `opened`."""
        if row is None:
            return
        count = self._server.count_upstream
        count(row, _SENT + way, questions)
        if opened:
            count(row, _OPENED + way, opened)
        if questions > opened:
            count(row, _REUSED + way, questions - opened)

    def heard(self, row: int | None, rcode: int, seconds: float) -> None:
        """A reply to one of our questions."""
        if row is not None:
            self._server.count_reply(row, rcode, max(0, round(seconds * 1e9)))

    def late(self, row: int | None) -> None:
        """An attempt's time was over."""
        self._count(row, _TIMEOUTS)

    def refused(self, row: int | None) -> None:
        """The network refused an attempt."""
        self._count(row, _ERRORS)

    def unproved(self, row: int | None) -> None:
        """A probe of ours got no answer."""
        self._count(row, _PROBE_FAILURES)

    def opened(self, row: int | None, number: int) -> None:
        """So many sockets more are open, or fewer."""
        if row is not None:
            self.sockets[row] = self.sockets.get(row, 0) + number

    def tick(self, now: float, routes: Iterable["Route"]) -> None:
        """Writes the gauges: of zones that share a server the worst state, and the longer of usual times."""
        if now < self._due:
            return
        self._due = now + EVERY
        found: dict[int, tuple[int, int]] = {}
        for route in routes:
            for upstream, row in enumerate(route.rows):
                if row is not None:
                    state, rtt = found.get(row, (UNKNOWN, 0))
                    usual = round(route.health.usual.get(upstream, 0.0) * 1e9)
                    found[row] = max(state, _state(route, upstream)), max(rtt, usual)
        for row, (state, rtt) in found.items():
            self._server.note_upstream(row, state, rtt, self.sockets.get(row, 0))

    def _count(self, row: int | None, field: int) -> None:
        if row is not None:
            self._server.count_upstream(row, field)


def _state(route: "Route", upstream: int) -> int:
    health = route.health
    if upstream in health.looped:
        return LOOPED
    return DOWN if upstream in health.down else UP if upstream in health.usual else UNKNOWN
