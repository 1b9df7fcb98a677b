"""How the service stands, for the monitor, which may not read the run directory nor look at root's processes: gauges in
the parent's block of the counters page (native/counters.h, PARENT_GAUGES).
"""

import os
import resource
import time
from collections.abc import Sequence

from nodedns import native
from nodedns.core import slots
from nodedns.core.service import State
from nodedns.supervisor.workers import Worker

EVERY = 1.0
"""Seconds between looks at what processes cost: two files each."""
_STATES = tuple(State)
_TICK, _PAGE = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")


class Vitals:
    """Of one service. `workers` by slot; `children` are all slots, the workers' too."""

    def __init__(self, counters: native.Memory, workers: Sequence[Worker], children: Sequence[Worker]) -> None:
        self._counters, self._workers, self._children = counters, workers, children
        self._noted: dict[str, int] = {}
        self._due = 0.0
        self._note(
            workers=len(workers),
            started_ms=time.time_ns() // 1_000_000,
            max_fds=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        )

    def note(self, state: State, **gauges: int) -> None:
        """What follows from the loop's last turn."""
        serving = sum(1 << slot for slot, worker in enumerate(self._workers) if worker.state is slots.State.SERVING)
        self._note(state=_STATES.index(state), serving=serving, **gauges)

    def take_time(self, now: float) -> None:
        """Looks at the processes, when it is time."""
        if now < self._due:
            return
        self._due = now + EVERY
        children = (child for slot in self._children for child in (slot.holder, slot.successor) if child)
        self._note(open_fds=len(os.listdir("/proc/self/fd")), **costs([child.pid for child in children]))

    def _note(self, **gauges: int) -> None:
        for name, value in gauges.items():
            if self._noted.get(name) != value:
                self._noted[name] = value
                native.note_parent(self._counters, name, value)


def costs(pids: Sequence[int]) -> dict[str, int]:
    """Of this process and its children `pids`: `cpu_us`, what has ended included, and `resident` octets.

    Who reaps them reads this, so nobody is counted twice or not at all, and cpu_us never falls.
    """
    own, ended = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = own.ru_utime + own.ru_stime + ended.ru_utime + ended.ru_stime
    private, shared = _pages(os.getpid())
    for pid in pids:
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                words = file.read().rpartition(b")")[2].split()  # from its state on, proc(5)
            seconds += (int(words[11]) + int(words[12])) / _TICK
            more, same = _pages(pid)
            private, shared = private + more, max(shared, same)
        except OSError:
            continue  # hidden from us
    return {"cpu_us": int(seconds * 1e6), "resident": (private + shared) * _PAGE}


def _pages(pid: int) -> tuple[int, int]:
    """Resident pages that are its own, and those that it may share with others."""
    with open(f"/proc/{pid}/statm", "rb") as file:
        resident, shared = map(int, file.read().split()[1:3])
    return resident - shared, shared
