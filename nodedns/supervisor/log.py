"""Lines for a person: an event that somebody must know of, to stderr, one write(2) each."""

import contextlib
import os

# syslog(3)'s priorities, which systemd reads from the front of a line (sd-daemon(3)).
ERROR = 3
WARNING = 4
NOTICE = 5
INFO = 6


def log(level: int, message: str) -> None:
    """Writes one line. Children write to the same stderr: a line within PIPE_BUF is not torn."""
    # Set by systemd where stderr is the journal's; a terminal has no use for the number (systemd.exec(5)).
    prefix = f"<{level}>" if "JOURNAL_STREAM" in os.environ else "nodedns: "
    line = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in message)
    # A closed terminal or a full journal must not end a service.
    with contextlib.suppress(OSError):
        os.write(2, f"{prefix}{line}\n".encode(errors="backslashreplace"))
