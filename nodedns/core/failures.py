"""How long a failure is kept (RFC 9520 section 3.2): 5 s, and twice as long each time the same question fails again.

That is for a question that fails while its servers answer others. While one of them is down, everybody's questions fail
and every one is to be asked soon after it is back: then it is 5 s always, and the attempts are few anyway. Pure.
"""

from nodedns.core.zones import FAILURE_TTL

LONGEST = 30
MAX = 4096  # questions remembered; the one that failed longest ago is forgotten first


class Failures:
    """Of one worker. Times are the caller's clock, in seconds."""

    def __init__(self) -> None:
        self._last: dict[bytes, tuple[int, float]] = {}  # seconds it was kept, and until when

    def life(self, key: bytes, now: float) -> int:
        """Seconds to keep a failure that has just come."""
        kept, until = self._last.pop(key, (0, now))
        seconds = min(2 * kept, LONGEST) if kept and now < until + LONGEST else FAILURE_TTL
        if len(self._last) >= MAX:
            del self._last[next(iter(self._last))]
        self._last[key] = seconds, now + seconds
        return seconds

    def over(self, key: bytes) -> None:
        """The question was answered."""
        if self._last:
            self._last.pop(key, None)
