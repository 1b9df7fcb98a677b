"""The running service, seen from beside it: its run directory, status.json, and whether anyone is behind them.

status.json outlives a crash, and its pid may be someone else's by now: the service is alive while the flock(2) of its
lock file is held, which the kernel ends with the process.
"""

import fcntl
import json
import os
import sys
from dataclasses import dataclass
from typing import Any

from nodedns import native
from nodedns.supervisor.memory import check_counters
from nodedns.verbs.errors import Failed
from nodedns.verbs.files import Source

FLUSHED_AT = 40  # offset of `flushed` in native/table.h's struct table_header


@dataclass(frozen=True, slots=True)
class Service:
    """A run directory that belongs to this user, and what status.json said when it was last read."""

    run_dir: str
    status: dict[str, Any]

    @property
    def alive(self) -> bool:
        """Does a process hold the lock? Asked with a shared lock, so that two who ask at once do not see each other."""
        try:
            fd = os.open(f"{self.run_dir}/lock", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(fd)
        return False

    @property
    def serving(self) -> list[int]:
        """Slots whose worker served when status.json was written."""
        return [worker["slot"] for worker in self.status["workers"] if worker["state"] == "SERVING"]

    def map(self, name: str, writable: bool = False) -> native.Memory:
        """The shared file `name` ("cache", "counters"). Its size is the file's: only its owner can change that."""
        fd = os.open(f"{self.run_dir}/{name}", (os.O_RDWR if writable else os.O_RDONLY) | os.O_CLOEXEC)
        try:
            return native.map_file(fd, os.fstat(fd).st_size, writable)
        finally:
            os.close(fd)

    def table(self, writable: bool = False) -> tuple[native.Memory, native.Table]:
        """The cache. Read-only, its get() must not be called: it notes the hit. Failed when it is another build's."""
        memory = self.map("cache", writable)
        reason = native.table_check(memory)
        if reason:
            raise Failed(f"{self.run_dir}/cache: expected this version's cache, got one {reason}; restart the service")
        return memory, native.Table(memory)

    def counters(self) -> native.Memory:
        """Failed when they are another build's, or of fewer workers than the status has."""
        memory, size = self.map("counters"), native.counters_size(len(self.status["workers"]) + 1)  # and the canary
        reason = f"{memory.size} octets instead of {size}" if memory.size < size else check_counters(memory)
        if reason:
            raise Failed(f"{self.run_dir}/counters: expected this version's, got {reason}; restart the service")
        return memory

    def flushed(self) -> int:
        """When the cache was last flushed, ms of CLOCK_BOOTTIME: what was inserted until then is dead. 0 = never."""
        with open(f"{self.run_dir}/cache", "rb") as file:
            file.seek(FLUSHED_AT)
            return int.from_bytes(file.read(8), sys.byteorder)


def find(source: Source) -> Service:
    """The service of `source`, running or crashed. Failed when there is none, or it is not this user's."""
    run_dir = source.run_dir()
    where = f"{run_dir}/status.json"
    try:
        owner = os.stat(run_dir).st_uid
        if owner != os.geteuid():
            raise Failed(f"{run_dir}: expected to run as its owner, uid {owner}, got uid {os.geteuid()}; use sudo")
        return Service(run_dir, read_status(run_dir))
    except FileNotFoundError:
        start = "nodedns run --example" if source.example else "systemctl start nodedns"
        raise Failed(f"not running: expected {where}, got no such file; start it: {start}") from None


def read_status(run_dir: str) -> dict[str, Any]:
    """status.json, which the parent replaces as a whole. FileNotFoundError; Failed when it is not JSON of that form."""
    where = f"{run_dir}/status.json"
    with open(where, "rb") as file:
        try:
            status = json.load(file)
        except ValueError as error:
            raise Failed(f"{where}: expected JSON, got {error}; restart the service") from error
    if not isinstance(status, dict) or not {"pid", "state", "workers", "reload"} <= status.keys():
        raise Failed(f"{where}: expected the status of this version, got something else; restart the service")
    return status
