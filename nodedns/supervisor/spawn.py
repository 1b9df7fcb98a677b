"""Forks one child, and is what the parent knows of it: a pidfd, the pipe it says ready by, the pipe it waits for go on.

The only module that knows what a child runs; its imports happen in the child, so the parent stays small.
"""

import contextlib
import math
import os
import signal
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from nodedns import journal
from nodedns.core.plan import Plan
from nodedns.supervisor.privileges import drop
from nodedns.worker.job import Job, MonitorJob

Body = Callable[[int, int], int]
"""What a child does: gets its ready and go descriptors, returns its exit code."""

EXIT_DEFECT = 70
"""EX_SOFTWARE of sysexits.h."""

INHERITED: set[int] = set()
"""Descriptors that every child keeps, too: where its code comes from (supervisor/snapshot.py)."""

# The parent's own: what they mean for a child is decided below.
SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True, slots=True)
class Death:
    """How a child ended: `text` for a person, `killed` by SIGKILL, `clean` is exit code 0."""

    text: str
    killed: bool
    clean: bool


@dataclass(frozen=True, slots=True)
class Child:
    """A running child. The pidfd names this very process: its number may pass to another one, the pidfd does not."""

    pid: int
    pidfd: int
    ready_fd: int
    go_fd: int

    def go(self) -> None:
        """Lets a warm successor take over. One that died meanwhile is noticed by its pidfd."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self.go_fd, b"g")

    def send(self, number: signal.Signals) -> None:
        """Sends a signal; none is needed when it has gone already."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, number)

    def reap(self) -> Death | None:
        """Its end, once; None while it runs."""
        found = os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED | os.WNOHANG)
        if found is None:
            return None
        if found.si_code == os.CLD_EXITED:
            return Death(f"exit code {found.si_status}", killed=False, clean=found.si_status == 0)
        name = signal.Signals(found.si_status).name
        return Death(name, killed=found.si_status == signal.SIGKILL, clean=False)


def fork(name: str, body: Body, keep: Iterable[int], go: bool) -> Child:
    """Forks a child that runs `body` with standard input and output, its pipes, the descriptors `keep` and INHERITED,
    and nothing else.

    `go`: it need not wait for Child.go(). OSError when the machine has no room for another process.
    """
    pipes = [*os.pipe2(os.O_CLOEXEC), *os.pipe2(os.O_CLOEXEC)]
    ready_read, ready_write, go_read, go_write = pipes
    # A signal between fork and the child's own handlers would be written into the parent's wake-up pipe.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        pid = os.fork()
        if pid == 0:
            _live(name, lambda: body(ready_write, go_read), {*keep, ready_write, go_read}, mask)
        pidfd = _pidfd(pid)
    except OSError:
        os.close(ready_read)
        os.close(go_write)
        raise
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        os.close(ready_write)
        os.close(go_read)
    os.set_blocking(ready_read, False)
    child = Child(pid, pidfd, ready_read, go_write)
    if go:
        child.go()
    return child


def _pidfd(pid: int) -> int:
    try:
        return os.pidfd_open(pid)
    except OSError:  # out of descriptors: a child whose death we cannot learn of must not live
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise


def _live(name: str, run: Callable[[], int], keep: set[int], mask: Iterable[int]) -> None:
    """The child's whole life. Never returns: the parent's stack is below."""
    code = EXIT_DEFECT
    try:
        journal.begin(name)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        # Ctrl-C and a closed terminal reach the whole group; the parent alone decides what follows.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        _close_all_but({0, 1, 2, *keep, *INHERITED})
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        code = run()
    except BaseException as error:
        place = error.__traceback__
        while place and place.tb_next:
            place = place.tb_next
        where = f"{place.tb_frame.f_code.co_filename}:{place.tb_lineno}" if place else "nowhere"
        pid = os.getpid()
        journal.log(
            "worker_defect", f"{name} (pid {pid}): {type(error).__name__}: {error} ({where})", worker=name, pid=pid
        )
    finally:
        journal.take_time(math.inf)
        os._exit(code)


def _close_all_but(keep: set[int]) -> None:
    """Closes by what is ours, not by what the parent has: nothing that is added there later can leak."""
    low = 0
    for fd in sorted(keep):
        if low < fd:  # os.closerange(0, 0) closes everything: CPython hands close_range(2) a last descriptor of -1
            os.closerange(low, fd)
        low = fd + 1
    os.closerange(low, os.sysconf("SC_OPEN_MAX"))


def run_worker(job: Job) -> int:
    """A worker's life; its exit code."""
    drop()
    from nodedns.worker.main import run

    return run(job)


def run_example(address: str, port: int, ready_fd: int, life_fd: int) -> int:
    """The example cluster's server, until the parent is gone; its exit code."""
    from nodedns.example.server import serve

    def ready() -> None:
        os.write(ready_fd, b"s")

    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))  # a stop is no death that somebody must hear of
    serve(address, port, ready, life_fd)
    return 0


def run_monitor(job: MonitorJob) -> int:
    """The monitor's life; its exit code."""
    drop()
    from nodedns.monitor.main import run

    return run(job)


def run_host(verb: str, plan: Plan, alive: bool, say_fd: int) -> int:
    """One change to the machine; its exit code. What was done goes to `say_fd`, and last the reason if it failed."""
    from nodedns.host.apply import VERBS
    from nodedns.host.errors import ChangeError

    def say(line: str) -> None:
        os.write(say_fd, f"{line}\n".encode())

    try:
        VERBS[verb](plan, alive, say)
    except (ChangeError, OSError) as error:
        say(str(error))
        return 1
    return 0
