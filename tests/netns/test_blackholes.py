"""Upstreams behind a firewall that swallows packets: UDP unanswered, TCP that never connects or dies in silence."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import dnslib
import pytest

from tests.netns.conftest import say
from tests.service.scripted import Asked, Scripted
from tests.service.service import Service
from tests.service.test_stale import await_end
from tests.service.test_upstreams import ask, ede

FAR = "10.9.9.9"


def answer(asked: Asked) -> list[bytes]:
    reply = asked.reply()
    reply.add_answer(dnslib.RR(asked.name, 1, ttl=300, rdata=dnslib.A("192.0.2.1")))
    return [bytes(reply.pack())]


@pytest.fixture
def far() -> Iterator[Scripted]:
    say("ip", "address", "add", f"{FAR}/32", "dev", "lo")
    with Scripted(answer, FAR) as upstream:
        yield upstream


@contextmanager
def serving(home: Path, far: Scripted, transport: str, extra: str = "") -> Iterator[Service]:
    (home / "nodedns.d").mkdir()
    (home / "nodedns.d/10.toml").write_text(
        f'[[zone]]\nname = "."\nforward = "{FAR}:{far.port}"\ntransport = "{transport}"\n{extra}\n'
    )
    with Service(home, 1, workers=1) as service:
        yield service


def swallow(what: str) -> None:
    """From now on."""
    say(
        "nft",
        "-f",
        "-",
        text=f"table inet hole {{ chain in {{ type filter hook input priority 0; {what} drop; }}; }}",
    )


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_all_are_blackholed(tmp_path: Path, far: Scripted, transport: str) -> None:
    """SERVFAIL with its reason before the client gives up, and a name costs one set of attempts in 5 s, however often
    it is asked."""
    with serving(tmp_path, far, transport) as service:
        swallow(f"ip daddr {FAR}")
        began = time.monotonic()
        with ThreadPoolExecutor(20) as pool:
            replies = list(pool.map(lambda n: ask(service, "a.test"), range(20)))
        took = time.monotonic() - began
        while time.monotonic() - began < took + 4.0:
            replies.append(ask(service, "a.test"))
        counters = service.counters()
        print(
            f"{transport}: SERVFAIL after {took:.2f} s, {len(replies)} asked, {counters['exhausted']} set of attempts"
        )
        assert {reply.header.rcode for reply in replies} == {2}
        assert {ede(reply) for reply in replies} <= {22, 23}
        assert counters["exhausted"] == 1
        assert counters["upstream_udp"] <= 3 + counters["probes"]
        assert counters["upstream_connects"] <= 3 + counters["probes"]
        assert counters["probes"] <= took + 5.5


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_all_are_blackholed_and_stale_is_there(tmp_path: Path, far: Scripted, transport: str) -> None:
    """The old answer after 1.8 s; long before SERVFAIL, which would come after 4.4 s."""
    short = 'success = { max_ttl = 1, min_ttl = 1 }\nserve_stale = { max = "1h" }'
    with serving(tmp_path, far, transport, short) as service:
        ask(service, "a.test")
        swallow(f"ip daddr {FAR}")
        await_end(service, "a.test")
        began = time.monotonic()
        reply = ask(service, "a.test")
        took = time.monotonic() - began
        print(f"{transport}: stale after {took:.2f} s")
        assert (str(reply.rr[0].rdata), ede(reply)) == ("192.0.2.1", 3)
        assert took < 4.0


def test_a_connection_dies_in_silence(tmp_path: Path, far: Scripted) -> None:
    """What was on it waits 2 s and is asked again on a fresh one; what comes later never meets the dead one."""
    with serving(tmp_path, far, "tcp") as service:
        ask(service, "a.test")
        port = far.asked[-1].peer[1]
        swallow(f"tcp sport {port}")
        began = time.monotonic()
        assert ask(service, "b.test").header.rcode == 0
        took = time.monotonic() - began
        assert service.counters()["upstream_timeouts"] == 1
        later = time.monotonic()
        for n in range(5):
            assert ask(service, f"c{n}.test").header.rcode == 0
        after = time.monotonic() - later
        print(f"in flight: {took:.2f} s; the next five: {after:.3f} s")
        assert took > 1.9
        assert service.counters()["upstream_timeouts"] == 1
        assert all(asked.peer[1] != port for asked in far.asked[1:])
