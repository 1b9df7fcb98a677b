"""docs/dashboard.png: our dashboard, as it shows three minutes of a real service under load to a real Prometheus.

python -m tests.monitoring.render [FILE]        needs matplotlib (the extra `bench`)

In the first minute a worker is killed each second for ten seconds, in the second one of two upstreams is stopped for
half a minute, in the third a reload is refused and another taken.
"""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.bench.measure import Dnsperf
from tests.monitoring.nodes import Watched
from tests.monitoring.picture import draw
from tests.monitoring.prometheus import FILES, Prometheus
from tests.ports import free_port
from tests.service.service import ROOT, Authority, TcpLoad
from tests.service.test_drills import kill_one

SECONDS = 180
RATE = 1000
CLUSTER = """\
kubernetes.default.svc.cluster.local A
kubernetes.default.svc.cluster.local AAAA
kube-dns.kube-system.svc.cluster.local A
_https._tcp.kubernetes.default.svc.cluster.local SRV
1.0.96.10.in-addr.arpa PTR
"""
CONFIG = """
[[zone]]
name = "."
success.max_ttl = 20
[[zone]]
name = "cluster.local"
forward = "127.0.0.1:{port}"
transport = "udp"
[[zone]]
name = "in-addr.arpa"
forward = "127.0.0.1:{port}"
transport = "udp"
"""


@contextmanager
def cluster() -> Iterator[int]:
    """The example cluster; its port."""
    command = [sys.executable, "-m", "nodedns.example.server", "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        try:
            yield int(child.stdout.readline().split("port ")[1].split(",")[0])
        finally:
            child.kill()


def questions(home: Path) -> Path:
    """What pods ask: the cluster's names, a search list's detours, names from outside, most of them again and again."""
    outside = "".join(f"n{n}.load.test A\n" for n in range(100))
    detours = "".join(f"n{n}.load.test.default.svc.cluster.local A\n" for n in range(20))
    rare = "".join(f"u{n}.load.test A\nxu{n}.load.test AAAA\n" for n in range(2000))
    file = home / "questions"
    lines = ((CLUSTER * 20 + outside + detours) * 100 + rare).splitlines(keepends=True)
    random.Random(1).shuffle(lines)
    file.write_text("".join(lines))
    return file


def happen(service: Watched, upstream: Authority, begin: float) -> None:
    """What is described above, and the rest of the time."""

    def until(second: int) -> None:
        time.sleep(max(0.0, begin + second - time.time()))  # the picture's time passes

    for second in range(30, 40):
        until(second)
        kill_one(service)
    until(75)
    os.kill(upstream.process.pid, signal.SIGSTOP)
    until(105)
    os.kill(upstream.process.pid, signal.SIGCONT)
    until(135)
    good = service.config.read_text()
    service.config.write_text("[cluster]\n")
    service.reload()
    until(150)
    service.config.write_text(good)
    service.reload()
    until(SECONDS)


def main(file: Path) -> None:
    """Runs it and draws."""
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        prometheus = stack.enter_context(Prometheus(home / "p", [f"127.0.0.1:{free_port()}"], every="1s"))
        first, second = stack.enter_context(Authority()), stack.enter_context(Authority())
        (home / "s").mkdir()
        extra = CONFIG.format(port=stack.enter_context(cluster()))
        forward = (first.port, second.port)
        service = stack.enter_context(Watched(home / "s", first.port, prometheus, extra, forward=forward))
        stack.enter_context(TcpLoad(service.port, 100, address="127.0.0.1"))
        options = ["-Q", str(RATE), "-l", str(SECONDS + 20)]
        stack.enter_context(Dnsperf(service.port, questions(home), *options))
        begin = time.time() + 10
        happen(service, second, begin)
        dashboard = json.loads((FILES / "nodedns.grafana.json").read_text())
        draw(prometheus, dashboard, (begin, begin + SECONDS), 1.0, file)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else ROOT / "docs/dashboard.png")
