"""Our code as it was at the start.

Children import what they need after the fork, and a package manager replaces the files while we run: minutes before it
restarts us, or for good where the new version refuses the config and we serve on. A child of both versions would work
by luck. So, once we serve, a child puts all of our code into a file that has no name any more, and from then on what is
imported comes from there. Libraries do not: they have parts that no zip can hold. A distribution's keep their promises
to each other; those of our rpm are replaced with us.
"""

import os
import select
import signal
import sys

import nodedns
from nodedns.journal import log
from nodedns.supervisor import spawn
from nodedns.supervisor.poller import Poller


class Snapshot:
    """A zip (zipimport). Where it cannot be made, which is logged, and until it is, code comes from where it is
    installed."""

    def __init__(self, poller: Poller, run_dir: str) -> None:
        self._poller, self._path = poller, f"{run_dir}/code"
        self._child: spawn.Child | None = None
        self._file_fd = -1

    def take(self) -> None:
        """Begins to make it."""
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            self._file_fd = fd = os.open(self._path, flags, 0o600)
        except OSError as error:
            self._refuse(str(error.strerror))
            return
        try:
            os.unlink(self._path)
            os.fchmod(fd, 0o444)  # workers are another user, and open it anew
            self._child = spawn.fork("snapshot", lambda say_fd, _: _pack(fd, say_fd), (fd,), go=True)
        except OSError as error:
            os.close(fd)
            self._refuse(str(error.strerror))
            return
        self._poller.watch(self._child.pidfd, self._look)

    def _look(self) -> None:
        death = self._child.reap() if self._child else None
        if self._child is None or death is None:
            return
        why = "" if death.clean else os.read(self._child.ready_fd, 4096).decode() or death.text
        try:
            if not why:
                _import_from(os.open(f"/proc/self/fd/{self._file_fd}", os.O_RDONLY | os.O_CLOEXEC))
        except OSError as error:
            why = str(error)
        self._close(self._child)
        if why:
            self._refuse(why)

    def end(self) -> None:
        """Who stops needs none: whoever still makes it is ended."""
        if child := self._child:
            child.send(signal.SIGKILL)
            while child.reap() is None:
                select.select([child.pidfd], [], [])
            self._close(child)

    def _close(self, child: spawn.Child) -> None:
        for fd in (child.pidfd, child.ready_fd, child.go_fd, self._file_fd):
            self._poller.close(fd)
        self._child = None

    def _refuse(self, why: str) -> None:
        log("file_error", f"{self._path}: {why}; until the next start, an upgrade changes what runs", file="code")


def _pack(fd: int, say_fd: int) -> int:
    from tempfile import TemporaryDirectory  # in the child alone: they would stay in the parent

    try:
        try:
            _write(fd)
        except (OSError, ValueError):  # it cannot be compiled beside its source, or is older than a zip can say
            with TemporaryDirectory() as sys.pycache_prefix:
                _write(fd)
    except (OSError, ValueError) as error:
        os.write(say_fd, str(error).encode()[:4096])
        return 1
    return 0


def _write(fd: int) -> None:
    from zipfile import PyZipFile  # as above

    os.ftruncate(fd, 0)
    os.lseek(fd, 0, os.SEEK_SET)
    with open(fd, "wb", closefd=False) as file, PyZipFile(file, "w") as archive:
        archive.writepy(nodedns.__path__[0])


def _import_from(fd: int) -> None:
    """In this process and in those that it forks. native is one library, and is there already."""
    spawn.INHERITED.add(fd)
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "nodedns" and hasattr(module, "__path__") and name != "nodedns.native":
            module.__path__ = [f"/proc/self/fd/{fd}/{name.replace('.', '/')}"]
