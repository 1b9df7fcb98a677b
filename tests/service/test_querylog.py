"""The query log of a running service: what is in it, what is not, and that no other line names a client or a name."""

import re
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import dnslib
import pytest

from tests.service.service import DEADLINE, Authority, Service
from tests.service.test_metrics import get

START = Callable[[str], Service]


@pytest.fixture
def start(tmp_path: Path, authority: Authority) -> Iterator[START]:
    """Starts a service with a [log] table."""
    running = []

    def run(log: str) -> Service:
        running.append(Service(tmp_path, authority.port, extra=f"[log]\n{log}\n"))
        return running[-1]

    yield run
    for service in running:
        service.__exit__(None, None, None)


def ask(service: Service, *names: str | bytes, qtype: int = 1) -> None:
    """Each name once, by its own client; the answer is awaited. Octets are a name in wire form."""
    for name in names:
        packet = bytes(dnslib.DNSRecord.question("x.test", "A").pack())
        question = dnslib.DNSLabel(name).label if isinstance(name, str) else ()
        wire = name if isinstance(name, bytes) else b"".join(bytes([len(x)]) + x for x in question) + b"\0"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(DEADLINE)
            sock.connect(("127.0.0.1", service.port))
            sock.send(packet[:12] + wire + qtype.to_bytes(2) + b"\0\1")
            sock.recv(4096)


def reload(service: Service) -> None:
    """Takes the config anew; the monitor follows behind the verdict."""
    before = service.status()["monitor"]["pid"]
    assert service.reload()["ok"], service.tail()

    def followed() -> bool:
        now = service.status()["monitor"]
        return now["pid"] not in (None, before) and now["state"] == "SERVING"

    service.await_(followed, "followed by its monitor")


def lines(service: Service) -> list[str]:
    """The query log so far."""
    return [line for line in (service.home / "log").read_text().splitlines() if line.startswith("[INFO] ")]


def awaited(service: Service, name: str, count: int = 1) -> list[str]:
    """The lines with a name, once there are so many."""
    service.await_(lambda: sum(f" {name} " in line for line in lines(service)) >= count, f"logging {name}")
    return [line for line in lines(service) if f" {name} " in line]


def test_all(start: START) -> None:
    """A miss and each hit, with what the client asked; a hostile name is escaped; probes are not in it."""
    service = start('queries = "all"\nrate = 1000')
    ask(service, "a.test", *["A.test"] * 20)
    found = awaited(service, "a.test.", 21)
    assert len(found) == 21
    for line in found:
        assert line.startswith("[INFO] 127.0.0.1:")
        assert '"A IN a.test. udp 24 false 512" NOERROR qr' in line
        assert line.endswith("s")  # each is its own
    ask(service, b'\x0a"\x1b[2J\n\\. \xff\x04test\0')
    (hostile,) = awaited(service, "\\034\\027[2j\\010\\\\\\.\\032\\255.test.")
    assert hostile.isprintable()
    assert hostile.count('"') == 2
    assert not any("invalid." in line for line in lines(service))
    service.await_(lambda: "nodedns_querylog_lines_total 22\n" in get(service)[1], "counting its lines")
    assert "nodedns_querylog_dropped_total 0\n" in get(service)[1]


def test_sample(start: START) -> None:
    """Every miss; of hits enough to stand for all of them."""
    service = start('queries = "sample"\nrate = 100000')
    before = probes(service)
    service.await_(lambda: probes(service) > before, "probed")  # a batch with a probe in it keeps that as its sample
    ask(service, "a.test", "b.test", *["a.test"] * 30)
    service.await_(lambda: stood_for(service, "a.test.") == 31, "logging the hits")
    assert len(awaited(service, "b.test.")) == 1


def probes(service: Service) -> int:
    """How often the service has been asked by its monitor."""
    found = re.search(r"^coredns_health_request_duration_seconds_count (\d+)", get(service)[1], re.M)
    return int(found[1]) if found else 0


def stood_for(service: Service, name: str) -> int:
    found = [line.rpartition(" x") for line in lines(service) if f" {name} " in line]
    return sum(int(weight) if head else 1 for head, _, weight in found)


def test_filters_and_reload(start: START, authority: Authority) -> None:
    """Zones, rcodes and clients, each of which a reload changes."""
    service = start('queries = "all"\nzones = ["b.test"]')
    ask(service, "a.test", "x.b.test", "b.test")
    awaited(service, "b.test.")
    awaited(service, "x.b.test.")
    for log, there in (
        ('queries = "all"\nrcodes = ["REFUSED"]', b"\x01c\0"),
        ('queries = "all"\nclients = ["127.0.0.0/8"]', b"\x01d\0"),
    ):
        service.write(authority.port, f"[log]\n{log}\n")
        reload(service)
        ask(service, "a.test")
        ask(service, there, qtype=252)  # a transfer is refused
        awaited(service, f"{there[1:2].decode()}.")
    assert len(awaited(service, "a.test.")) == 1  # of 127.0.0.0/8, whatever its rcode
    service.write(authority.port, '[log]\nclients = ["10.0.0.0/8"]\nqueries = "all"\n')
    reload(service)
    before = len(lines(service))
    ask(service, "e.test")
    service.write(authority.port, '[log]\nqueries = "all"\n')
    reload(service)
    ask(service, "f.test")
    awaited(service, "f.test.")
    assert len(lines(service)) == before + 1


def test_bound(start: START) -> None:
    """Lines beyond `rate` are dropped, counted and told."""
    service = start('queries = "all"\nrate = 5')
    began = time.monotonic()
    ask(service, *["a.test"] * 200)
    service.await_(lambda: "are missing in the query log" in service.tail(), "telling of dropped lines")

    def accounted() -> bool:
        text = get(service)[1].splitlines()
        values = [int(line.split()[1]) for line in text if line.startswith("nodedns_querylog_") and "_total " in line]
        return sum(values) == 200

    service.await_(accounted, "accounting for all")
    assert len(lines(service)) <= 5 + 5 * (time.monotonic() - began)


def test_off(start: START) -> None:
    """By default nothing that is said names a client or what it asked for, not even when something is wrong."""
    service = start("")
    ask(service, "a.test", "secret.test", b"\x06secret\0")
    service.await_(lambda: "nodedns_answers_total" in get(service)[1], "scraped")
    service.process.terminate()
    service.process.wait(DEADLINE)
    said = (service.home / "log").read_text()
    assert "workers serve" in said
    assert "secret" not in said
    assert "a.test" not in said
    assert lines(service) == []
