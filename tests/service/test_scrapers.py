"""The monitor's HTTP under clients that ask wrongly, slowly or never; /health and /ready."""

import os
import re
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.service.scraper import get, samples
from tests.service.service import Authority, Service
from tests.service.test_upstreams import ask

STALLED = 200
GET = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"


def connect(service: Service, receive: int = 0) -> socket.socket:
    """To the monitor."""
    sock = socket.socket()
    if receive:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
    sock.settimeout(10)
    sock.connect(("127.0.0.1", service.scraped))
    return sock


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with Authority() as authority, Service(tmp_path_factory.mktemp("scraped"), authority.port) as service:
        yield service


REQUESTS = [
    (GET, 200),
    (b"GET /metrics?x=y HTTP/1.0\r\n\r\n", 200),
    (b"HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n", 200),
    (GET + GET, 200),
    (b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", 405),
    (b"DELETE /health HTTP/1.1\r\nHost: x\r\n\r\n", 405),
    (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 404),
    (b"GET /metrics/ HTTP/1.1\r\nHost: x\r\n\r\n", 404),
    (b"GET http://x/metrics HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    (b"GET /metrics HTTP/2\r\n\r\n", 400),
    (b"GET /metrics\r\n\r\n", 400),
    (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400),
    (b"GET /metrics HTTP/1.1\r\n no colon\r\n\r\n", 400),
    (b"GET /metrics HTTP/1.1\r\nX: \0\r\n\r\n", 400),
    (b"GET /" + b"a" * 9000, 431),
    (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 2000, 431),
    (b"GET /metrics HTTP/1.1\r\n" + b"X: y\r\n" * 2000 + b"\r\n", 431),
    (b"GET /metrics HTTP/1.1\r\n" + b"X: y\r\n" * 1300 + b"\r\n", 200),
    (b"GET /metr", 408),
]


@pytest.mark.parametrize(("request_", "status"), REQUESTS, ids=lambda value: repr(value)[:30])
def test_exact_answers(running: Service, request_: bytes, status: int) -> None:
    """One answer, whole, and the end of the connection; HEAD has no body."""
    with connect(running) as sock, sock.makefile("rb") as file:
        sock.sendall(request_)
        head = file.readline()
        assert head.split()[:2] == [b"HTTP/1.1", str(status).encode()]
        fields = dict(line.rstrip().split(b": ", 1) for line in iter(file.readline, b"\r\n"))
        with suppress(ConnectionResetError):  # of octets that were never read
            body = file.read()
            assert len(body) == (0 if request_.startswith(b"HEAD") else int(fields[b"Content-Length"]))
        assert (fields.get(b"Allow") == b"GET, HEAD") == (status == 405)


def probes(service: Service) -> float:
    """Questions to ourselves so far, whatever they took."""
    return samples(service)["coredns_health_request_duration_seconds_count", ()]


def stall(service: Service, number: int) -> socket.socket:
    """Every third says nothing, every third half a request, every third does not read its page."""
    sock = connect(service, 1 if number % 3 == 2 else 0)
    sock.sendall((b"", GET[:20], GET)[number % 3])
    return sock


def test_stalled_scrapers_hold_up_nobody(service: Service) -> None:
    """With 200 of them, who come again when they are dropped, the self-probe goes on and a good scraper is answered."""
    with ExitStack() as stack:
        stalled = [stack.enter_context(stall(service, number)) for number in range(STALLED)]
        began, before, slowest, asked = time.monotonic(), probes(service), 0.0, 0
        while time.monotonic() < began + 6:
            for number, sock in enumerate(stalled):
                with suppress(BlockingIOError):
                    sock.setblocking(False)
                    if number % 3 != 2 and sock.recv(1, socket.MSG_PEEK) == b"":
                        stalled[number] = stack.enter_context(stall(service, number))
            sent = time.monotonic()
            assert get(service)[0] == 200
            slowest, asked = max(slowest, time.monotonic() - sent), asked + 1
        seconds, counted = time.monotonic() - began, probes(service) - before
    print(f"{counted:.0f} questions in {seconds:.1f} s; {asked} scrapes, the slowest {slowest * 1000:.0f} ms")
    # one look a second, of two questions; a busy machine is late with some, and some of its answers are
    assert counted / 2 >= seconds / 2
    assert samples(service)["nodedns_probe_failures_total", ()] <= seconds / 3
    service.await_(lambda: get(service, "/ready")[0] == 200, "ready")
    log = (service.home / "log").read_text()  # nor did it die, unless it was without the CPU for a second
    ended, hung = (re.findall(rf"monitor \(pid (\d+)\) {word}", log) for word in ("ended", "hangs: SIGKILL"))
    assert ended == hung


def test_a_scrape_while_the_monitor_is_dead(service: Service) -> None:
    """It waits for the next one."""
    os.kill(service.status()["monitor"]["pid"], signal.SIGKILL)
    assert get(service)[0] == 200


def test_health_and_readiness(tmp_path: Path, authority: Authority) -> None:
    """Nobody answers, the parent included: 503, with whom; and well again afterwards."""
    with Service(tmp_path, authority.port) as service:
        service.await_(lambda: get(service, "/ready") == (200, "OK"), "ready")
        assert get(service, "/health") == (200, "OK")
        stopped = [service.process.pid, *service.pids().values()]
        for pid in stopped:  # the parent first: it would replace them
            os.kill(pid, signal.SIGSTOP)
        nobody = f"nobody answers: 127.0.0.1:{service.port} over UDP: "
        service.await_(lambda: get(service, "/health")[1].startswith(nobody), "ill")
        assert get(service, "/health")[0] == 503
        service.await_(lambda: f"127.0.0.1:{service.port} over TCP" in get(service, "/ready")[1], "ill over TCP")
        for pid in reversed(stopped):
            os.kill(pid, signal.SIGCONT)
        service.await_(lambda: get(service, "/ready") == (200, "OK"), "well again")


def test_lame_duck(tmp_path: Path, authority: Authority) -> None:
    """A stop says so for its time, and everything is answered meanwhile; a second SIGTERM ends it."""
    with Service(tmp_path, authority.port, metrics='lameduck = "20s"\n') as service:
        service.await_(lambda: get(service, "/ready")[0] == 200, "ready")
        service.process.terminate()
        service.await_(lambda: get(service, "/health") == (503, "the service is lameduck\n"), "a lame duck")
        assert get(service, "/ready")[0] == 503
        assert ask(service, "a.test").header.rcode == 0
        assert service.status()["state"] == "LAMEDUCK"
        service.process.terminate()
        assert service.process.wait(12) == 0  # before the 20 s are over


def test_a_taken_port_costs_the_metrics_alone(tmp_path: Path, authority: Authority) -> None:
    """It is said who has it, and every query is answered."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with Service(tmp_path, authority.port, metrics=f'listen = "127.0.0.1:{port}"\n') as service:
            assert ask(service, "a.test").header.rcode == 0
            assert service.status()["metrics"] is None
            assert f"metrics.listen: TCP 127.0.0.1:{port} is taken by another process; stop pid " in service.tail()
