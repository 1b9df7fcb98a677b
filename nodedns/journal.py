"""Events to where a person finds them: journald, with fields, where stderr is its own; else lines on stderr.

The journal's native protocol is one datagram an entry (systemd.io/JOURNAL_NATIVE_PROTOCOL). Nothing here waits: a
journal that stands still must not stop who answers. What came is consolidated (core/consolidate.py); each process
calls take_time() for the lines that tell how many more there were.
"""

import contextlib
import os
import socket
import time
from collections.abc import Iterable

from nodedns.core.consolidate import WINDOW, Consolidator
from nodedns.core.events import EVENTS

SOCKET = "/run/systemd/journal/socket"
LINE = 2000
"""Characters of a line: beyond that it is cut."""


class _Process:
    """What this process has said of late, and who it is: "" is the parent."""

    name = ""
    said = Consolidator()
    lost = 0


def begin(name: str) -> None:
    """In a child, first: what its parent has yet to say is not the child's."""
    _Process.name, _Process.said, _Process.lost = name, Consolidator(), 0


def log(event: str, *lines: str, **fields: object) -> None:
    """Says an event, unless it was said often just now. KeyError for one that core/events.py does not know."""
    key = event, *(str(fields.get(field, "")) for field in EVENTS[event].by)
    if _Process.said.take(key, time.monotonic()):
        _say(event, lines, fields)


def due() -> float | None:
    """When take_time() has something to say, in seconds of the monotonic clock."""
    return _Process.said.due


def take_time(now: float) -> None:
    """Says how many more there were. `now` of infinity: there will be no other call."""
    for (event, *by), more in _Process.said.over(now):
        fields = dict(zip(EVENTS[event].by, by, strict=True))
        whose = "".join(f" ({value})" for value in by if value)
        _say(event, (f"{event}{whose}: {more} more in the last {WINDOW:.0f} s",), {**fields, "more": more})


def _say(event: str, lines: Iterable[str], fields: dict[str, object]) -> None:
    priority = EVENTS[event].priority
    if lost := _Process.lost:
        _Process.lost = 0
        _say("lines_lost", (f"the journal did not take {lost} lines",), {"lines": lost})
        _Process.lost = lost if _Process.lost else 0  # nor this one
    text = [_printable(line) for line in lines]
    if not is_journal():
        _write("".join(f"nodedns: {line}\n" for line in text))
        return
    names = {f"NODEDNS_{name.upper()}": _printable(str(value)) for name, value in fields.items()}
    own = {"NODEDNS_CHILD": _Process.name} if _Process.name else {}
    entry = {"MESSAGE": "\n".join(text), "PRIORITY": str(priority), "NODEDNS_EVENT": event, **names, **own}
    try:
        send(entry)
    except BlockingIOError:
        _Process.lost += len(text)
    except OSError:  # no such socket in here: stderr leads there, too (sd-daemon(3) has its prefix)
        _write("".join(f"<{priority}>{line}\n" for line in text))


def is_journal() -> bool:
    """Is stderr the journal's? So says systemd.exec(5) that one finds out."""
    told = os.environ.get("JOURNAL_STREAM")
    if not told:
        return False
    try:
        found = os.fstat(2)
    except OSError:
        return False
    return told == f"{found.st_dev}:{found.st_ino}"


def send(entry: dict[str, str]) -> None:
    """One entry. OSError as sendto(2): BlockingIOError when the journal has no room, others when it is not there."""
    octets = b"".join(_field(name, value) for name, value in {"SYSLOG_IDENTIFIER": "nodedns", **entry}.items())
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        sock.sendto(octets, socket.MSG_DONTWAIT, SOCKET)


def _field(name: str, value: str) -> bytes:
    data = value.encode(errors="backslashreplace")
    if b"\n" in data:
        return name.encode() + b"\n" + len(data).to_bytes(8, "little") + data + b"\n"
    return name.encode() + b"=" + data + b"\n"


def _printable(line: str) -> str:
    """A name in a message may be anybody's."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in line[:LINE])


def _write(text: str) -> None:
    # Children write to the same stderr: what is within PIPE_BUF is not torn. A closed terminal must not end a service.
    with contextlib.suppress(OSError):
        os.write(2, text.encode(errors="backslashreplace"))
