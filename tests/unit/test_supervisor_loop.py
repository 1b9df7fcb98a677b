"""The parent's loop with real forks: start, death, back-off, deadlines, stop, and the parent's own death."""

import os
import signal
import socket
import struct
import time
from dataclasses import replace
from pathlib import Path

import pytest
from supervised import PATIENCE, leave_on_term, linger, make_config, running, say, tag, worker

from nodedns.config import Config, Endpoint
from nodedns.core import service, slots
from nodedns.worker.job import Job
from tests.ports import free_port

pytestmark = pytest.mark.usefixtures("patient")


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return make_config(tmp_path / "run")


def ask(config: Config) -> socket.socket:
    """A client that has just asked."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.settimeout(PATIENCE)
    sock.connect((config.node.listen[0].address, config.node.listen[0].port))
    sock.send(b"id\x01\x00 a question")
    return sock


def test_start_and_ordered_stop(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """READY=1 follows the answer to a real question; SIGTERM ends all, says STOPPING=1 and removes the run files."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(PATIENCE)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        with running(config) as service:
            address = f"127.0.0.1-{config.node.listen[0].port}".encode()
            names = [b"%s-%d-%s" % (kind, n, address) for n in (0, 1) for kind in (b"udp", b"tcp")]
            stored = [b"FDSTORE=1\nFDNAME=%s\nFDPOLL=0" % name for name in names]
            assert [systemd.recv(512) for _ in stored] == stored
            assert systemd.recv(512).startswith(b"READY=1\nSTATUS=2 workers serve 127.0.0.1:")
            with ask(config) as client:
                assert client.recv(512) == b"id\x81\x00 a question"
            status = service.status()
            assert status["state"] == "READY"
            assert [worker["state"] for worker in status["workers"]] == ["SERVING", "SERVING"]
            # The last of these is there while status.json is written anew.
            assert sorted({*os.listdir(tmp_path / "run")} - {"status.json.new"}) == [
                "alive",
                "cache",
                "counters",
                "lock",
                "rows.json",
                "samples",
                "slots",
                "status.json",
            ]
            service.send(signal.SIGTERM)
            assert service.end() == 0
            assert systemd.recv(512) == b"STOPPING=1"
            assert len([line for line in service.lines if line.startswith("left slot")]) == 2
    assert os.listdir(tmp_path / "run") == []


def test_killed_worker_follows_at_once_however_often(config: Config) -> None:
    """Twenty SIGKILLs in a row are twenty new workers in the same slot, and the slot never cools down."""
    with running(config) as service:
        pid = service.status()["workers"][0]["pid"]
        for _ in range(20):
            os.kill(pid, signal.SIGKILL)
            pid = service.served(0, pid)
        service.restarted(0, 20)
        service.send(signal.SIGTERM)
        assert service.end() == 0
    told = [line for line in service.lines if "ended in state serving: SIGKILL" in line]
    assert 3 <= len(told) < 20  # three in each of the log's windows


def test_queries_wait_for_the_next_worker(config: Config) -> None:
    """A query sent while its slot has no process is answered by the one that follows."""
    with running(make_config(Path(config.node.run_dir), workers=1)) as service:
        status = service.status()
        pid = status["workers"][0]["pid"]
        os.kill(pid, signal.SIGSTOP)
        address, port = status["listen"][0].split(":")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(PATIENCE)
            client.sendto(b"id\x01\x00", (address, int(port)))
            os.kill(pid, signal.SIGKILL)
            assert client.recv(512) == b"id\x81\x00"


def crashing(job: Job) -> int:
    say(f"starts slot {job.slot} at {time.monotonic()}")
    return worker(job) if job.slot else 1


def test_crash_loop_backs_off(config: Config) -> None:
    """A worker that never gets ready is forked at once, then after 0.1 and 0.2 s; the others serve."""
    with running(config, crashing, ready=False) as service:
        times = [float(service.wait("starts slot 0").split(" at ")[1]) for _ in range(4)]
        assert times[2] - times[1] >= 0.1
        assert times[3] - times[2] >= 0.2
        assert service.status()["state"] == "STARTING"
        service.send(signal.SIGINT)
        assert service.end() == 0


def mute(job: Job) -> int:
    say(f"starts slot {job.slot}")
    leave_on_term(job)
    linger(job)
    return 0


def test_late_worker_is_killed(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that does not say ready within its limit gets SIGKILL and is forked again."""
    monkeypatch.setitem(slots.LIMITS, slots.State.STARTING, 0.1)
    with running(config, mute, ready=False) as service:
        service.wait("worker 0", "was not ready in time: SIGKILL")
        service.wait("worker 0", "ended in state late: SIGKILL")
        service.wait("starts slot 0")


def test_failed_start_ends_with_1_and_keeps_the_files(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that is not ready within the start limit says who is missing and leaves what a next try may use."""
    monkeypatch.setattr(service, "START_LIMIT", 0.1)
    with running(config, mute, ready=False) as parent:
        parent.wait("not ready in time: no answer from worker 0, worker 1")
        assert parent.end() == 1
    assert {"cache", "status.json"} <= set(os.listdir(config.node.run_dir))


def stubborn(job: Job) -> int:
    if job.slot == 1:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        say("ignores SIGTERM")
        while True:
            signal.pause()
    return worker(job)


def test_worker_that_does_not_leave_is_killed(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stop is bounded: who ignores SIGTERM gets SIGKILL, and the stop is still a clean one."""
    monkeypatch.setitem(slots.LIMITS, slots.State.STOPPING, 0.1)
    with running(config, stubborn, ready=False) as service:
        service.wait("ignores SIGTERM")
        service.send(signal.SIGTERM)
        service.wait("worker 1", "did not leave in time: SIGKILL")
        assert service.end() == 0


def test_workers_leave_when_the_parent_is_killed(config: Config) -> None:
    """SIGKILL of the parent is EOF on the life pipe: every worker leaves by itself, and the run files stay."""
    with running(config) as service:
        service.send(signal.SIGKILL)
        service.wait("orphan slot")
        service.wait("orphan slot")
        assert service.end() == -signal.SIGKILL
    assert {"cache", "counters", "slots", "status.json"} <= set(os.listdir(config.node.run_dir))


def test_sockets_outlive_a_killed_parent(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A query that came between a parent's SIGKILL and the next start is answered, on the sockets systemd kept."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(PATIENCE)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        stored = {}
        with running(config) as first:
            for _ in range(4):
                said, fds, *_ = socket.recv_fds(systemd, 512, 1)
                stored[said.decode().split("FDNAME=")[1].split("\n")[0]] = fds[0]
            assert systemd.recv(512).startswith(b"READY=1")
            first.send(signal.SIGKILL)
            first.end()
        with ask(config) as client, running(config, stored=stored) as second:
            assert client.recv(512) == b"id\x81\x00 a question"
            assert second.status()["adoptions"] == 4
            assert systemd.recv(512).startswith(b"READY=1")  # nothing had to be stored again, or removed
        for fd in stored.values():
            os.close(fd)


def lingering(job: Job) -> int:
    code = worker(job)
    signal.sigtimedwait([signal.SIGUSR1], 0.2)
    return code


def epochs(config: Config) -> list[int]:
    """Of slots 0 and 1 and the canary, from the table's header (native/table.h: 256 of 4 octets end its first page)."""
    with open(f"{config.node.run_dir}/cache", "rb") as file:
        header = file.read(4096)
    return list(struct.unpack_from("=3I", header, 4096 - 4 * 256))


def test_next_parent_waits_for_the_workers_of_a_killed_one(config: Config) -> None:
    """Started while orphans hold the ports, the next parent waits, takes cache and ports, and raises every epoch."""
    with running(config, lingering) as first:
        before = epochs(config)
        first.send(signal.SIGKILL)
        os.waitpid(first.pid, 0)
        with running(config) as second:
            assert epochs(config) == [epoch + 1 for epoch in before]
            second.send(signal.SIGTERM)
            assert second.end() == 0


def test_epoch_of_a_dead_worker_is_raised_before_the_next_one_serves(config: Config) -> None:
    """A SIGKILL raises the epoch of that slot by one, and of no other."""
    with running(config) as service:
        before = epochs(config)
        os.kill(service.status()["workers"][1]["pid"], signal.SIGKILL)
        service.wait("serves slot 1")
        assert epochs(config) == [before[0], before[1] + 1, before[2]]


def test_taken_port_is_refused_at_once(config: Config) -> None:
    """Without a killed predecessor a taken port is somebody else's: one line, exit code 1."""
    listen = config.node.listen[0]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind((listen.address, listen.port))
        with running(config, ready=False) as service:
            service.wait(f"node.listen: UDP {listen} is taken by another process; stop pid {os.getpid()}")
            assert service.end() == 1


def test_example_cluster_is_one_more_child(config: Config) -> None:
    """With `example` the root zone's first server is a child of ours too: it answers, is forked again, and leaves."""
    server = Endpoint("127.0.0.1", free_port())
    root = replace(config.zones[0], forward=(server,))
    query = (
        b"id" + bytes.fromhex("0100 0001 0000 0000 0000 07") + b"cluster" + b"\x05local" + bytes.fromhex("00 0006 0001")
    )
    with running(replace(config, zones=(root, *config.zones[1:])), example=True) as service:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(PATIENCE)
            client.connect((server.address, server.port))
            client.send(query)
            assert client.recv(512)[:2] == b"id"
        service.send(signal.SIGTERM)
        assert service.end() == 0


def babbling(job: Job) -> int:
    if job.slot == 0:
        say("babbles")
        os.write(job.ready_fd, b"sws")
        linger(job)
    return worker(job)


def test_worker_that_breaks_the_protocol_is_killed(config: Config) -> None:
    """What a state does not list is the child's fault, and must not end the parent."""
    with running(config, babbling, ready=False) as service:
        service.wait("worker 0", "said 0x77 in state serving: SIGKILL")
        service.wait("babbles")


def test_second_instance_is_refused(config: Config) -> None:
    """One run directory, one parent: the second ends with 1 and names the first."""
    with running(config) as first, running(config, ready=False) as second:
        second.wait(f"{config.node.run_dir}/lock: another instance runs, pid {first.pid}")
        assert second.end() == 1


def raising(job: Job) -> int:
    raise RuntimeError(f"a defect\nin {tag(job)}")


def test_defect_is_one_line_and_exit_70(config: Config) -> None:
    """An exception in a worker becomes one line with its place, and exit code 70."""
    with running(config, raising, ready=False) as service:
        service.wait("worker 0", "RuntimeError: a defect\\x0ain slot 0", "test_supervisor_loop.py:")
        service.wait("worker 0", "ended in state starting: exit code 70")
