"""The run directory: one instance's lock, and the files that all processes of the service map.

The files outlive every process, so that after a crash the cache is warm and what a worker had in hand is known; a
clean stop removes them. Sizes come from the config, never from a file. Children inherit the mappings and no
descriptor: a worker can neither resize nor lock what all depend on.
"""

import contextlib
import errno
import fcntl
import os
import stat
import time
from collections.abc import Callable

from nodedns import native
from nodedns.journal import log
from nodedns.supervisor.errors import HostError
from nodedns.worker.job import Shared

FILES = ("cache", "code", "counters", "rows.json", "samples", "slots", "wires", "status.json", "alive", "lock")
"""What a clean stop removes; the lock goes last, since until then nobody else may make these files."""

MARK = 8
"""Octets behind the counters' label."""

LOCK_TRIES = 10
LOCK_PAUSE = 0.02
"""`nodedns status` takes the lock, shared, for the blink of an eye; another instance holds it for life."""


def lock(run_dir: str) -> int:
    """Makes `run_dir` if need be and locks it. Returns the descriptor that holds the lock, for life.

    HostError when another instance holds it, or the directory is not ours alone to write.
    """
    path = f"{run_dir}/lock"
    try:
        os.makedirs(run_dir, 0o700, exist_ok=True)
        _check_private(run_dir)
        while True:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            _take(fd, path)
            # A former instance may have removed the file between our open() and flock(): a lock that nobody else would
            # find.
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(fd), os.stat(path)):
                    break
            os.close(fd)
    except OSError as error:
        raise HostError(f"{error.filename or path}: {error.strerror}; check node.run_dir") from error
    os.truncate(fd, 0)
    os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    return fd


def _check_private(run_dir: str) -> None:
    """Who can write here can replace the cache, and with it every answer."""
    status = os.stat(run_dir, follow_symlinks=False)
    if not stat.S_ISDIR(status.st_mode):
        raise HostError(f"{run_dir}: expected a directory, got something else; remove it, or change node.run_dir")
    if status.st_uid != os.geteuid():
        got = f"expected to belong to uid {os.geteuid()}, got uid {status.st_uid}"
        raise HostError(f"{run_dir}: {got}; change its owner, or node.run_dir")
    if status.st_mode & 0o022:
        got = f"expected no write permission for group and others, got mode {stat.S_IMODE(status.st_mode):04o}"
        raise HostError(f"{run_dir}: {got}; chmod go-w {run_dir}")


def _take(fd: int, path: str) -> None:
    for _ in range(LOCK_TRIES):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        time.sleep(LOCK_PAUSE)
    pid = os.pread(fd, 32, 0).decode(errors="replace").strip()
    os.close(fd)
    raise HostError(f"{path}: another instance runs, pid {pid}; stop it, or change node.run_dir")


def map_all(run_dir: str, cache_size: int, slots: int, wires: bool = False) -> Shared:
    """Maps the files, made anew where they are missing or of another build or size. `slots` counts the canary's;
    `wires`: whole answers are wanted, too.

    Call with the lock held. HostError when the file system has no room.
    """
    if not wires:  # nobody wants them any more
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{run_dir}/wires")
    return Shared(
        _mapped(f"{run_dir}/cache", cache_size, native.table_check, _format_table),
        _mapped(f"{run_dir}/counters", native.counters_size(slots), check_counters, _label_counters),
        _mapped(f"{run_dir}/slots", native.SLOT_SIZE * slots),
        _mapped(f"{run_dir}/samples", native.samples_size(slots)),
        _mapped(f"{run_dir}/wires", native.wires_size(slots)) if wires else None,
    )


def await_orphans(run_dir: str, patience: float) -> int:
    """Waits until no child of a former instance is left. Returns a descriptor for this one's children to inherit.

    The children of a parent that was killed leave when they see the end of their life pipe. Until then they hold ports,
    write to the slots' pages and sign claims in the table: nobody may take their numbers. All of them hold `alive`
    locked, so the kernel says when the last one is gone. HostError after `patience` seconds.
    """
    path = f"{run_dir}/alive"
    deadline = time.monotonic() + patience
    fd = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return fd
        except BlockingIOError as error:
            if time.monotonic() >= deadline:
                os.close(fd)
                raise HostError(f"{path}: workers of a former instance still run; end them (fuser {path})") from error
        time.sleep(LOCK_PAUSE)


def remove(run_dir: str) -> None:
    """Removes what this module made; `run_dir` itself may be systemd's and stays."""
    for name in FILES:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{run_dir}/{name}")


def _format_table(memory: native.Memory) -> None:
    # Random for each file: who cannot guess it cannot aim names at one bucket.
    native.table_format(memory, int.from_bytes(os.urandom(8)))


def _counters_label() -> bytes:
    """What the counters' first page (COUNTERS_HEADER in counters.h) says of the rest: the names, in their order."""
    parent = ("parent:", *native.PARENT_NAMES, "gauges:", *native.GAUGE_NAMES)
    names = (*native.COUNTER_NAMES, *parent, "row:", *native.ROW, "upstream:", *native.UPSTREAM)
    return " ".join(("counters:", *names, "\n")).encode()


def counters_mark(counters: native.Memory) -> str:
    """What no other counters have: of the file that was made anew, another."""
    at = len(_counters_label())
    return bytes(memoryview(counters)[at : at + MARK]).hex()


def check_counters(memory: native.Memory) -> str | None:
    """None when they are this build's: two builds may agree on the size and not on what is counted where."""
    label = _counters_label()
    return None if bytes(memoryview(memory)[: len(label)]) == label else "other counters"


def _label_counters(memory: native.Memory) -> None:
    label = _counters_label() + os.urandom(MARK)
    memoryview(memory)[: len(label)] = label


def _accept(_memory: native.Memory) -> None:
    return None


def _mapped(
    path: str,
    size: int,
    check: Callable[[native.Memory], str | None] = _accept,
    make: Callable[[native.Memory], None] = _accept,
) -> native.Memory:
    """The file's mapping; `check` says what is wrong with a former one, `make` lays out a new one of zeroes."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return _fresh(path, size, make)
    try:
        found = os.fstat(fd).st_size
        memory = native.map_file(fd, size, True) if found == size else None
    finally:
        os.close(fd)
    reason = check(memory) if memory else f"{found} bytes instead of {size}"
    if memory is None or reason:
        log("file_remade", f"{path}: made anew, it was of another version or config: {reason}", file=path)
        return _fresh(path, size, make)
    return memory


def _fresh(path: str, size: int, make: Callable[[native.Memory], None]) -> native.Memory:
    """Made whole under another name: the file under its own name is never half-made, and who maps the old one keeps
    it."""
    new = f"{path}.new"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(new)
    fd = os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        # Every page exists from now on: a full tmpfs must not become SIGBUS in a worker.
        os.posix_fallocate(fd, 0, size)
        memory = native.map_file(fd, size, True)
        make(memory)
        os.rename(new, path)
    except OSError as error:
        os.unlink(new)
        if error.errno == errno.ENOSPC:
            room = f"no room for {size} bytes; lower cache.size, or enlarge the file system"
            raise HostError(f"{path}: {room}") from error
        raise HostError(f"{path}: {error.strerror}; check node.run_dir") from error
    finally:
        os.close(fd)
    return memory
