"""Upstreams that fall silent, and how many questions may wait for one."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.service.scripted import Scripted
from tests.service.service import DEADLINE, Service
from tests.service.test_upstreams import ask, ede


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_dead_upstream_is_avoided(tmp_path: Path, transport: str) -> None:
    """One of two goes silent: misses no longer wait for it, and none fails; when it answers again it has its share."""
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
        asked = len(fickle.asked)
        began = time.monotonic()
        for n in range(300):
            assert ask(service, f"e{n}.test").header.rcode == 3
        late = [query.name for query in fickle.asked[asked:]]
        assert sum(name.startswith("e") for name in late) <= 30  # its share would be 150
        assert sum("nodedns-loop" in name for name in late) <= 2 + (time.monotonic() - began)  # a probe a second
        dead.clear()
        began, asked, n = time.monotonic(), len(fickle.asked), 0
        while len(fickle.asked) < asked + 20:
            ask(service, f"f{n}.test")
            n += 1
            assert time.monotonic() < began + DEADLINE


def test_max_concurrent(tmp_path: Path) -> None:
    """What is beyond is refused at once, as in CoreDNS; the others get their answers, and there is room again."""
    release = threading.Event()
    names = [f"n{n}.test" for n in range(3)]
    (tmp_path / "nodedns.d").mkdir()
    (tmp_path / "nodedns.d/10.toml").write_text('[[zone]]\nname = "."\nmax_concurrent = 3\n')
    with (
        Scripted(lambda asked: [asked.answer()] if release.is_set() else []) as upstream,
        Service(tmp_path, upstream.port, workers=1) as service,
        ThreadPoolExecutor(3) as pool,
    ):
        waiting = [pool.submit(ask, service, name) for name in names]
        service.await_(lambda: {f"{name}." for name in names} <= {asked.name for asked in upstream.asked}, "asking")
        refused = ask(service, "n3.test")
        assert (refused.header.rcode, ede(refused)) == (5, 0)
        release.set()
        for asked in [asked for asked in upstream.asked if asked.proto == "udp"]:  # a late reply is as good
            upstream.udp.sendto(asked.answer(), asked.peer)
        assert [future.result().header.rcode for future in waiting] == [3, 3, 3]
        assert ask(service, "n3.test").header.rcode == 3
        assert service.counters()["rejected"] == 1
