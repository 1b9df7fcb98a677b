"""Our code as it was at the start.

Children import what they need after the fork, and a package manager replaces the files while we run: minutes before it
restarts us, or for good where the new version refuses the config and we serve on. A child of both versions would work
by luck. So, once we serve, a child puts all of our code into a file that has no name any more, and from then on what is
imported comes from there. Libraries do not: they have parts that no zip can hold. A distribution's keep their promises
to each other; those of our rpm are replaced with us.
"""

import os
import sys

import nodedns
from nodedns.journal import log
from nodedns.supervisor import spawn
from nodedns.supervisor.poller import Poller


def take(poller: Poller, run_dir: str) -> None:
    """Begins to make it, a zip (zipimport). What keeps it from being made is logged: code then comes from where it is
    installed, as it does until it is made."""
    path = f"{run_dir}/code"

    def refuse(why: str) -> None:
        log("file_error", f"{path}: {why}; until the next start, an upgrade changes what runs", file="code")

    flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        file_fd = os.open(path, flags, 0o600)
    except OSError as error:
        refuse(str(error.strerror))
        return
    try:
        os.unlink(path)
        os.fchmod(file_fd, 0o444)  # workers are another user, and open it anew
        child = spawn.fork("snapshot", lambda say_fd, _: _pack(file_fd, say_fd), (file_fd,), go=True)
    except OSError as error:
        os.close(file_fd)
        refuse(str(error.strerror))
        return

    def look() -> None:
        death = child.reap()
        if death is None:
            return
        why = "" if death.clean else os.read(child.ready_fd, 4096).decode() or death.text
        for fd in (child.pidfd, child.ready_fd, child.go_fd):
            poller.close(fd)
        try:
            if not why:
                _import_from(os.open(f"/proc/self/fd/{file_fd}", os.O_RDONLY | os.O_CLOEXEC))
        except OSError as error:
            why = str(error)
        os.close(file_fd)
        if why:
            refuse(why)

    poller.watch(child.pidfd, look)


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
