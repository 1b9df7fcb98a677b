"""Processes under test: start one on a CPU, wait for its first answer, read its cost from /proc, stop it."""

import os
import re
import select
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

TICK_US = 1_000_000 / os.sysconf("SC_CLK_TCK")
STOP_DEADLINE = 5.0
# How often a starting server is asked: start-to-ready is known to this grain.
ASK_EVERY = 0.005
# "kubernetes.default.svc.cluster.local A", RD set: a seed name that every server has to fetch from the authority.
READY_QUERY = (
    b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00"
    b"\x0akubernetes\x07default\x03svc\x07cluster\x05local\x00\x00\x01\x00\x01"
)


class BenchError(Exception):
    """Something the bench needs is missing or did not work; the text names it."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident memory of a process tree in KiB: rss counts a shared page in every process, pss once (proc(5)).

    parent is the rss of the first process alone.
    """

    rss: int
    pss: int
    parent: int


class Server:
    """A started server, in a process group of its own; a context manager that ends the whole group."""

    def __init__(
        self, command: Sequence[str], home: Path, port: int, cpu: int, env: Mapping[str, str] | None = None
    ) -> None:
        """Start `command` in `home`, bound to one CPU; its output goes to home/log."""
        self.port, self.log = port, home / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                ["taskset", "-c", str(cpu), *command],
                cwd=home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **(env or {})},
                start_new_session=True,
            )

    def __enter__(self) -> "Server":
        """Nothing more than the start that has happened."""
        return self

    def __exit__(self, *_: object) -> None:
        """SIGTERM to the server, then SIGKILL to whatever is left of its group."""
        self.process.terminate()
        try:
            self.process.wait(STOP_DEADLINE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return  # the usual case: nobody outlived the server

    def await_answer(self, deadline: float) -> float:
        """Ask until an answer without an error comes; return the seconds since the call.

        Raises BenchError, with the end of the server's log, on its death or after `deadline` seconds.
        """
        start = time.monotonic()
        with socket.socket(type=socket.SOCK_DGRAM) as client:
            client.connect(("127.0.0.1", self.port))
            while (waited := time.monotonic() - start) < deadline and self.process.poll() is None:
                if _answers(client):
                    return time.monotonic() - start
        raise BenchError(f"no good answer in {waited:.1f} s: {self.log.read_text(errors='replace')[-400:].strip()}")

    def tree(self) -> list[int]:
        """The server's process and all its descendants now."""
        children: dict[int, list[int]] = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = _stat(stat)
            except (FileNotFoundError, ProcessLookupError):
                continue  # it ended between the listing and the read
            children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
        found = [self.process.pid]
        for pid in found:
            found += children.get(pid, [])
        return found

    def cpu_us(self) -> float:
        """CPU time used so far, user and system, all threads and reaped children included, in microseconds."""
        return sum(sum(map(int, _stat(Path(f"/proc/{pid}/stat"))[11:15])) for pid in self.tree()) * TICK_US

    def memory(self) -> Memory:
        """Resident memory of the tree."""
        texts = [Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in self.tree()]
        rss, pss = ([_kib(key, text) for text in texts] for key in ("Rss", "Pss"))
        return Memory(sum(rss), sum(pss), rss[0])


def cpu_busy_us(cpu: int) -> float:
    """Time one CPU has not been idle since boot, for whomever, in microseconds (proc(5), /proc/stat)."""
    line = next(line for line in Path("/proc/stat").read_text().splitlines() if line.startswith(f"cpu{cpu} "))
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, line.split()[1:9])
    return (user + nice + system + irq + softirq + steal) * TICK_US


def _answers(client: socket.socket) -> bool:
    """Ask once; False after ASK_EVERY seconds, at a closed port, or for an answer with an error code."""
    try:
        client.send(READY_QUERY)
        if not select.select([client], [], [], ASK_EVERY)[0]:
            return False
        answer = client.recv(4096)
    except ConnectionRefusedError:
        time.sleep(ASK_EVERY)
        return False
    return answer[:2] == READY_QUERY[:2] and answer[3] & 0x0F == 0


def _kib(key: str, rollup: str) -> int:
    """One size of a smaps_rollup in KiB; 0 for a process that has no memory left (a zombie's is empty)."""
    found = re.search(rf"^{key}:\s+(\d+) kB", rollup, re.M)
    return int(found[1]) if found else 0


def _stat(path: Path) -> list[str]:
    """The fields of /proc/PID/stat behind the command, which is in brackets and may hold spaces: [0] is the state."""
    return path.read_text().rpartition(")")[2].split()
