"""Rest between busy turns, so that the next one finds a batch instead of a single datagram.

A turn of the loop costs some 40 us however little it carries; at 10,000 misses/s, one a turn, that would be most of the
bill (measured: 70 us a miss without a rest, 25 us with it). So when turns follow one another quickly the loop sleeps
for a fifth of a millisecond. A quiet worker never rests, and hits never wait for this: they have their own thread.
"""

import asyncio
import time

QUICK = 0.0003  # seconds; a turn that begins sooner after the last one is busy: above 3,000 turns/s
REST = 0.0002  # seconds; adds as much to a miss, which has a round trip to the cluster's DNS before it


class Pace:
    """One worker's rests. asyncio's own timers are too coarse: epoll counts in milliseconds."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.due = False
        self.last = 0.0

    def note(self) -> None:
        """Something was done in this turn."""
        if not self.due:
            self.due = True
            self.loop.call_soon(self.rest)

    def rest(self) -> None:
        """Ends a turn."""
        self.due = False
        if time.monotonic() - self.last < QUICK:
            time.sleep(REST)
        self.last = time.monotonic()
