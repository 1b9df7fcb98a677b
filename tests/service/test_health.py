"""Upstreams that fall silent, and how many questions may wait for one."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.service.scripted import Asked, Scripted
from tests.service.service import Service
from tests.service.test_upstreams import ask, ede


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_dead_upstream_is_avoided(tmp_path: Path, transport: str) -> None:
    """One of two goes silent: within 2 s after that misses take less than a second, and none fails; when it answers
    again it has its share within seconds."""
    dead = threading.Event()
    upstream = Scripted(lambda asked: [] if dead.is_set() else [asked.answer()])
    with upstream as fickle, Scripted() as steady, ExitStack() as stack:
        ports = (fickle.port, steady.port)
        service = stack.enter_context(
            Service(tmp_path, fickle.port, workers=1, transport=transport, forward=ports, policy="round_robin")
        )
        ask(service, "a.test")
        dead.set()
        with ThreadPoolExecutor(8) as pool:
            assert {reply.header.rcode for reply in pool.map(lambda n: ask(service, f"d{n}.test"), range(16))} == {3}
        slowest, asked = 0.0, len(fickle.asked)
        began = time.monotonic()
        for n in range(300):
            sent = time.monotonic()
            assert ask(service, f"e{n}.test").header.rcode == 3
            slowest = max(slowest, time.monotonic() - sent)
        assert slowest < 1.0
        late = [query.name for query in fickle.asked[asked:]]
        assert sum(name.startswith("e") for name in late) <= 3
        assert sum("nodedns-loop" in name for name in late) <= 2 + (time.monotonic() - began)  # a probe a second
        dead.clear()
        began, asked, n = time.monotonic(), len(fickle.asked), 0
        while len(fickle.asked) < asked + 20:
            ask(service, f"f{n}.test")
            n += 1
            assert time.monotonic() < began + 3


def test_max_concurrent(tmp_path: Path) -> None:
    """What is beyond is refused at once, as in CoreDNS; the others get their answers, and there is room again."""
    release = threading.Event()

    def hold(asked: Asked) -> list[bytes]:
        release.wait(5)
        return [asked.answer()]

    (tmp_path / "nodedns.d").mkdir()
    (tmp_path / "nodedns.d/10.toml").write_text('[[zone]]\nname = "."\nmax_concurrent = 3\n')
    with (
        Scripted(hold) as upstream,
        Service(tmp_path, upstream.port, workers=1) as service,
        ThreadPoolExecutor(3) as pool,
    ):
        waiting = [pool.submit(ask, service, f"n{n}.test") for n in range(3)]
        service.await_(lambda: service.counters()["upstream_udp"] == 3, "asking")
        refused = ask(service, "n3.test")
        assert (refused.header.rcode, ede(refused)) == (5, 0)
        release.set()
        assert [future.result().header.rcode for future in waiting] == [3, 3, 3]
        assert ask(service, "n3.test").header.rcode == 3
        assert service.counters()["rejected"] == 1
