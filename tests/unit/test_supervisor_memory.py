"""The run directory: its lock, its permissions, and which files are kept or made anew."""

import fcntl
import os
import select
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from nodedns import native
from nodedns.supervisor import memory
from nodedns.supervisor.errors import HostError

SIZE = 2**20
SLOTS = 3


@pytest.fixture
def run_dir(tmp_path: Path) -> str:
    path = tmp_path / "run"
    path.mkdir(mode=0o700)
    return str(path)


def test_directory_and_lock_are_private(tmp_path: Path) -> None:
    """A directory that is missing is made 0700, the lock in it 0600 with our pid."""
    run_dir = tmp_path / "not" / "there"
    fd = memory.lock(str(run_dir))
    assert stat.S_IMODE(run_dir.stat().st_mode) == 0o700
    assert stat.S_IMODE((run_dir / "lock").stat().st_mode) == 0o600
    assert (run_dir / "lock").read_text() == f"{os.getpid()}\n"
    assert not os.get_inheritable(fd)
    os.close(fd)


def test_lock_is_held_by_one(run_dir: str) -> None:
    """The second to take the lock is told the pid of the first; it is free again once the first has closed it."""
    fd = memory.lock(run_dir)
    before = os.listdir("/proc/self/fd")
    with pytest.raises(HostError, match=f"lock: another instance runs, pid {os.getpid()}; stop it"):
        memory.lock(run_dir)
    assert os.listdir("/proc/self/fd") == before
    os.close(fd)
    os.close(memory.lock(run_dir))


def test_lock_waits_for_who_only_looks(run_dir: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shared lock of `nodedns status`, let go after the first try, does not refuse a start."""
    looking = os.open(f"{run_dir}/lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(looking, fcntl.LOCK_SH)
    monkeypatch.setattr(memory.time, "sleep", lambda _: fcntl.flock(looking, fcntl.LOCK_UN))
    os.close(memory.lock(run_dir))
    os.close(looking)


def test_lock_of_a_removed_file_is_not_taken_for_the_lock(run_dir: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the last instance removes the file between our open() and flock(), the lock is taken on a new file."""
    real = fcntl.flock
    left = [f"{run_dir}/lock"]

    def flock(fd: int, how: int) -> None:
        if left:
            os.unlink(left.pop())
        real(fd, how)

    monkeypatch.setattr(memory.fcntl, "flock", flock)
    fd = memory.lock(run_dir)
    assert os.path.samestat(os.fstat(fd), os.stat(f"{run_dir}/lock"))
    os.close(fd)


def open_to_group(path: str) -> None:
    os.chmod(path, 0o770)


def of_another(path: str) -> None:
    os.chown(path, 65534, 65534)


def a_file(path: str) -> None:
    os.rmdir(path)
    Path(path).touch()


def a_link(path: str) -> None:
    os.rename(path, f"{path}.real")
    os.symlink(f"{path}.real", path)


def lock_is_a_link(path: str) -> None:
    os.symlink("/etc/passwd", f"{path}/lock")


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (open_to_group, "expected no write permission for group and others, got mode 0770; chmod go-w"),
        pytest.param(
            of_another,
            "expected to belong to uid 0, got uid 65534; change its owner",
            marks=pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a directory away"),
        ),
        (a_file, "File exists; check node.run_dir"),
        (a_link, "expected a directory, got something else"),
        (lock_is_a_link, "lock: Too many levels of symbolic links; check node.run_dir"),
    ],
)
def test_directory_that_others_could_use_is_refused(spoil: Callable[[str], None], line: str, run_dir: str) -> None:
    """Who can write into the directory could forge every answer: one line says what is wrong with it."""
    spoil(run_dir)
    with pytest.raises(HostError) as caught:
        memory.lock(run_dir)
    assert line in str(caught.value)
    assert str(caught.value).startswith(run_dir)


def test_files_are_whole_private_and_not_open(run_dir: str) -> None:
    """Files of the sizes the config and the build give, every page allocated, mapped and not open."""
    before = os.listdir("/proc/self/fd")
    shared = memory.map_all(run_dir, SIZE, SLOTS)
    assert os.listdir("/proc/self/fd") == before
    sizes = {"cache": SIZE, "counters": native.counters_size(SLOTS), "slots": native.SLOT_SIZE * SLOTS}
    sizes["samples"] = native.samples_size(SLOTS)
    assert {name: os.stat(f"{run_dir}/{name}").st_size for name in os.listdir(run_dir)} == sizes
    mapped = (shared.table, shared.counters, shared.slots, shared.samples)
    assert [one.size for one in mapped] == list(sizes.values())
    for name, size in sizes.items():
        found = os.stat(f"{run_dir}/{name}")
        assert stat.S_IMODE(found.st_mode) == 0o600
        assert found.st_blocks * 512 >= size
    assert native.table_check(shared.table) is None


def test_files_survive_a_crash_as_they_are(run_dir: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Mapped again with the same sizes, all three are the same files, and nothing is said."""
    first = memory.map_all(run_dir, SIZE, SLOTS)
    seed = native.Table(first.table).seed
    before = {name: os.stat(f"{run_dir}/{name}").st_ino for name in os.listdir(run_dir)}
    assert native.Table(memory.map_all(run_dir, SIZE, SLOTS).table).seed == seed
    assert {name: os.stat(f"{run_dir}/{name}").st_ino for name in os.listdir(run_dir)} == before
    assert capfd.readouterr().err == ""


def damage(path: str) -> None:
    with open(f"{path}/cache", "r+b") as file:
        file.write(b"something else")


def shorten(path: str) -> None:
    os.truncate(f"{path}/cache", SIZE // 2)


@pytest.mark.parametrize(
    ("spoil", "reason"), [(damage, ""), (shorten, f"{SIZE // 2} bytes instead of {SIZE}")], ids=["damaged", "short"]
)
def test_cache_of_another_kind_is_made_anew(
    spoil: Callable[[str], None], reason: str, run_dir: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """A file of another layout or size is replaced, with a new seed, and the log says why; the others stay."""
    seed = native.Table(memory.map_all(run_dir, SIZE, SLOTS).table).seed
    counters = os.stat(f"{run_dir}/counters").st_ino
    spoil(run_dir)
    table = memory.map_all(run_dir, SIZE, SLOTS).table
    assert native.table_check(table) is None
    assert native.Table(table).seed != seed
    assert os.stat(f"{run_dir}/counters").st_ino == counters
    said = capfd.readouterr().err
    assert f"{run_dir}/cache: made anew, it was of another version or config: {reason}" in said
    assert said.count("\n") == 1


def test_counters_of_another_build_are_made_anew(run_dir: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Counters of the same size under other names would be read as what they are not."""
    memoryview(memory.map_all(run_dir, SIZE, SLOTS).counters)[5000:5003] = b"old"
    with open(f"{run_dir}/counters", "r+b") as file:
        file.write(b"counters: questions")
    new = memory.map_all(run_dir, SIZE, SLOTS).counters
    assert bytes(memoryview(new)[5000:5003]) == bytes(3)
    assert bytes(memoryview(new)[:17]) == b"counters: answers"
    assert "counters: made anew, it was of another version or config: other counters" in capfd.readouterr().err


def test_former_mapping_is_left_alone(run_dir: str) -> None:
    """Who still maps a file that is made anew keeps the old one: it is replaced, not rewritten."""
    old = memory.map_all(run_dir, SIZE, SLOTS).counters
    memoryview(old)[5000:5003] = b"old"  # behind the page that says what is counted
    new = memory.map_all(run_dir, SIZE, SLOTS + 1).counters
    assert bytes(memoryview(old)[5000:5003]) == b"old"
    assert bytes(memoryview(new)[5000:5003]) == bytes(3)


def test_half_made_file_of_a_crash_is_no_obstacle(run_dir: str) -> None:
    """A leftover under the temporary name is made again from nothing."""
    Path(f"{run_dir}/cache.new").write_bytes(b"half")
    assert native.table_check(memory.map_all(run_dir, SIZE, SLOTS).table) is None
    assert "cache.new" not in os.listdir(run_dir)


@pytest.mark.skipif(not os.path.ismount("/dev/shm"), reason="needs a tmpfs: a disk would be filled first")
def test_no_room_is_said_with_what_to_do() -> None:
    """A cache larger than its tmpfs is refused at the start, not found by SIGBUS later; nothing is left behind."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as run_dir:
        found = os.statvfs(run_dir)
        with pytest.raises(HostError, match=r"cache: no room for \d+ bytes; lower cache\.size"):
            memory.map_all(run_dir, found.f_blocks * found.f_frsize + 2**30, SLOTS)
        assert os.listdir(run_dir) == []


def test_answers_are_kept_for_who_wants_them(run_dir: str) -> None:
    """The file of whole answers comes and goes with that wish, and is one mapping of its size meanwhile."""
    wires = f"{run_dir}/wires"
    assert memory.map_all(run_dir, SIZE, SLOTS).wires is None
    assert not os.path.exists(wires)
    shared = memory.map_all(run_dir, SIZE, SLOTS, wires=True)
    assert shared.wires is not None
    assert shared.wires.size == os.path.getsize(wires) == native.wires_size(SLOTS)
    assert memory.map_all(run_dir, SIZE, SLOTS).wires is None
    assert not os.path.exists(wires)


def test_remove_takes_what_we_made_and_nothing_else(run_dir: str) -> None:
    """The run files go; a stranger's file, and the directory, stay."""
    os.close(memory.lock(run_dir))
    memory.map_all(run_dir, SIZE, SLOTS)
    Path(f"{run_dir}/stranger").touch()
    memory.remove(run_dir)
    memory.remove(run_dir)
    assert os.listdir(run_dir) == ["stranger"]


def test_mapping_is_shared_with_a_child(run_dir: str) -> None:
    """What a forked child writes, the parent reads: the mapping is inherited without a descriptor."""
    counters = memory.map_all(run_dir, SIZE, SLOTS).counters
    pid = os.fork()
    if pid == 0:
        memoryview(counters)[0:5] = b"child"
        os._exit(0)
    pidfd = os.pidfd_open(pid)
    assert select.select([pidfd], [], [], 5)[0]
    os.waitpid(pid, 0)
    os.close(pidfd)
    assert bytes(memoryview(counters)[0:5]) == b"child"
