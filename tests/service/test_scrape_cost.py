"""What a scrape costs the monitor at 50 zones and two addresses, every one of them in use."""

import socket
import time
from pathlib import Path

import dnslib

from tests.service.scraper import get, samples
from tests.service.service import Authority, Service

ZONES = 46
"""Beside the four that everybody has."""
SCRAPES = 16
MOST = 0.005
USUAL = 0.0054
"""What yardstick() takes on the machine on which a scrape must cost at most MOST: on another one both take as much
longer."""
APART = 0.3
"""Seconds: a page that is younger than 0.25 s is given again."""


def cpu(pid: int) -> float:
    """Seconds of a process so far, to the nanosecond."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def yardstick() -> float:
    """Seconds of CPU for work that is always the same, and of a scrape's kind: numbers and bytes in Python."""
    began = time.thread_time()
    for _ in range(50):
        b"".join(b"%d\n" % number for number in range(1000))
    return time.thread_time() - began


def ask_all(service: Service, names: list[str]) -> None:
    """Each name at each address over UDP."""
    for address in ("127.0.0.1", "127.0.0.2"):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(5)
            sock.connect((address, service.port))
            for name in names:
                sock.send(bytes(dnslib.DNSRecord.question(name).pack()))
                sock.recv(4096)


def test_five_milliseconds(tmp_path: Path, authority: Authority) -> None:
    """All rows change between two scrapes: nothing of the last page can be used again."""
    zones = [f"z{number}.test" for number in range(ZONES)]
    blocks = (f'[[zone]]\nname = "{zone}"\nforward = ["127.0.0.1:{authority.port}"]\n' for zone in zones)
    names = [f"a.{zone}" for zone in (*zones, "cluster.local", "in-addr.arpa", "ip6.arpa", "example")]
    (tmp_path / "nodedns.d").mkdir()
    with Service(tmp_path, authority.port) as service:
        listen = f'node.listen = ["127.0.0.1:{service.port}", "127.0.0.2:{service.port}"]\n'
        (tmp_path / "nodedns.d/10.toml").write_text(listen + "".join(blocks))
        service.restart()
        ask_all(service, names)
        service.await_(lambda: get(service, "/ready")[0] == 200, "ready")
        pid = service.status()["monitor"]["pid"]
        began, idle = time.monotonic(), cpu(pid)
        while time.monotonic() < began + 2:
            time.sleep(0.1)  # the measurement: what it costs unasked
        rest = (cpu(pid) - idle) / (time.monotonic() - began)
        costs, sticks = [], []
        for _ in range(SCRAPES):
            ask_all(service, names)
            time.sleep(APART)
            sticks.append(yardstick())
            began, before = time.monotonic(), cpu(pid)
            text = get(service)[1]
            costs.append(cpu(pid) - before - rest * (time.monotonic() - began))
        answered = samples(service)
    counted = {dict(labels)["zone"] for name, labels in answered if name == "coredns_dns_requests_total"}
    assert len(counted) == ZONES + 4
    costs.sort()
    best, middle, worst = (f"{costs[at] * 1000:.1f} ms" for at in (0, SCRAPES // 2, -1))
    each = f"{best} at best, {middle} in the middle, {worst} at worst"
    slower = sorted(sticks)[SCRAPES // 2] / USUAL
    print(f"{len(text) >> 10} KiB, {text.count(chr(10))} lines: {each}; without scrapes {rest * 1000:.1f} ms a second")
    print(f"this machine takes {slower:.2f} times as long as the one the bound is for")
    assert costs[SCRAPES // 2] <= MOST * slower
