"""Is there room for cache and workers in the memory that systemd lets the unit have (`MemoryMax=`)?

The cache has all its pages from the start. With too little room the kernel kills the start, or a worker some day, again
and again; an exact refusal is better, and systemd does not try a bad config again.
"""

import os

from nodedns.config import Config, ConfigError
from nodedns.config_values import Problem

MIB = 1 << 20
WORKER, REST = 10 * MIB, 20 * MIB
"""Octets that a worker has for itself, measured, and parent, monitor and libraries together."""
_FILES = (("", "memory.max"), ("memory", "memory.limit_in_bytes"))
"""By the name of the hierarchy: cgroups(7), version 2 and version 1."""


def check(config: Config, allowed: int | None) -> None:
    """ConfigError when the config needs more than `allowed` octets; None is no limit."""
    size, workers = config.cache.size, config.node.workers
    needed = size + workers * WORKER + REST
    if allowed is not None and needed > allowed:
        expected = f"what the unit's MemoryMax of {allowed // MIB} MiB has room for"
        got = f"a cache of {size // MIB} MiB and {workers} workers, which take {needed // MIB} MiB"
        hint = f"systemctl edit nodedns: [Service] MemoryMax={2 * needed // MIB}M, which has room for a reload"
        raise ConfigError(Problem("cache.size", expected, got, hint))


def allowed(proc: str = "/proc/self/cgroup", root: str = "/sys/fs/cgroup") -> int | None:
    """Octets that the kernel lets this process's cgroup have, by the tightest limit on the way to the root."""
    limits = []
    with open(proc, encoding="utf-8", errors="replace") as groups:
        for line in groups:
            _, names, path = line.rstrip("\n").split(":", 2)
            for name, file in _FILES:
                while name in names.split(",") and path not in ("/", ""):
                    limits.append(_limit(f"{root}/{name}{path}/{file}"))
                    path = os.path.dirname(path)
    return min((limit for limit in limits if limit is not None), default=None)


def _limit(path: str) -> int | None:
    """None for "max", for a file that is not there, or one that says what is no number."""
    try:
        with open(path, encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return None
