"""`nodedns reload`: SIGHUP to the parent, and its verdict."""

import os
import select
import signal
import time
from contextlib import suppress
from typing import Any

from nodedns.verbs.errors import Failed
from nodedns.verbs.files import Source
from nodedns.verbs.service import Service, find, read_status

# A canary and 64 workers that each take their time; one that hangs is given up by the parent after 5 s.
PATIENCE = 30.0
# The verdict is a file; nothing wakes us when it changes, and an operator does not notice this delay.
LOOK_EVERY_MS = 20


def reload(source: Source) -> int:
    """Asks for a reload, waits for its end, prints the verdict. 0: every worker runs the new config; 1: none does."""
    service = find(source)
    before = service.status["reload"]["count"]
    pid = service.status["pid"]
    try:
        parent = os.pidfd_open(pid)
    except ProcessLookupError:
        raise Failed(f"not running: pid {pid} of {service.run_dir}/status.json is gone") from None
    try:
        # The lock is looked at after the pidfd was taken: held now, the pid cannot have passed to another process.
        if not service.alive:
            raise Failed(f"not running: nobody holds {service.run_dir}/lock; see the journal for why it ended")
        signal.pidfd_send_signal(parent, signal.SIGHUP)
        verdict = _wait(service, before, parent)
    finally:
        os.close(parent)
    if verdict["ok"]:
        print("reloaded: every worker runs the new config")
        return 0
    print("refused: the old config is still served", *verdict["problems"], sep="\n  ")
    return 1


def _wait(service: Service, before: int, parent: int) -> dict[str, Any]:
    poller = select.poll()
    poller.register(parent, select.POLLIN)
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with suppress(FileNotFoundError):  # a stop removes it
            verdict: dict[str, Any] = read_status(service.run_dir)["reload"]
            if verdict["count"] != before:
                return verdict
        if poller.poll(LOOK_EVERY_MS):
            raise Failed("the service ended during the reload; see the journal")
    raise Failed(f"no verdict within {PATIENCE:.0f} s; see the journal, and `nodedns status` later")
