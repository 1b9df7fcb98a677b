"""One number each: runs dnsperf and the prober, and reads what they print."""

import re
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.bench.processes import BenchError

CODES_THAT_ARE_ANSWERS = frozenset({"NOERROR", "NXDOMAIN"})


@dataclass(frozen=True, slots=True)
class Load:
    """One dnsperf run: counts of queries, run time in seconds, and answers by response code."""

    sent: int
    completed: int
    seconds: float
    codes: dict[str, int]

    @property
    def lost(self) -> int:
        """Queries without an answer within dnsperf's timeout."""
        return self.sent - self.completed

    @property
    def failed(self) -> int:
        """Answers that say neither yes nor no: SERVFAIL, REFUSED and the like."""
        return sum(count for code, count in self.codes.items() if code not in CODES_THAT_ARE_ANSWERS)


@dataclass(frozen=True, slots=True)
class Latency:
    """One prober run: counts, and microseconds from the question's send to its answer's arrival in the kernel."""

    sent: int
    answered: int
    p50_us: float
    p99_us: float


def parse_dnsperf(text: str) -> Load:
    """Read dnsperf's report (2.x). Raises BenchError with the end of the text when it is not one."""
    sent = re.search(r"Queries sent:\s+(\d+)", text)
    completed = re.search(r"Queries completed:\s+(\d+)", text)
    seconds = re.search(r"Run time \(s\):\s+([\d.]+)", text)
    if not (sent and completed and seconds):
        raise BenchError(f"dnsperf: expected a report, got: {text[-300:]!r}")
    line = re.search(r"Response codes:(.*)", text)
    codes = {code: int(count) for code, count in re.findall(r"([A-Z]\w*) (\d+) \(", line[1])} if line else {}
    return Load(int(sent[1]), int(completed[1]), float(seconds[1]), codes)


def parse_prober(text: str) -> Latency:
    """Read the prober's line. Raises BenchError when it is not one."""
    found = re.fullmatch(r"sent (\d+) answered (\d+) p50_us ([\d.]+) p99_us ([\d.]+) max_us [\d.]+\n", text)
    if not found:
        raise BenchError(f"prober: expected its one line, got: {text[-300:]!r}")
    return Latency(int(found[1]), int(found[2]), float(found[3]), float(found[4]))


class Dnsperf:
    """A started dnsperf; `result` waits for its end. A context manager that leaves nothing running."""

    def __init__(self, port: int, file: Path, *options: str) -> None:
        """Start it against 127.0.0.1:port with 16 sockets; a query counts as lost after 1 s and frees its place."""
        fixed = ["dnsperf", "-s", "127.0.0.1", "-p", str(port), "-d", str(file), "-c", "16", "-T", "1", "-t", "1"]
        self.process = subprocess.Popen([*fixed, *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def __enter__(self) -> "Dnsperf":
        """Nothing more than the start that has happened."""
        return self

    def __exit__(self, *_: object) -> None:
        """Kill it if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()

    def result(self) -> Load:
        """Wait for its end and read its report."""
        return parse_dnsperf(self.process.communicate()[0])


def dnsperf(port: int, file: Path, *options: str) -> Load:
    """Run dnsperf to its end."""
    with Dnsperf(port, file, *options) as run:
        return run.result()


def probe(prober: Path, port: int, rate: int, seconds: float, file: Path) -> Latency:
    """Ask at a steady `rate` per second and time each answer."""
    command = [str(prober), "127.0.0.1", str(port), str(rate), str(seconds), str(file)]
    return parse_prober(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def compile_c(source: Path, target: Path) -> Path:
    """Compile one C file of the bench and return `target`. Raises BenchError with the compiler's words."""
    command = ["gcc", "-O2", "-o", str(target), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"{shlex.join(command)} failed: {done.stderr}")
    return target
