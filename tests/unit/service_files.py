"""What a service leaves on disk, made without one: config, status.json, shared files, entries."""

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dnslib import RR, DNSRecord

from nodedns import __version__, native

Verb = Callable[..., tuple[int, str, str]]
GOOD = '[cluster]\ndns = "10.96.0.10"\n[node]\nlisten = "127.0.0.1:5399"\n'
ZONE = '[[zone]]\nname = "."\nforward = "{}"\n'
WORKERS = [{"slot": slot, "pid": 100 + slot, "state": "SERVING", "restarts": slot, "since": 0} for slot in range(2)]


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def write_status(config_file: Path, **changes: Any) -> None:
    """status.json in the run directory beside `config_file`, replaced as a whole as the parent does it."""
    status = {
        "pid": os.getpid(),
        "version": __version__,
        "state": "READY",
        "since": native.now(),
        "listen": ["127.0.0.1:5399"],
        "workers": WORKERS,
        "reload": {"count": 0, "at": 0, "ok": True, "problems": []},
    }
    new = write(config_file.parent / "run" / "new", json.dumps(status | changes))
    new.rename(config_file.parent / "run" / "status.json")


@contextmanager
def held_lock(config_file: Path) -> Iterator[None]:
    """The lock that a living service holds."""
    with (config_file.parent / "run" / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def entry(seed: int, name: str, qtype: str, rdata: str, flags: int = 0) -> bytes:
    """What a worker stores for a reply with one record, for 30 seconds."""
    question = bytes(DNSRecord.question(name, qtype).pack()[12:])
    key = question.lower()[:-4] + question[-4:] + bytes([flags])
    reply = DNSRecord.parse(native.make_query(key, 1)).reply(ra=1, aa=1)
    reply.add_answer(*RR.fromZone(f"{name} 300 IN {qtype} {rdata}"))
    made = native.make_entry(key, bytes(reply.pack()), seed, (30, 0, 30, 0, 5, 7, 1), native.now())
    assert isinstance(made, bytes), f"make_entry refused with verdict {made}"
    return made
