"""dnstap of a running service, to receivers that take, stand still, come back or lie."""

import shutil
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import dnstap
from tests.dnstap import Receiver
from tests.service.service import DEADLINE, Authority, Service
from tests.service.test_metrics import get
from tests.service.test_querylog import ask, reload

START = Callable[..., Service]


@pytest.fixture
def start(tmp_path: Path, authority: Authority) -> Iterator[START]:
    """Starts a service with a [dnstap] table."""
    running = []

    def run(more: str = "") -> Service:
        extra = f'[dnstap]\nsocket = "{tmp_path}/tap"\nidentity = "node-1"\n{more}\n'
        running.append(Service(tmp_path, authority.port, extra=extra))
        return running[-1]

    yield run
    for service in running:
        service.__exit__(None, None, None)


def counted(service: Service, verdict: str) -> int:
    name = f'nodedns_dnstap_messages_total{{verdict="{verdict}"}} '
    return int(next(line for line in get(service)[1].splitlines() if line.startswith(name)).removeprefix(name))


def named(messages: list[dict[str, Any]], name: bytes) -> list[dict[str, Any]]:
    return [one for one in messages if name in one.get("response_message", b"")]


def connected(service: Service, receiver: Receiver, times: int = 1) -> None:
    service.await_(lambda: service.tail().count("the receiver takes messages") >= times, "connected")


def test_misses_and_hits(start: START, tmp_path: Path) -> None:
    """Every miss and, as they are few, every hit: whole, as it was sent, with times and addresses; STOP at the end."""
    with Receiver(tmp_path / "tap") as receiver:
        service = start()
        connected(service, receiver)
        began = time.time()
        ask(service, *(f"m{n}.test" for n in range(50)), *["m0.test"] * 10)
        service.await_(lambda: len(receiver.messages()) >= 60, "through with the hits")
        messages = receiver.messages()
        assert len(named(messages, b"\x02m0\x04test")) == 11
        for n in range(1, 50):
            assert len(named(messages, f"m{n}\x04test".encode())) == 1
        one = named(messages, b"\x02m1\x04test")[0]
        assert (one["identity"], one["version"][:8]) == (b"node-1", b"nodedns ")
        assert (one["type"], one["socket_family"], one["socket_protocol"]) == (6, 1, 1)
        assert (one["query_address"], one["response_address"]) == (b"\x7f\0\0\1", b"\x7f\0\0\1")
        assert one["response_port"] == service.port
        asked = one["query_time_sec"] + one["query_time_nsec"] / 1e9
        answered = one["response_time_sec"] + one["response_time_nsec"] / 1e9
        assert began - 0.1 <= asked <= answered <= time.time() + 0.1
        service.await_(lambda: counted(service, "sent") == len(receiver.messages()), "counting what was sent")
        assert counted(service, "dropped") == 0
        service.process.terminate()
        assert service.process.wait(DEADLINE) == 0
        assert receiver.ended.wait(DEADLINE)
        assert (receiver.frames[0].body[3], receiver.frames[1].body[3]) == (dnstap.READY, dnstap.START)
        assert receiver.frames[-1] == (True, struct.pack("!I", dnstap.STOP))


def test_hits_none(start: START, tmp_path: Path) -> None:
    """Misses alone."""
    with Receiver(tmp_path / "tap") as receiver:
        service = start('hits = "none"')
        connected(service, receiver)
        ask(service, "a.test", *["a.test"] * 5, "b.test")
        service.await_(lambda: len(receiver.messages()) >= 2, "through")
        for name in ("c.test", "d.test"):  # workers' answers come in any order; a hit would have come before the last
            ask(service, name)
            service.await_(lambda at=name: named(receiver.messages(), at[:1].encode() + b"\x04test"), "through")
        said = receiver.messages()
        assert len(said) == 4
        for name in (b"a", b"b", b"c", b"d"):
            assert len(named(said, b"\x01" + name + b"\x04test")) == 1


def test_a_receiver_that_stands_still(start: START, tmp_path: Path) -> None:
    """Costs messages, which are counted and told, and neither answers nor the self-probe."""
    with Receiver(tmp_path / "tap", reading=False) as receiver:
        service = start('hits = "all"')
        connected(service, receiver)
        monitor = service.status()["monitor"]["pid"]
        slowest = flood(service, lambda: counted(service, "dropped") > 100)
        print(f"slowest {slowest * 1000:.1f} ms, dropped {counted(service, 'dropped')}")
        service.await_(lambda: "messages in time" in service.tail(), "telling of it")
        assert slowest < DEADLINE / 2  # a busy machine's scheduler; a wait for the receiver would have no end
        service.await_(lambda: get(service, "/ready")[0] == 200, "ready")
        assert service.status()["monitor"]["pid"] == monitor


def flood(service: Service, enough: Callable[[], bool]) -> float:
    """Asks for one name, in batches, until it is enough; the slowest batch in seconds."""
    ask(service, "a.test")
    query = b"\0\1\1\0\0\1\0\0\0\0\0\0\1a\4test\0\0\1\0\1"
    over = threading.Event()
    slowest = 0.0

    def watch() -> None:
        ends = time.monotonic() + DEADLINE
        try:
            while not enough() and time.monotonic() < ends:
                over.wait(0.1)
        finally:
            over.set()

    watcher = threading.Thread(target=watch)
    watcher.start()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(DEADLINE)
        sock.connect(("127.0.0.1", service.port))
        while not over.is_set():
            began = time.monotonic()
            for _ in range(32):
                sock.send(query)
            for _ in range(32):
                sock.recv(512)
            slowest = max(slowest, time.monotonic() - began)
    watcher.join()
    assert enough()
    return slowest


def test_a_receiver_that_comes_back(start: START, tmp_path: Path) -> None:
    """Is found again; while there is none, misses are counted as dropped and the rest goes on."""
    service = start()
    service.await_(lambda: "No such file or directory; it is tried again" in service.tail(), "complaining")
    ask(service, "a.test")
    service.await_(lambda: counted(service, "dropped") == 1, "counting")
    for times in (1, 2):
        with Receiver(tmp_path / "tap") as receiver:
            connected(service, receiver, times)
            ask(service, f"b{times}.test")
            service.await_(lambda at=times, to=receiver: named(to.messages(), f"b{at}".encode()), "through")
        service.await_(lambda at=times: service.tail().count("it is tried again") == at + 1, "left alone")


@pytest.mark.parametrize(
    "answer",
    [
        dnstap.control(dnstap.ACCEPT, b"protobuf:other"),
        dnstap.control(dnstap.ACCEPT, None),
        dnstap.control(dnstap.FINISH, None),
        dnstap.control(dnstap.READY),
        struct.pack("!II", 0, 513) + bytes(513),
        struct.pack("!II", 0, 0xFFFFFFFF),
        struct.pack("!III", 0, 4, 99),
        b"\0\0\0\5hello world",
        b"\xff" * 600,
        dnstap.control(dnstap.ACCEPT) + b"more",
    ],
)
def test_hostile_control_frames(answer: bytes, start: START, tmp_path: Path) -> None:
    """End the connection; nothing is sent to who does not accept, and answers go on."""
    with Receiver(tmp_path / "tap", answer=answer) as receiver:
        service = start()
        service.await_(lambda: "the receiver " in service.tail() and "it is tried again" in service.tail(), "put off")
        ask(service, "a.test", "a.test")
        assert receiver.ended.wait(DEADLINE)
        assert receiver.messages() == []


def test_its_socket_needs_a_restart(start: START, tmp_path: Path, authority: Authority) -> None:
    """A reload without it is refused by name; other keys are taken."""
    with Receiver(tmp_path / "tap") as receiver:
        service = start()
        connected(service, receiver)
        service.write(authority.port)
        verdict = service.reload()
        assert not verdict["ok"]
        assert "dnstap.socket: changing it needs a restart" in service.tail()
        service.write(authority.port, f'[dnstap]\nsocket = "{tmp_path}/tap"\nidentity = "other"\n')
        reload(service)
        connected(service, receiver, 2)
        ask(service, "a.test")
        service.await_(lambda: any(one["identity"] == b"other" for one in receiver.messages()), "renamed")


@pytest.mark.skipif(not shutil.which("fstrm_capture"), reason="fstrm_capture (fstrm-bin) is not installed")
def test_fstrms_own_receiver(start: START, tmp_path: Path) -> None:
    """What it has captured, dnstap's own tool reads."""
    capture = tmp_path / "capture"
    command = ["fstrm_capture", "-t", "protobuf:dnstap.Dnstap", "-u", str(tmp_path / "tap"), "-w", str(capture)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            service = start()
            connected(service, None)  # type: ignore[arg-type]
            ask(service, *(f"m{n}.test" for n in range(20)))
            service.await_(lambda: counted(service, "sent") >= 20, "through")
            service.process.terminate()
            assert service.process.wait(DEADLINE) == 0
            ends = time.monotonic() + DEADLINE
            while Path("/proc/net/unix").read_text().count(f"{tmp_path}/tap\n") > 1:  # it has not read all of it yet
                assert time.monotonic() < ends
        finally:
            process.terminate()
    said = subprocess.run(["dnstap-ldns", "-q", "-r", capture], capture_output=True, text=True, check=True).stdout
    assert sum(f"m{n}.test." in said for n in range(20)) == 20
