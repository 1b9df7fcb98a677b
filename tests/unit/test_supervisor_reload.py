"""A reload with real forks: canary, one slot at a time, back to the old config at the first failure."""

import os
import select
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from supervised import linger, make_config, running, say, tag, with_allow, worker

from nodedns.config import Cache, Config, ConfigError, Problem
from nodedns.supervisor import probe
from nodedns.worker.job import Job

OLD, NEW = "127.0.0.0/8", "10.0.0.0/8"
pytestmark = pytest.mark.usefixtures("patient")


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return make_config(tmp_path / "run", allow=OLD)


def loader(*results: Config | Exception) -> Callable[[], Config]:
    """What load() gives, one after the other."""
    left: Iterator[Config | Exception] = iter(results)

    def load() -> Config:
        say("load")
        result = next(left)
        if isinstance(result, Exception):
            raise result
        return result

    return load


def served(lines: list[str]) -> list[tuple[int, str]]:
    """(slot, allow) of each worker that began to serve."""
    words = [line.split() for line in lines if line.startswith("serves slot")]
    return [(int(word[2]), word[6]) for word in words]


def test_slots_are_replaced_one_by_one(config: Config) -> None:
    """After the canary each slot's old worker has left before its new one serves, and the next slot follows."""
    with running(config, load=loader(with_allow(config, NEW))) as service:
        before = service.status()["workers"]
        begin = len(service.lines)
        service.send(signal.SIGHUP)
        status = service.reloaded(1)
        assert status["reload"]["ok"]
        assert status["reload"]["problems"] == []
        service.send(signal.SIGTERM)
        assert service.end() == 0
        steps = [" ".join(line.split()[:3]) for line in service.lines[begin:] if "slot" in line]
        rolled = ["left slot 0", "serves slot 0", "left slot 1", "serves slot 1"]
        assert steps[:6] == ["serves slot 2", "left slot 2", *rolled]
        assert served(service.lines[begin:]) == [(2, NEW), (0, NEW), (1, NEW)]
        assert not {worker["pid"] for worker in before} & {worker["pid"] for worker in status["workers"]}
        assert [worker["restarts"] for worker in status["workers"]] == [0, 0]


@pytest.mark.parametrize(
    ("result", "problem"),
    [
        (ConfigError(Problem("node.allow", "a CIDR", "'x'")), "node.allow: expected a CIDR, got 'x'"),
        (ValueError("a defect"), "the config could not be read: ValueError: a defect"),
    ],
)
def test_unreadable_config_is_refused(config: Config, result: Exception, problem: str) -> None:
    """A config that cannot be read changes nothing: the verdict has the reason, the workers are the same processes."""
    with running(config, load=loader(result)) as service:
        before = service.status()["workers"]
        service.send(signal.SIGHUP)
        service.wait("reload refused, the old config stays", problem)
        status = service.reloaded(1)
        assert not status["reload"]["ok"]
        assert status["reload"]["problems"] == [problem]
        assert status["workers"] == before
        assert status["state"] == "READY"


def test_restart_keys_are_refused_by_name(config: Config) -> None:
    """A key that only a restart can change is named, and nothing of the new config is taken."""
    new = replace(with_allow(config, NEW), cache=Cache(2**22), node=replace(config.node, workers=3))
    with running(config, load=loader(new)) as service:
        service.send(signal.SIGHUP)
        problems = service.reloaded(1)["reload"]["problems"]
        assert problems == ["cache.size: changing it needs a restart", "node.workers: changing it needs a restart"]


def failing_in(slot: int, also: Callable[[Job], bool] = lambda job: True) -> Callable[[Job], int]:
    def main(job: Job) -> int:
        if job.config.node.allow == (NEW,) and job.slot == slot and also(job):
            say(f"fails {tag(job)}")
            return 3
        return worker(job)

    return main


def test_canary_that_dies_keeps_the_old_workers(config: Config) -> None:
    """A worker that cannot start on the new config is met by the canary first: no serving worker is touched."""
    with running(config, failing_in(2), loader(with_allow(config, NEW))) as service:
        before = service.status()["workers"]
        service.send(signal.SIGHUP)
        status = service.reloaded(1)
        assert status["reload"]["problems"] == ["a worker did not start on the new config: exit code 3"]
        assert status["workers"] == before


def silent_canary(job: Job) -> int:
    if job.slot < 2:
        return worker(job)
    os.write(job.ready_fd, b"ws")
    linger(job)
    return 0


def test_canary_that_does_not_answer_is_refused(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """Saying ready is not enough: the canary must answer a question."""
    monkeypatch.setattr(probe, "AGAIN", 0.001)
    with running(config, silent_canary, loader(with_allow(config, NEW))) as service:
        service.send(signal.SIGHUP)
        problems = service.reloaded(1)["reload"]["problems"]
        assert problems == ["a worker on the new config did not answer 10 questions"]


def test_second_worker_that_fails_puts_the_first_back(config: Config) -> None:
    """When slot 1 fails on the new config, slot 0 returns to the old one, and slot 1 never left it."""
    with running(config, failing_in(1), loader(with_allow(config, NEW))) as service:
        begin = len(service.lines)
        pid = service.status()["workers"][1]["pid"]
        service.send(signal.SIGHUP)
        status = service.reloaded(1)
        assert status["reload"]["problems"] == ["worker 1 did not start on the new config: exit code 3"]
        assert status["workers"][1]["pid"] == pid
        service.send(signal.SIGTERM)
        assert service.end() == 0
        assert served(service.lines[begin:]) == [(2, NEW), (0, NEW), (0, OLD)]


def warm_then_failing(job: Job) -> int:
    if job.config.node.allow == (NEW,) and job.slot == 1:
        os.write(job.ready_fd, b"w")
        os.read(job.go_fd, 1)
        return 4
    return worker(job)


def test_worker_that_fails_after_the_hand_over_is_forked_on_the_old_config(config: Config) -> None:
    """A slot whose old worker has left already gets a worker on the old config at once."""
    with running(config, warm_then_failing, loader(with_allow(config, NEW))) as service:
        begin = len(service.lines)
        service.send(signal.SIGHUP)
        service.wait("serves slot 1", OLD)
        assert service.reloaded(1)["reload"]["problems"] == ["worker 1 did not start on the new config: exit code 4"]
        service.send(signal.SIGTERM)
        assert service.end() == 0
        assert sorted(served(service.lines[begin:])) == sorted([(2, NEW), (0, NEW), (0, OLD), (1, OLD)])


def test_holder_killed_while_it_is_replaced(config: Config) -> None:
    """A holder that dies while its successor warms up is followed by that successor: the reload goes on."""

    def main(job: Job) -> int:
        if job.config.node.allow == (NEW,) and job.slot == 0:
            victim = os.pidfd_open(int(os.environ["VICTIM"]))
            signal.pidfd_send_signal(victim, signal.SIGKILL)
            select.select([victim], [], [])  # so the parent learns of it before it hears from us
        return worker(job)

    def load() -> Config:
        os.environ["VICTIM"] = status_pid(config)
        return with_allow(config, NEW)

    with running(config, main, load) as service:
        service.send(signal.SIGHUP)
        status = service.reloaded(1)
        assert status["reload"]["ok"]
        assert status["workers"][0]["restarts"] == 1


def status_pid(config: Config) -> str:
    text = (Path(config.node.run_dir) / "status.json").read_text()
    return text.split('"slot": 0, "pid": ')[1].split(",")[0]


def test_reload_asked_for_during_a_reload_follows_it(config: Config) -> None:
    """Two more SIGHUPs while one is under way are one more reload."""
    asked = ["10.0.0.0/8", "10.0.0.0/9", "10.0.0.0/10"]

    def main(job: Job) -> int:
        if job.slot == 2 and job.config.node.allow == (asked[0],):
            for _ in range(2):
                os.kill(os.getppid(), signal.SIGHUP)
        return worker(job)

    with running(config, main, loader(*(with_allow(config, allow) for allow in asked))) as service:
        service.send(signal.SIGHUP)
        assert service.reloaded(2)["reload"]["ok"]
        service.send(signal.SIGTERM)
        assert service.end() == 0
        assert [allow for slot, allow in served(service.lines) if slot == 0] == [OLD, *asked[:2]]


def test_stop_during_a_reload(config: Config) -> None:
    """SIGTERM ends a reload: canary, old and new workers leave, the run files go."""

    def main(job: Job) -> int:
        if job.config.node.allow == (NEW,) and job.slot == 0:
            os.kill(os.getppid(), signal.SIGTERM)
            linger(job)
        return worker(job)

    with running(config, main, loader(with_allow(config, NEW))) as service:
        service.send(signal.SIGHUP)
        assert service.end() == 0
    assert os.listdir(config.node.run_dir) == []
