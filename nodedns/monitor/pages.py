"""What there is to see over HTTP: /metrics, /health, /ready.

/health says whether anybody here answers, /ready whether every address does, over UDP and TCP: by what the self-probe
has just found, not by which processes there are.
"""

import time
from bisect import bisect_left

from nodedns import native
from nodedns.core.service import State
from nodedns.monitor.scrape import HEALTH, STATES, SWEPT_FOR, Census, Scrape, Verdict
from nodedns.monitor.text import OPEN_TYPE, PLAIN_TYPE
from nodedns.monitor.web import Reply
from nodedns.worker.job import MonitorJob

OK = Reply(200, b"OK")
FRESH = 3.0
"""Seconds for which a verdict holds (supervisor/monitor.py)."""
_SERVES = (State.READY, State.RELOADING)
_STARTS = (State.STARTING, State.STEERING)


class Pages:
    """Of one monitor."""

    def __init__(self, job: MonitorJob) -> None:
        self._job, self._counters = job, job.shared.counters
        self.verdict, self._census = Verdict(), Census(native.Table(job.shared.table))
        self._formats: dict[bool, Scrape] = {}
        self._scraped = float("-inf")
        self.pages = {"/metrics": self.metrics, "/health": self.health, "/ready": self.ready}

    def metrics(self, accept: str) -> Reply:
        """OpenMetrics where it is asked for."""
        now = self._scraped = time.monotonic()
        openmetrics = "application/openmetrics-text" in accept
        if openmetrics not in self._formats:  # late: hardly anybody asks for both, and each is megabytes
            self._formats[openmetrics] = Scrape(self._job, openmetrics, self.verdict, self._census)
        return Reply(200, self._formats[openmetrics].text(now), OPEN_TYPE if openmetrics else PLAIN_TYPE)

    def health(self, _accept: str) -> Reply:
        """Does anybody answer?"""
        reason = self._doubt()
        if not reason and len(self.verdict.silent) == self.verdict.asked:
            reason = f"nobody answers: {'; '.join(self.verdict.silent)}"
        return _reply(reason)

    def ready(self, _accept: str) -> Reply:
        """Does everybody?"""
        reason = self._doubt() or "; ".join(self.verdict.silent)
        return _reply(reason or ("starting" if self._state() in _STARTS else ""))

    def judge(self, silent: list[str], took: list[float]) -> None:
        """What the self-probe has found: who is silent, and how long each question took, in seconds."""
        self.verdict.silent, self.verdict.asked, self.verdict.at = silent, len(took), time.monotonic()
        for seconds in took:
            native.count_parent(self._counters, f"probe_{bisect_left(HEALTH, seconds) + 1}")
            native.count_parent(self._counters, "probe_us", round(seconds * 1e6))
        if silent:
            native.count_parent(self._counters, "probes_failed")

    def sweep(self) -> None:
        """Looks at a part of the cache, while somebody scrapes."""
        if time.monotonic() - self._scraped < SWEPT_FOR or not self._census.found:
            self._census.step()

    def _state(self) -> State:
        return STATES[native.read_gauges(self._counters)["state"]]

    def _doubt(self) -> str:
        """Why nothing can be said of the answers; "" when it can."""
        state = self._state()
        if state not in (*_SERVES, *_STARTS):
            return f"the service is {state.value}"
        return "" if time.monotonic() - self.verdict.at < FRESH else "nobody was asked yet"


def _reply(reason: str) -> Reply:
    return Reply(503, f"{reason}\n".encode()) if reason else OK
