"""What `nodedns top` knows: the two last looks, the lists, and how it went so far."""

from collections import deque
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from nodedns.core.heavy import Heavy
from nodedns.core.rows import DROPPED
from nodedns.core.spelling import printable, spelled_wire
from nodedns.core.top import Heard, Look, View, client_text, view
from nodedns.query_wire import rcode_name
from nodedns.verbs.top.reading import Reader

HISTORY = 200
"""Intervals that are remembered: more than a terminal is wide."""
LISTED = 100
"""Of each list: more than a terminal is high."""

Listed = list[tuple[str, float]]


class Watch:
    """Of one service. `view`: the last one; of a dead service what it has left, since counting began."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.zone: str | None = None
        self.history: deque[tuple[float | None, ...]] = deque(maxlen=HISTORY)  # answers/s, hits, p50, p99
        self._before: Look | None = None
        self._last: Look | None = None
        self._heard = Heard()
        self.hear()
        self.look()

    def hear(self) -> None:
        """Takes the samples that have come. Several times a second, since rings are short."""
        for samples, missed in self.reader.samples():
            self._heard.hear(samples, missed)

    def look(self) -> None:
        """What was counted since the last look. A dead service counts nothing: what was seen last stays."""
        self.reader.refresh()
        if self.reader.alive or self._last is None:
            self._before, self._last = self._last, self.reader.look()
            self._work_out(self._last)
        if self.reader.alive and self.view.seconds:
            self._heard.fade(self.view.seconds)
            self.history.append((self.view.rate(self.view.answers), self.view.hits, self.view.p50, self.view.p99))

    def _work_out(self, look: Look) -> None:
        self.view: View = view(look, self._before, self.zone, self.reader.serving)

    @property
    def now(self) -> int:
        """When it was looked last, in ms."""
        return self._last.at if self._last else 0

    def next_zone(self) -> None:
        """The next zone that there is, at the end all of them again. What was seen of another one is forgotten."""
        zones: list[str | None] = sorted({name[1] for name in self.reader.rows.rows if name}, key=_of_all_last)
        following = [None, *zones, None]
        self.zone = following[following.index(self.zone) + 1] if self.zone in following else None
        numbers = {number for number, name in enumerate(self.reader.rows.rows) if name and name[1] == self.zone}
        self._heard = Heard(numbers if self.zone else None)
        self.history.clear()
        if self._last:
            self._work_out(self._last)

    @property
    def names(self) -> Listed:
        return _listed(self._heard.names, spelled_wire)

    @property
    def misses(self) -> Listed:
        return _listed(self._heard.misses, spelled_wire)

    @property
    def clients(self) -> Listed:
        return _listed(self._heard.clients, client_text)

    def report(self) -> dict[str, Any]:
        """For programs: docs/observe.md."""
        seen, status = self.view, self.reader.service.status
        return {
            "alive": self.reader.alive,
            "state": status["state"],
            "now": self.now,
            "seconds": seen.seconds,
            "answers": seen.answers,
            "misses": seen.misses,
            "hit_ratio": seen.hits,
            "p50": seen.p50,
            "p99": seen.p99,
            "rcodes": {rcode_name(code): count for code, count in seen.rcodes.items()},
            "zones": [{"name": name, "answers": count, "hit_ratio": hits} for name, count, hits in seen.zones],
            "upstreams": [asdict(up) for up in seen.upstreams],
            "workers": self._workers(),
            "top_names": [{"name": name, "share": share} for name, share in self.names],
            "top_misses": [{"name": name, "share": share} for name, share in self.misses],
            "top_clients": [{"client": client, "share": share} for client, share in self.clients],
        }

    def _workers(self) -> list[dict[str, Any]]:
        workers = self.reader.service.status["workers"]
        return [
            {name: one[name] for name in ("slot", "pid", "state", "restarts")} | {"hits": hit, "others": rest}
            for one, (hit, rest) in zip(workers, self.view.workers, strict=False)
        ]


def _of_all_last(zone: str | None) -> tuple[bool, str]:
    return zone == DROPPED, zone or ""


def _listed(heavy: Heavy[bytes], text: Callable[[bytes], str]) -> Listed:
    return [(printable(text(key)) or "(malformed)", share) for key, share in heavy.top(LISTED)]
