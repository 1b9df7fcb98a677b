"""Who knows the answers: a knotd on loopback with the seed's names, the cluster's and a wildcard for misses.

knotd (package `knot`) because it is fast enough to share the client's CPU, speaks UDP and TCP, and counts what reaches
it: that count is how a hit mix is known to be all hits and a miss mix all misses.
"""

import re
import shutil
import subprocess
from pathlib import Path

from tests.bench import mixes
from tests.bench.processes import BenchError, Server
from tests.ports import free_port

# identity and nsid are given because knotd otherwise asks the resolver of the machine for its own name.
CONFIG = """\
server:
    identity: "bench"
    nsid: "bench"
    version: "bench"
    rundir: "{home}"
    listen: 127.0.0.1@{port}
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
    tcp-max-clients: 1000
    tcp-idle-timeout: 60
control:
    listen: "{home}/control"
database:
    storage: "{home}"
log:
  - target: stderr
    any: warning
mod-stats:
  - id: count
    request-protocol: on
template:
  - id: default
    storage: "{home}"
    zonefile-sync: -1
    journal-content: none
    global-module: mod-stats/count
zone:
  - domain: "."
    file: root.zone
  - domain: "cluster.local."
    file: cluster.zone
  - domain: "miss.test."
    file: miss.zone
"""
START_DEADLINE = 10.0
CLUSTER = ".cluster.local"


def zone(apex: str, addresses: dict[str, str]) -> str:
    """One zone file: SOA, NS and an A record for each name. Negative answers live as long (RFC 2308 section 5)."""
    head = [
        f"$TTL {mixes.TTL}",
        f"{apex} SOA ns.bench.test. admin.bench.test. 1 7200 900 1209600 {mixes.TTL}",
        f"{apex} NS ns.bench.test.",
    ]
    return "\n".join(head + [f"{name}. A {address}" for name, address in addresses.items()]) + "\n"


def zones() -> dict[str, str]:
    """File name -> zone text. The seed's bare `kubernetes` has no address here either: NXDOMAIN from the root zone."""
    seed = [name for name in mixes.seed_names() if "." in name]
    names = [name for rank, name in enumerate(mixes.cluster_names(), 1) if not mixes.absent(rank)]
    cluster = {name: f"10.96.{n // 250}.{n % 250 + 1}" for n, name in enumerate(names)}
    cluster |= {name: "10.96.0.1" for name in seed if name.endswith(CLUSTER)}
    outside = {name: f"192.0.2.{n}" for n, name in enumerate(seed, 1) if not name.endswith(CLUSTER)}
    return {
        "root.zone": zone(".", outside),
        "cluster.zone": zone("cluster.local.", cluster),
        "miss.zone": zone("miss.test.", {"*.miss.test": "192.0.2.250"}),
    }


class Authority:
    """A running knotd on a CPU; a context manager that stops it. `port` serves UDP and TCP."""

    def __init__(self, home: Path, cpu: int) -> None:
        """Render the configuration into `home` (made here) and start. Raises BenchError when knotd is not installed."""
        if not shutil.which("knotd"):
            raise BenchError("knotd not found on PATH: the bench needs an authoritative server (apt-get install knot)")
        home.mkdir()
        self.home, self.port = home, free_port()
        (home / "knot.conf").write_text(CONFIG.format(home=home, port=self.port))
        for file, text in zones().items():
            (home / file).write_text(text)
        self.server = Server(["knotd", "-c", str(home / "knot.conf")], home, self.port, cpu)

    def __enter__(self) -> "Authority":
        """Wait for its first answer."""
        try:
            self.server.await_answer(START_DEADLINE)
        except BaseException:
            self.server.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Stop knotd."""
        self.server.__exit__()

    def queries(self) -> int:
        """How many queries have reached it since its start, over UDP and TCP."""
        command = ["knotc", "-s", str(self.home / "control"), "stats", "mod-stats.request-protocol"]
        out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return sum(int(count) for count in re.findall(r"= (\d+)", out))
