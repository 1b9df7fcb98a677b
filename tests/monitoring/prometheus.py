"""A running Prometheus with our scrape job and our rules, at a test's pace: it scrapes and evaluates five times a
second, and an alert waits for 0.4 s where operators let it wait for minutes. Asked through its HTTP API.
"""

import json
import math
import re
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from tests.ports import free_port

FILES = Path(__file__).resolve().parents[2] / "packaging/monitoring"
DEADLINE = 30.0  # seconds for anything that is awaited
EVERY = "200ms"
WAIT = "400ms"
FETCH = "import sys, urllib.request as r; sys.stdout.write(r.urlopen(sys.argv[1]).read().decode())"


class Alert(NamedTuple):
    """One that fires."""

    labels: dict[str, str]
    annotations: dict[str, str]


class Prometheus:
    """Scrapes `targets` under our job; `inside` is a command that puts it somewhere, such as nsenter."""

    def __init__(
        self, home: Path, targets: Sequence[str] = (), *, every: str = EVERY, inside: Sequence[str] = ()
    ) -> None:
        self.home, self.every, self.port, self.inside = home, every, free_port(), inside
        self.spare = [*targets]  # those that no test has taken
        home.mkdir(exist_ok=True)
        rules = (FILES / "nodedns.rules.yml").read_text()
        (home / "rules.yml").write_text(re.sub(r"\bfor: \d+m\b", f"for: {WAIT}", rules))
        self.write(targets)
        command = [*inside, "prometheus", f"--config.file={home}/prometheus.yml", f"--storage.tsdb.path={home}/data"]
        command += [f"--web.listen-address=127.0.0.1:{self.port}", "--log.level=warn"]
        self.log = (home / "log").open("w+")
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log)
        self.await_(self.ready, "ready")

    def write(self, targets: Sequence[str]) -> None:
        """The config: the job as it is shipped, for these targets."""
        job = (FILES / "prometheus.yml").read_text()
        job = re.sub(r"targets: .*", f"targets: {json.dumps([*targets])}", job)
        job = job.replace("scrape_interval: 10s", f"scrape_interval: {self.every}")
        job = job.replace("scrape_timeout: 5s", f"scrape_timeout: {self.every}")
        rules = f"global: {{evaluation_interval: {self.every}}}\nrule_files: [rules.yml]\n"
        (self.home / "prometheus.yml").write_text(rules + job)

    def fetch(self, path: str) -> str:
        """What it answers, from where it runs.

        Raises:
            OSError: it does not.
        """
        url = f"http://127.0.0.1:{self.port}{path}"
        if not self.inside:
            with urllib.request.urlopen(url, timeout=DEADLINE) as reply:
                return str(reply.read().decode())
        asked = [*self.inside, sys.executable, "-c", FETCH, url]
        done = subprocess.run(asked, capture_output=True, text=True, check=False)
        if done.returncode:
            raise OSError(done.stderr)
        return done.stdout

    def get(self, path: str, **words: str) -> Any:
        """What the API says."""
        return json.loads(self.fetch(f"/api/v1/{path}?{urllib.parse.urlencode(words)}"))["data"]

    def ready(self) -> bool:
        """Does it answer?"""
        try:
            return bool(self.fetch("/-/ready"))
        except OSError:
            return False

    def query(self, expr: str) -> list[float]:
        """An expression's values at this moment; what is not a number is no value."""
        found = self.get("query", query=expr)["result"]
        values = (float(series["value"][1]) for series in found)
        return [value for value in values if not math.isnan(value)]

    def up(self) -> list[str]:
        """Targets whose last scrape went well."""
        return [t["labels"]["instance"] for t in self.get("targets")["activeTargets"] if t["health"] == "up"]

    def firing(self) -> list[Alert]:
        """The alerts that fire."""
        alerts = self.get("alerts")["alerts"]
        return [Alert(one["labels"], one["annotations"]) for one in alerts if one["state"] == "firing"]

    def await_(self, there: Callable[[], Any], what: str) -> None:
        """Asks again and again."""
        ends = time.monotonic() + DEADLINE
        while not there():
            assert self.process.poll() is None, f"Prometheus ended: {self.tail()}"
            assert time.monotonic() < ends, f"Prometheus is not {what}: {self.tail()}"
            time.sleep(0.02)  # between two questions

    def tail(self) -> str:
        """What it logged."""
        self.log.seek(0)
        return self.log.read()[-3000:]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        self.process.kill()
        self.process.wait()
        self.log.close()
