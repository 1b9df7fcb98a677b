"""supervisor.monitor and memo: what a child without rights says is taken for no more than it is."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from nodedns import native
from nodedns.config import Endpoint, parse
from nodedns.config_servers import MAX_FALLBACK
from nodedns.core import slots
from nodedns.supervisor import memo
from nodedns.supervisor.monitor import Monitor
from nodedns.supervisor.poller import Poller

CONFIG = parse('[cluster]\ndns = "10.96.0.10"\n[[zone]]\nname = "."\nforward = ["192.0.2.1"]\n')
KUBE_DNS = Endpoint("10.244.2.10", 53)


class Heard:
    """A monitor whose child is this test, and what the parent was told."""

    def __init__(self) -> None:
        self.known: list[tuple[Endpoint, ...]] = []
        self.poller = Poller()
        samples = os.memfd_create("samples")
        os.truncate(samples, native.samples_size(1))
        shared = SimpleNamespace(samples=native.map_file(samples, native.samples_size(1), True))
        os.close(samples)
        kit = SimpleNamespace(poller=self.poller, keep=(os.open(os.devnull, os.O_RDONLY),), shared=shared)
        self.monitor = Monitor(CONFIG, kit, self.known.append, None, count=1, steered=True)

    def say(self, text: bytes) -> None:
        os.write(self.monitor.say_fd, text)
        self.poller.wait(1.0)


@pytest.mark.parametrize(
    ("said", "known"),
    [
        (b"fallback 10.244.2.10:53\n", (KUBE_DNS,)),
        (b"beat\nfallback 10.244.2.10:53 [fd00::1]:53\nwell\n", (KUBE_DNS, Endpoint("fd00::1", 53))),
        (b"fallback \n", ()),
        (b"fallback 10.244.2.10:53 evil; 10.0.0.1:99999 ; drop\n", (KUBE_DNS,)),
        (b"fallback " + b"10.244.2.10:53 " * 500 + b"\n", (KUBE_DNS,) * MAX_FALLBACK),
        (b"fallback \xff\xfe\n", ()),
    ],
)
def test_endpoints(said: bytes, known: tuple[Endpoint, ...]) -> None:
    """Nothing but addresses, and no more of them than a config may have, gets into a rule."""
    heard = Heard()
    heard.say(said)
    assert heard.known == [known]
    assert heard.monitor.beat > 0


def test_verdicts(capfd: pytest.CaptureFixture[str]) -> None:
    """A failure holds until the next word, and is said once; noise is no verdict."""
    heard = Heard()
    assert heard.monitor.failed == ""
    heard.say(b"failed 169.254.20.10:53 over TCP: nothing for 0.5 s\n")
    assert heard.monitor.failed == "169.254.20.10:53 over TCP: nothing for 0.5 s"
    heard.say(b"failed 169.254.20.10:53 over TCP: nothing for 0.5 s\nbeat\nbogus\n")
    assert heard.monitor.report()["failed"] == heard.monitor.failed
    heard.say(b"failed \x1b]0;x\x07\n")
    assert heard.monitor.failed == r"\027]0;x\007"
    heard.say(b"well\n")
    assert heard.monitor.failed == ""
    said = capfd.readouterr().err
    assert said.count("the self-probe failed") == 1
    assert said.count("the self-probe is well again") == 1


def test_an_old_verdict_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """A monitor that has fallen silent is its own fault, not the workers'."""
    heard = Heard()
    heard.say(b"failed x\n")
    now = heard.monitor.beat
    monkeypatch.setattr("nodedns.supervisor.monitor.time.monotonic", lambda: now + 60.0)
    assert heard.monitor.failed == ""


def test_a_config_that_comes_during_a_change(monkeypatch: pytest.MonkeyPatch) -> None:
    """Is followed as soon as the change is over, once."""
    monitor, fired = Heard().monitor, []
    monkeypatch.setattr(monitor.worker, "fire", fired.append)
    monitor.worker.slot.state = slots.State.HANDING
    monitor.follow(CONFIG)
    monitor.settle()
    assert fired == []
    monitor.worker.slot.state = slots.State.SERVING
    monitor.settle()
    monitor.settle()
    assert fired == [slots.Event.REPLACE]


def test_memo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kept over a life; without a directory, or with rubbish in the file, there is just less to know."""
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    memo.save((KUBE_DNS,))
    assert memo.load() == ()
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    assert memo.load() == ()
    memo.save((KUBE_DNS, Endpoint("fd00::1", 53)))
    assert memo.load() == (KUBE_DNS, Endpoint("fd00::1", 53))
    (tmp_path / "fallback").write_bytes(b"\xff\xff\nrm -rf /\n10.244.2.10:53\n" + b"1.1.1.1\n" * 9999)
    assert memo.load()[0] == KUBE_DNS
    assert len(memo.load()) <= MAX_FALLBACK


def test_a_full_disk_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """And changes nothing else."""
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "gone"))
    memo.save((KUBE_DNS,))
    assert "gone/fallback: No such file or directory" in capfd.readouterr().err
