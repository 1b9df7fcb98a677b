"""A running nodedns, its upstream and its load, as context managers. Each tells by a line or a file when it is there:
nothing sleeps.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from nodedns import native
from nodedns.core.figures import Figures, figures
from nodedns.supervisor.memory import counters_mark
from nodedns.supervisor.rows import load
from tests.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
DEADLINE = 20.0  # seconds for anything that is awaited


class Child:
    """A process of ours that talks by lines; `inside` is a command that puts it somewhere, such as nsenter."""

    def __init__(self, *args: object, inside: Sequence[str] = ()) -> None:
        command = [*inside, sys.executable, *map(str, args)]
        self.process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def line(self) -> str:
        """Its next line.

        Raises:
            ChildProcessError: it ended instead; it is reaped, because a constructor that fails has nobody to do so.
        """
        assert self.process.stdout is not None
        text = self.process.stdout.readline()
        if not text:
            self.process.communicate()
            raise ChildProcessError(f"{self.process.args} ended with {self.process.returncode}")
        return text.strip()

    def say(self, text: str) -> None:
        """A line to it."""
        assert self.process.stdin is not None
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def end(self) -> str:
        """Ends its stdin; the rest of what it says."""
        out, _ = self.process.communicate(timeout=DEADLINE)
        return out

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        self.process.kill()
        self.process.communicate()


class Authority(Child):
    """tests.service.authority."""

    def __init__(self, inside: Sequence[str] = (), port: int = 0, address: str = "127.0.0.1") -> None:
        super().__init__("-m", "tests.service.authority", port, address, inside=inside)
        self.port = int(self.line())

    def asked(self, command: str = "count") -> dict[str, int]:
        """How often each name was asked; "go" also answers the slow ones."""
        self.say(command)
        pairs = (pair.split("=") for pair in self.line().split())
        return {text(bytes.fromhex(name)): int(n) for name, n in pairs}


def text(name: bytes) -> str:
    """Wire form -> dots."""
    labels, at = [], 0
    while name[at]:
        labels.append(name[at + 1 : at + 1 + name[at]].decode())
        at += 1 + name[at]
    return ".".join(labels)


class Load(Child):
    """tests.service.load, or one with the same words and another program."""

    def __init__(
        self, port: int, rate: int, unique: int = 0, *, address: str = "127.0.0.1", inside: Sequence[str] = ()
    ) -> None:
        super().__init__("-m", "tests.service.load", port, rate, unique, address, inside=inside)
        assert self.line() == "on", "the load got no answer"

    def stop(self) -> None:
        """It sends no more; its stragglers may still come while others are asked for their verdict."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.stdin = None  # else communicate() would close it again

    def verdict(self) -> dict[str, float]:
        """Ends it; its account."""
        result: dict[str, float] = json.loads(self.end())
        print(" ".join(f"{key} {value}" for key, value in result.items()))
        return result


class TcpLoad(Load):
    """tests.service.load_tcp."""

    def __init__(self, port: int, rate: int, *, address: str, inside: Sequence[str] = ()) -> None:
        Child.__init__(self, "-m", "tests.service.load_tcp", port, rate, address, inside=inside)
        assert self.line() == "on", "the load got no answer"


def keeps_its_code(fds: Path) -> bool:
    """Has the parent, of /proc/PID/fd, a file of its own with all of its code? It writes to none any more then."""
    for fd in fds.iterdir():
        with suppress(FileNotFoundError):
            if os.readlink(fd).endswith("/code (deleted)"):
                flags = re.search(r"flags:\s+(\d+)", (fds.parent / "fdinfo" / fd.name).read_text())
                return flags is not None and int(flags[1], 8) & os.O_ACCMODE == os.O_RDONLY
    return False


class Service:
    """`nodedns run` on a loopback port, with its own run_dir."""

    def __init__(
        self,
        home: Path,
        upstream: int,
        *,
        workers: int = 2,
        transport: str = "udp",
        forward: tuple[int, ...] = (),
        policy: str = "random",
        metrics: str = "",
        extra: str = "",
        code: Path = ROOT,
    ) -> None:
        self.home, self.port, self.scraped, self.workers = home, free_port(), free_port(), workers
        self.run_dir, self.code = home / "run", code
        self.config = home / "nodedns.toml"
        self.transport, self.policy = transport, policy
        self.metrics = metrics if "listen" in metrics else f'listen = "127.0.0.1:{self.scraped}"\n{metrics}'
        self.forward = [f"127.0.0.1:{port}" for port in forward or (upstream,)]
        self.write(upstream, extra)
        self.log = (home / "log").open("a+")
        self._start()

    def _start(self) -> None:
        command = [sys.executable, "-m", "nodedns", "run", "--config", str(self.config)]
        self.process = subprocess.Popen(command, cwd=self.code, stdout=self.log, stderr=self.log)
        self.await_(lambda: self.status().get("state") == "READY", "ready")

    def restart(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Ends the parent, and begins another one on the same run directory."""
        self.process.send_signal(how)
        self.process.wait(DEADLINE)
        (self.run_dir / "status.json").unlink(missing_ok=True)
        self._start()

    def write(self, upstream: int, extra: str = "") -> None:
        """The config file."""
        self.config.write_text(
            f'[cluster]\ndns = "127.0.0.1:{upstream}"\n'
            f'[node]\nlisten = ["127.0.0.1:{self.port}"]\nworkers = {self.workers}\nrun_dir = "{self.run_dir}"\n'
            f'[cache]\nsize = "8MiB"\n[metrics]\n{self.metrics}'
            f'[[zone]]\nname = "."\nforward = {self.forward}\n'
            f'transport = "{self.transport}"\npolicy = "{self.policy}"\n'
            "success = { max_ttl = 600 }\n" + extra
        )

    def await_(self, there: Any, what: str) -> None:
        """Polls a file of the service: there is no other way to be told from outside."""
        ends = time.monotonic() + DEADLINE
        while not there():
            assert self.process.poll() is None, f"nodedns ended: {self.tail()}"
            assert time.monotonic() < ends, f"nodedns is not {what}: {self.tail()}"
            os.sched_yield()

    def tail(self) -> str:
        """What it logged."""
        self.log.seek(0)
        return self.log.read()[-3000:]

    def status(self) -> dict[str, Any]:
        """status.json, {} while there is none."""
        try:
            found: dict[str, Any] = json.loads((self.run_dir / "status.json").read_text())
        except (OSError, ValueError):
            return {}
        return found

    def pids(self) -> dict[int, int]:
        """Slot -> pid of the workers that serve."""
        return {w["slot"]: w["pid"] for w in self.status().get("workers", ()) if w["pid"] and w["state"] == "SERVING"}

    @contextmanager
    def keeping_its_workers(self, again: Callable[[], object]) -> Iterator[None]:
        """No worker ends meanwhile. One that was killed because it hung may have been starved by the machine, and what
        makes one hang makes the next one hang: then all of it is done `again`."""
        pids = self.pids()
        yield
        if self.pids() != pids:
            said = (self.home / "log").read_text()
            hung = re.findall(r"(worker \d+ \(pid \d+\)) hangs: SIGKILL", said)
            ended = re.findall(r"(worker \d+ \(pid \d+\)) ended", said)
            assert ended == hung, said
            self.await_(lambda: len(self.pids()) == self.workers, "whole again")
            pids = self.pids()
            again()
            assert self.pids() == pids, self.tail()

    def map(self, name: str) -> native.Memory:
        """One of the service's files."""
        fd = os.open(self.run_dir / name, os.O_RDWR)
        try:
            return native.map_file(fd, os.fstat(fd).st_size, True)
        finally:
            os.close(fd)

    def counters(self) -> dict[str, int]:
        """Totals of all slots, the canary's included."""
        return native.read_counters(self.map("counters"), self.workers + 1)

    def late(self) -> int:
        """Attempts whose time was over, each of which may have made an upstream be asked once more for one question:
        on a slow machine a true answer may take so long."""
        counters = self.counters()
        return counters["upstream_timeouts"] + counters["hedged"]

    def rows(self, zone: str = ".") -> list[Figures]:
        """What is counted of a zone, one for each address and zone of that name."""
        counters = self.map("counters")
        names = load(f"{self.run_dir}/rows.json", counters_mark(counters)).rows
        numbers = [number for number, name in enumerate(names) if name and name[1] == zone]
        return [figures(native.read_row(counters, self.workers + 1, number), native.ROW) for number in numbers]

    def reload(self) -> dict[str, Any]:
        """SIGHUP; the verdict in status.json."""
        before = self.status()["reload"]["count"]
        self.process.send_signal(signal.SIGHUP)
        self.await_(lambda: self.status().get("reload", {}).get("count", before) > before, "through with the reload")
        verdict: dict[str, Any] = self.status()["reload"]
        return verdict

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        self.process.terminate()
        try:
            self.process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()
