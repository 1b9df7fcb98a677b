"""Events that come often, said seldom: the first few of a kind in ten seconds, then how many more there were.

As CoreDNS's `errors { consolidate }`, with its `show_first`. Pure: times are the caller's, in seconds.
"""

WINDOW = 10.0
FIRST = 3
"""A worker that dies three times in ten seconds is told of three times; a hundred upstreams' errors are a number."""

Key = tuple[str, ...]


class Consolidator:
    """By key. A key is forgotten at the end of its window."""

    def __init__(self) -> None:
        self._open: dict[Key, tuple[float, int]] = {}  # when its window ends, how many came: the oldest first

    def take(self, key: Key, now: float) -> bool:
        """Shall this one be said?"""
        ends, count = self._open.get(key, (now + WINDOW, 0))
        self._open[key] = ends, count + 1
        return count < FIRST

    @property
    def due(self) -> float | None:
        """When the first window ends."""
        return next(iter(self._open.values()), (None, 0))[0]

    def over(self, now: float) -> list[tuple[Key, int]]:
        """The keys whose window has ended, with how many were not said, where any."""
        ended = {key: count for key, (ends, count) in self._open.items() if ends <= now}
        for key in ended:
            del self._open[key]
        return [(key, count - FIRST) for key, count in ended.items() if count > FIRST]
