"""The shared files of a service, read from beside it; nobody is asked and nothing is written."""

from collections.abc import Iterator
from dataclasses import replace

from nodedns import native
from nodedns.core.rows import Rows, upstream_of
from nodedns.core.top import Look, Sample
from nodedns.supervisor.memory import counters_mark
from nodedns.supervisor.rows import load
from nodedns.verbs.errors import Failed
from nodedns.verbs.files import Source
from nodedns.verbs.looking import look
from nodedns.verbs.service import Service, find, read_status

MOST = 100
"""Records of a ring that are read at once: at ten looks a second a thousand a second and thread, which is enough for
shares and costs a few percent of a CPU. The others are counted as missed."""


class Reader:
    """Of one service. `alive`: when it was last asked; what a dead one has left is read as well.

    Failed when there is none, or it is of another version.
    """

    def __init__(self, source: Source) -> None:
        self.service = find(source)
        self.alive = self.service.alive
        self._open()
        self._heads = [0] * (2 * self._slots)
        if self.alive:  # what was asked before we came is of nobody knows when
            for _ in self.samples(native.SAMPLES):
                pass

    def _open(self) -> None:
        self._slots = len(self.service.status["workers"]) + 1  # the canary has one, too
        self._counters, self._samples = self.service.counters(), self.service.map("samples")
        if self._samples.size < native.samples_size(self._slots):
            where = f"{self.service.run_dir}/samples"
            raise Failed(f"{where}: expected {native.samples_size(self._slots)} octets, got {self._samples.size}")
        self._rows = load(f"{self.service.run_dir}/rows.json", counters_mark(self._counters))

    def refresh(self) -> None:
        """The files anew: a restart may have replaced them. Once they are gone, the last ones stay."""
        try:
            self.service = Service(self.service.run_dir, read_status(self.service.run_dir))
            self._open()
            self.alive = self.service.alive
        except FileNotFoundError:
            self.alive = False
        if len(self._heads) != 2 * self._slots:
            self._heads = [0] * (2 * self._slots)

    @property
    def rows(self) -> Rows:
        return self._rows

    @property
    def serving(self) -> list[int]:
        """Slots with a worker that serves."""
        return self.service.serving if self.alive else []

    def look(self) -> Look:
        """The counters as they are now; of servers those that a zone still has."""
        found = look(self._counters, self._slots, self._rows)
        asked = {upstream_of(at) for zone in self.service.status.get("forward", ()) for at in zone["forward"]}
        return replace(found, upstreams={name: one for name, one in found.upstreams.items() if name in asked})

    def samples(self, most: int = MOST) -> Iterator[tuple[list[Sample], int]]:
        """Of each ring what is new, at most `most` records, and how many were missed."""
        for ring, since in enumerate(self._heads):
            after, found = native.read_samples(self._samples, None, ring, since, most)
            self._heads[ring] = after
            yield [Sample(one[2], one[3], one[6], one[11], one[9]) for one in found], max(0, after - since - len(found))
