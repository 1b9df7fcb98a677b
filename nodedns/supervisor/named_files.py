"""The files that the config names, resolv.conf files and the hosts file: a change of one is a reload.

They are looked at, not listened to: some are replaced by rename, some are links into /run that come and go, and two
system calls a file every other second cost less than to follow all that.
"""

import math
import os
import time
from typing import NamedTuple
from zlib import crc32

from nodedns.config import RESOLVED, Config
from nodedns.journal import log

EVERY = 2.0
"""Seconds between looks."""

MAX_READ = 1 << 20
"""Octets that are compared: as much as a config may take from such a file."""


class _Look(NamedTuple):
    """`stat` tells cheaply that nothing was written, `content` whether what was written is another text. None, zero:
    there is no such file."""

    stat: tuple[int, int, int] | None
    content: int


class NamedFiles:
    """`due` is when to look again, in seconds of the monotonic clock; never, when there is none."""

    def __init__(self, config: Config) -> None:
        self._seen: dict[str, _Look] = {}
        self.follow(config)

    def follow(self, config: Config) -> None:
        """The files that `config` names from now on; one known before keeps its look: it may have changed since it was
        read."""
        folder = config.config_map
        named = [
            *(zone.resolv_conf for zone in config.zones),
            *(zone.tls.ca for zone in config.zones),
            config.node.hosts,
        ]
        named += [f"{folder}/{name}" for name in ("stubDomains", "upstreamNameservers") if folder]
        named += [RESOLVED if "/etc/resolv.conf" in named else None]
        self._seen = {path: self._seen.get(path) or _look(path) for path in named if path}
        self.due = time.monotonic() + EVERY if self._seen else math.inf

    def changed(self, now: float) -> bool:
        """Has one of them another content than at the last look? False when it is not time yet."""
        if now < self.due:
            return False
        self.due = now + EVERY
        looks = {path: _look(path, before) for path, before in self._seen.items()}
        different = [path for path, look in looks.items() if look.content != self._seen[path].content]
        self._seen = looks
        if different:
            log("file_changed", f"{', '.join(different)} has changed", file=", ".join(different))
        return bool(different)


def _look(path: str, before: _Look | None = None) -> _Look:
    try:
        # not blocking: a FIFO in its place must not stop the parent
        with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
            found = os.fstat(file.fileno())
            stat = found.st_ino, found.st_size, found.st_mtime_ns
            if before and before.stat == stat:
                return before
            return _Look(stat, crc32(file.read(MAX_READ)) + 1)  # an empty file is not a missing one
    except OSError:
        return _Look(None, 0)
