"""One change to the machine, made by a child that lives as long as the change takes.

pyroute2 alone costs 22 MB resident; the parent must not keep them for a link that is made once.
"""

import os
import select
import signal
import time
from collections.abc import Callable

from nodedns.core.plan import Plan
from nodedns.journal import log
from nodedns.supervisor.errors import HostError
from nodedns.supervisor.poller import Poller
from nodedns.supervisor.spawn import fork, run_host

LIMIT = 40.0
"""Seconds: the xtables lock is waited for twice, 15 s each (host/netfilter/iptables.py); without it, half a second."""

Done = Callable[[list[str], str], None]
"""Gets what was changed, a line each, and what went wrong, "" for nothing."""


class Task:
    """A host verb under way. `deadline` is when it has taken too long, in seconds of the monotonic clock."""

    def __init__(self, verb: str, plan: Plan, alive: bool) -> None:
        self.verb = verb
        self.child = fork(verb, lambda ready_fd, _go_fd: run_host(verb, plan, alive, ready_fd), (), go=True)
        self.deadline = time.monotonic() + LIMIT

    def kill(self) -> None:
        """Ends what takes too long; its end is noticed as any other."""
        self.child.send(signal.SIGKILL)

    def end(self) -> tuple[list[str], str] | None:
        """(changes, problem), once it is over; None before."""
        death = self.child.reap()
        if death is None:
            return None
        said = self._said().splitlines()
        for fd in (self.child.pidfd, self.child.ready_fd, self.child.go_fd):
            os.close(fd)
        problem = ""
        if not death.clean:
            problem = said.pop() if said and not death.killed else f"{self.verb}: its process ended: {death.text}"
        if said:
            log("host_change", *said)
        return said, problem

    def _said(self) -> str:
        """A pipe holds 64 KiB: some hundred lines, of which there are at most a few for each listen address."""
        try:
            return os.read(self.child.ready_fd, 1 << 16).decode(errors="replace")
        except BlockingIOError:
            return ""


def run(verb: str, plan: Plan) -> list[str]:
    """Carries a verb out while nothing else goes on: before there are workers, or after. Returns what was changed, a
    line each. HostError when it cannot be."""
    task = Task(verb, plan, alive=False)
    poll = select.poll()
    poll.register(task.child.pidfd, select.POLLIN)
    if not poll.poll(LIMIT * 1000):
        task.kill()
        poll.poll()
    changes, problem = task.end() or ([], f"{verb}: its process does not end")
    if problem:
        raise HostError(problem)
    return changes


def start(poller: Poller, verb: str, plan: Plan, alive: bool, done: Done) -> Task:
    """Begins a verb; `done` is called from the poller when it is over. OSError when it cannot be forked."""
    task = Task(verb, plan, alive)

    def look() -> None:
        poller.unwatch(task.child.pidfd)
        ended = task.end()
        if ended is None:
            poller.watch(task.child.pidfd, look)
        else:
            done(*ended)

    poller.watch(task.child.pidfd, look)
    return task
