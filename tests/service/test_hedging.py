"""A second upstream is asked before the first is late, where that one mostly answers at once."""

import itertools
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from nodedns.core.upstreams import QUICK
from tests.service.scripted import Asked, Scripted
from tests.service.service import DEADLINE, Service
from tests.service.test_upstreams import ask
from tests.service.test_ways import serve


def make_quick(service: Service) -> None:
    """Asks until the first server must pass for one that answers at once. The clients' time has the server's in it."""
    usual, ends = 1.0, time.monotonic() + DEADLINE
    for n in itertools.count():
        began = time.monotonic()
        assert began < ends, f"an answer takes {usual:.3f} s"
        ask(service, f"q{n}.test")
        usual += (time.monotonic() - began - usual) / 4
        if usual < QUICK:
            return


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_hedging(tmp_path: Path, transport: str) -> None:
    """A server that mostly answers at once and for once does not: another one is asked long before it is late."""
    asked_for_a: list[str] = []

    def first_(asked: Asked) -> list[bytes]:
        asked_for_a.extend(["first"] * (asked.name == "a.test."))
        return [] if asked.name == "a.test." else [asked.answer()]

    def second_(asked: Asked) -> list[bytes]:
        asked_for_a.extend(["second"] * (asked.name == "a.test."))
        return [asked.answer()]

    with Scripted(first_) as first, Scripted(second_) as second:
        ports = f'forward = ["127.0.0.1:{first.port}", "127.0.0.1:{second.port}"]'
        with serve(tmp_path, f'{ports}\npolicy = "sequential"\ntransport = "{transport}"') as service:
            make_quick(service)
            assert len(second.asked) <= service.late()
            before = service.counters()
            assert str(ask(service, "a.test").rr[0].rdata) == "192.0.2.1"
            grown = {name: n - before[name] for name, n in service.counters().items()}
            print(f"{transport}: {asked_for_a}, timed out {grown['upstream_timeouts']}")
            assert grown["hedged"] == 1  # before anything is late: that would be counted as such
            assert asked_for_a[:2] == ["first", "second"]
            assert len(asked_for_a) <= 2 + grown["upstream_timeouts"]


def test_slow_is_not_dead(tmp_path: Path) -> None:
    """A server that has become slow is hedged for some questions, heard all the same, and then waited for."""
    slow = threading.Event()

    def handler(asked: Asked) -> list[bytes]:
        if not slow.is_set() or asked.proto == "tcp":
            return [asked.answer()]
        threading.Timer(0.15, later, (asked,)).start()  # each by itself: a queue would make it ever slower
        return []

    def later(asked: Asked) -> None:
        with suppress(OSError):  # the test is over
            first.udp.sendto(asked.answer(), asked.peer)

    with Scripted(handler) as first, Scripted() as second:
        ports = f'forward = ["127.0.0.1:{first.port}", "127.0.0.1:{second.port}"]\npolicy = "sequential"'
        with serve(tmp_path, ports) as service:
            names = (f"n{n}.test" for n in itertools.count())

            def hedged() -> int:
                """By one question that finds it slow after some that found it quick."""
                slow.clear()
                for _ in range(5):
                    ask(service, next(names))
                slow.set()
                ask(service, next(names))
                return service.counters()["hedged"]

            service.await_(hedged, "hedging")
            for _ in range(20):
                assert ask(service, next(names)).header.rcode == 3
            counters = service.counters()
            print(f"{counters['hedged']} hedged")
            assert counters["hedged"] <= 10
            assert counters["probes"] == 0
