"""`run` and the verbs beside it, as an operator types them: a real service on a free port of loopback."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from service_files import Verb, write

from tests.ports import free_port

PATIENCE = 60.0  # of a test, for what takes a fraction of a second
CONFIG = """
[cluster]
dns = "127.0.0.1:9"
[node]
listen = "127.0.0.1:{port}"
workers = {workers}
run_dir = "{run_dir}"
[cache]
size = "1MiB"
[metrics]
listen = "none"
[[zone]]
name = "."
forward = "127.0.0.1:9"
"""


class Service:
    """`nodedns run --config FILE`, ready when built."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.run_dir = folder / "run"
        self.file = folder / "nodedns.toml"
        self.configure()
        # As systemd does: an abstract socket, because a path here may be too long for sun_path (unix(7)).
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
            notified.bind("")
            name = notified.getsockname().decode().replace("\0", "@")
            command = [sys.executable, "-m", "nodedns", "run", "--config", str(self.file)]
            self.process = subprocess.Popen(
                command, env=os.environ | {"NOTIFY_SOCKET": name}, stderr=subprocess.PIPE, text=True
            )
            notified.settimeout(PATIENCE)
            while b"READY=1" not in notified.recv(4096):
                pass

    def configure(self, workers: int = 1) -> None:
        write(self.file, CONFIG.format(port=self.port, workers=workers, run_dir=self.run_dir))

    def verb(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "nodedns", *words, "--config", str(self.file)]
        return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)

    def status(self) -> dict[str, object]:
        report: dict[str, object] = json.loads(self.verb("status", "--json").stdout)
        return report


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    service = Service(tmp_path)
    yield service
    service.process.terminate()
    service.process.communicate(timeout=PATIENCE)


def test_life_of_a_service(service: Service) -> None:
    """It serves until SIGTERM, ends with 0, and leaves nothing in its run directory."""
    assert service.verb("status").stdout.startswith("nodedns 0.")
    assert service.status()["state"] == "READY"
    service.process.send_signal(signal.SIGTERM)
    assert service.process.wait(PATIENCE) == 0
    assert list(service.run_dir.iterdir()) == []
    after = service.verb("status")
    assert (after.returncode, "not running" in after.stderr) == (1, True)


def test_query_is_answered_and_counted(service: Service, verb: Verb) -> None:
    """`query` reaches the service, which says why there is no answer; `cache get` then shows the failure it keeps."""
    first = service.verb("query", "a.cluster.local", "--raw")
    assert (first.returncode, "; EDE: " in first.stdout) == (1, True)
    assert first.stderr.startswith("SERVFAIL: a.cluster.local. A ")
    # Here, for a failure is kept for 5 s: a busy machine may not have begun another process by then.
    code, out, _ = verb("cache", "get", "a.cluster.local", "--config", str(service.file))
    assert (code, "kind=failure rcode=SERVFAIL" in out) == (0, True)


def test_reload_takes_a_good_config(service: Service) -> None:
    """After a reload other processes serve, and the cache is the same."""
    before = service.status()
    done = service.verb("reload")
    assert (done.returncode, done.stdout) == (0, "reloaded: every worker runs the new config\n")
    after = service.status()
    assert after["pid"] == before["pid"]
    assert after["workers"] != before["workers"]


def test_reload_refuses_a_bad_config(service: Service) -> None:
    """A file with problems is refused with each of them, and the same workers go on."""
    before = service.status()["workers"]
    service.file.write_text(service.file.read_text().replace('dns = "', 'dsn = "'))
    refused = service.verb("reload")
    assert (refused.returncode, refused.stderr) == (1, "")
    assert f"  {service.file}: cluster.dsn: expected a known key" in refused.stdout
    report = service.status()
    assert report["workers"] == before
    assert f"{service.file}: cluster.dsn: expected a known key" in str(report["reload"])


def test_reload_refuses_a_restart_key(service: Service) -> None:
    """What cannot change while the service runs is refused by name."""
    service.configure(workers=2)
    refused = service.verb("reload")
    assert (refused.returncode, "node.workers" in refused.stdout) == (1, True)


def test_second_instance_is_refused(service: Service) -> None:
    """A second `run` on the same run directory ends with 1 and one line that names the first."""
    second = service.verb("run")
    assert (second.returncode, second.stderr.count("\n")) == (1, 1)
    assert f"pid {service.process.pid}" in second.stderr
