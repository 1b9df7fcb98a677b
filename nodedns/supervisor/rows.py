"""The names of the counters' rows, kept in rows.json beside the counters they belong to."""

import json
import os
from typing import Any

from nodedns import native
from nodedns.config import Config
from nodedns.core.rows import Place, Rows, placed, wanted
from nodedns.supervisor.errors import HostError
from nodedns.supervisor.memory import counters_mark


class RowNames:
    """Of one service. `now` is what stands in the file."""

    def __init__(self, run_dir: str, counters: native.Memory, slots: int) -> None:
        # Names of other counters are of no use.
        self._path, self._counters, self._slots = f"{run_dir}/rows.json", counters, slots
        self._mark = counters_mark(counters)
        self.now = load(self._path, self._mark)

    def place(self, config: Config, running: Config) -> None:
        """Gives what `config` names its rows, before anybody counts there; those of `running` stay.

        HostError when they cannot be written.
        """
        rows, upstreams = wanted(config)
        kept_rows, kept_upstreams = wanted(running)
        new_rows, fresh_rows = placed(self.now.rows, rows, kept_rows, native.ROWS)
        new_upstreams, fresh_upstreams = placed(self.now.upstreams, upstreams, kept_upstreams, native.UPSTREAMS)
        if not fresh_rows and not fresh_upstreams:
            return
        for number in fresh_rows:
            native.clear_row(self._counters, self._slots, number)
        for number in fresh_upstreams:
            native.clear_upstream(self._counters, self._slots, number)
        try:
            self._write({"mark": self._mark, "rows": new_rows, "upstreams": new_upstreams})
        except OSError as error:
            raise HostError(f"{self._path}: {error.strerror}; check node.run_dir") from error
        self.now = Rows(new_rows, new_upstreams)

    def _write(self, content: dict[str, Any]) -> None:
        fd = os.open(f"{self._path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(fd, "w", encoding="utf-8") as file:
            json.dump(content, file)
        os.rename(f"{self._path}.new", self._path)


def load(path: str, mark: str) -> Rows:
    """The names in a file, if they belong to the counters that `mark` tells from others; else none."""
    try:
        with open(path, "rb") as file:
            found = json.load(file)
        if found["mark"] == mark:
            return Rows(_place(found["rows"], native.ROWS), _place(found["upstreams"], native.UPSTREAMS))
    except (OSError, ValueError, TypeError, KeyError):
        pass
    return Rows()


def _place(found: list[list[str] | None], size: int) -> Place:
    """Names as JSON has them. TypeError when they are none."""
    return tuple(None if name is None else tuple(map(str, name)) for name in found[:size])
