"""Real faults, and the alerts that a real Prometheus raises for them. What needs systemd or netfilter is in
tests/node/test_alerts.py.
"""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import count
from pathlib import Path
from threading import Event, Thread

import dnslib
import pytest

from tests.monitoring.nodes import Watched
from tests.monitoring.prometheus import Prometheus
from tests.service.scripted import Asked, Scripted
from tests.service.service import Authority, Load
from tests.service.test_drills import kill_one
from tests.service.test_stale import Fickle
from tests.service.test_upstreams import ask, client

CRITICAL, WARNING = "critical", "warning"
SHORT = '[[zone]]\nname = "."\nsuccess = {{ max_ttl = 1, min_ttl = 1 }}\nserve_stale = {{ max = "{stale}" }}\n'
NEW_NAMES = (f"name{number}.test" for number in count())


@pytest.fixture
def fickle() -> Iterator[Fickle]:
    with Fickle() as server:
        yield server


@contextmanager
def clients(service: Watched, *names: str) -> Iterator[None]:
    """Ask for these and for names nobody asked for before, fifty a second of each, and do not wait for answers."""
    over = Event()

    def go() -> None:
        with client(service) as sock:
            while not over.wait(0.02):
                for name in (*names, next(NEW_NAMES)):
                    sock.send(dnslib.DNSRecord.question(name).pack())

    thread = Thread(target=go)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_nothing_fires_while_all_is_well(tmp_path: Path, authority: Authority, prometheus: Prometheus) -> None:
    """Under load, and through a reload."""
    with Watched(tmp_path, authority.port, prometheus) as service, Load(service.port, 2000, unique=20):
        assert service.reload()["ok"]
        ends = time.monotonic() + 2
        # An alert waits for less here than a reload or a stall may take; without a reason it goes again.
        prometheus.await_(lambda: time.monotonic() > ends and service.alerts() == {}, "content under load")


def test_workers_that_keep_dying(tmp_path: Path, authority: Authority, prometheus: Prometheus) -> None:
    """Eight deaths, each replaced at once; then one slot whose every new worker is killed."""
    with Watched(tmp_path, authority.port, prometheus) as service:
        for _ in range(8):
            kill_one(service)
        service.await_alerts(("WorkersCrashing", WARNING))
        prometheus.await_(lambda: ("WorkerMissing", CRITICAL) not in service.alerts(), "content with the workers")

        def kill() -> None:
            for worker in service.status()["workers"]:
                if worker["slot"] == 0 and worker["pid"]:
                    with suppress(ProcessLookupError):
                        os.kill(worker["pid"], signal.SIGKILL)

        service.await_alerts(("WorkerMissing", CRITICAL), during=kill)


def test_upstreams_that_fall_silent(tmp_path: Path, fickle: Fickle, prometheus: Prometheus) -> None:
    """One of two, then both: known names get stale answers, others wait and are SERVFAIL."""
    with ExitStack() as stack:
        other = stack.enter_context(Scripted())
        options = SHORT.format(stale="1h")
        service = stack.enter_context(
            Watched(tmp_path, fickle.port, prometheus, options, forward=(fickle.port, other.port))
        )
        ask(service, "a.test")
        stack.enter_context(clients(service, "a.test"))
        fickle.mood = "silent"
        service.await_alerts(("UpstreamDown", WARNING))
        prometheus.await_(lambda: ("UpstreamsAllDown", CRITICAL) not in service.alerts(), "content with the other")
        other.handler = lambda asked: []
        service.await_alerts(
            ("UpstreamsAllDown", CRITICAL),
            ("ServingStale", WARNING),
            ("LatencyHigh", CRITICAL),
            ("ErrorsHigh", CRITICAL),
            ("ErrorsHigh", WARNING),
        )


def test_an_upstream_that_fails(tmp_path: Path, fickle: Fickle, prometheus: Prometheus) -> None:
    with Watched(tmp_path, fickle.port, prometheus) as service, clients(service):
        fickle.mood = "servfail"
        service.await_alerts(*((f"{who}ErrorsHigh", how) for who in ("", "Forward") for how in (WARNING, CRITICAL)))


def test_an_upstream_that_is_late(tmp_path: Path, prometheus: Prometheus) -> None:
    """1.5 s over TCP."""

    def late(asked: Asked) -> list[bytes]:
        time.sleep(1.5)  # the fault
        return [asked.answer()]

    def ask_once() -> None:
        with suppress(TimeoutError):  # of a machine that stalls: the alert must come all the same
            ask(service, next(NEW_NAMES))

    with (
        Scripted(late) as upstream,
        Watched(tmp_path, upstream.port, prometheus, transport="tcp", workers=1) as service,
    ):
        service.await_alerts(("ForwardLatencyHigh", WARNING), during=ask_once)


def test_a_cache_that_is_too_small(tmp_path: Path, authority: Authority, prometheus: Prometheus) -> None:
    small = '[cache]\nsize = "1MiB"\n'
    with Watched(tmp_path, authority.port, prometheus, small) as service, Load(service.port, 5000, unique=1):
        service.await_alerts(("CacheThrashing", WARNING))


def test_a_reload_that_is_refused(tmp_path: Path, authority: Authority, prometheus: Prometheus) -> None:
    """It fires until a good one is taken."""
    with Watched(tmp_path, authority.port, prometheus) as service:
        good = service.config.read_text()
        service.config.write_text('[cluster]\ndns = "nowhere"\n')
        assert not service.reload()["ok"]
        service.await_alerts(("ReloadFailed", WARNING))
        service.config.write_text(good)
        assert service.reload()["ok"]
        prometheus.await_(lambda: ("ReloadFailed", WARNING) not in service.alerts(), "content")


def test_a_config_map_that_is_wrong_at_the_start(tmp_path: Path, authority: Authority, prometheus: Prometheus) -> None:
    """It serves without those zones, and says so until they are there."""
    stubs = tmp_path / "kube-dns/stubDomains"
    stubs.parent.mkdir()
    stubs.write_text("{}")
    with Watched(tmp_path, authority.port, prometheus, f'cluster.config_map = "{stubs.parent}"\n') as service:
        stubs.write_text("{")
        service.restart()
        service.await_alerts(("ConfigMapFailed", WARNING))
        stubs.write_text("{}")
        prometheus.await_(lambda: ("ConfigMapFailed", WARNING) not in service.alerts(), "content")


def test_a_service_that_is_gone(tmp_path: Path, authority: Authority, prometheus: Prometheus) -> None:
    """Of that node alone; and of all, when nobody is scraped any more."""
    with Watched(tmp_path, authority.port, prometheus) as service:
        service.process.kill()
        service.await_alerts(("Down", CRITICAL))


def test_a_job_without_targets(tmp_path: Path) -> None:
    """What Prometheus is not told of, no other alert can miss."""
    with Prometheus(tmp_path / "prometheus") as prometheus:
        prometheus.await_(prometheus.firing, "firing")
        assert [alert.labels["alertname"] for alert in prometheus.firing()] == ["NodeLocalDNSAbsent"]
