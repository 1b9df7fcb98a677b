"""supervisor.room: what the unit may have, and whether the config fits into it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nodedns.config import ConfigError, parse
from nodedns.supervisor import room
from nodedns.supervisor.room import MIB

GROUPS = Path("/sys/fs/cgroup/memory")
CONFIG = '[cluster]\ndns = "10.96.0.10"\n[node]\nworkers = {}\n[cache]\nsize = "{}MiB"\n[[zone]]\nname = "."\n'


@pytest.mark.parametrize(
    ("groups", "files", "allowed"),
    [
        ("0::/a.slice/b.service\n", {"a.slice/b.service/memory.max": "268435456\n"}, 256 * MIB),
        ("0::/a.slice/b.service\n", {"a.slice/b.service/memory.max": "max\n"}, None),
        (
            "0::/a.slice/b.service\n",
            {"a.slice/b.service/memory.max": "268435456\n", "a.slice/memory.max": "134217728\n"},
            128 * MIB,
        ),
        ("0::/\n", {"memory.max": "1\n"}, None),
        ("0::/gone\n", {}, None),
        ("0::\n0::/../outside\n", {}, None),
        (
            "4:memory:/a.slice/b.service\n1:name=systemd:/a.slice/b.service\n0::/a.slice/b.service\n",
            {"memory/a.slice/b.service/memory.limit_in_bytes": "268435456\n"},
            256 * MIB,
        ),
        ("3:cpu,memory:/b\n", {"memory/b/memory.limit_in_bytes": "1048576"}, MIB),
        ("0::/a:b\n", {"a:b/memory.max": "1048576\n"}, MIB),
        ("0::/a\n", {"a/memory.max": "many\n"}, None),
    ],
)
def test_allowed(groups: str, files: dict[str, str], allowed: int | None, tmp_path: Path) -> None:
    """Of both versions of cgroups, the tightest limit on the way up."""
    (tmp_path / "cgroup").write_text(groups)
    for name, text in files.items():
        (tmp_path / "sys" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "sys" / name).write_text(text)
    assert room.allowed(str(tmp_path / "cgroup"), str(tmp_path / "sys")) == allowed


@pytest.mark.parametrize(
    ("workers", "size", "allowed", "fits"),
    [
        (4, 32, 256 * MIB, True),
        (4, 196, 256 * MIB, True),
        (4, 197, 256 * MIB, False),
        (24, 32, 256 * MIB, False),
        (4, 512, 256 * MIB, False),
        (64, 16384, None, True),
    ],
)
def test_check(workers: int, size: int, allowed: int | None, fits: bool) -> None:
    """What does not fit is a bad config, with what to set instead."""
    config = parse(CONFIG.format(workers, size))
    if fits:
        room.check(config, allowed)
        return
    with pytest.raises(ConfigError) as caught:
        room.check(config, allowed)
    needed = size + 10 * workers + 20
    said = f"a cache of {size} MiB and {workers} workers, which take {needed} MiB"
    assert said in str(caught.value)
    assert f"MemoryMax={2 * needed}M" in str(caught.value)


@pytest.mark.skipif(os.geteuid() != 0 or not (GROUPS / "cgroup.procs").exists(), reason="needs root and cgroups v1")
def test_a_start_without_room(tmp_path: Path) -> None:
    """In a real group: the exit code of a bad config, which systemd does not try again, and no cache was made."""
    group = GROUPS / f"nodedns-room-{os.getpid()}"
    (tmp_path / "nodedns.toml").write_text(
        CONFIG.format(2, 512).replace("[cache]", f'listen = "127.0.0.1:1"\nrun_dir = "{tmp_path}/run"\n[cache]')
        + 'forward = "192.0.2.1"\n'
    )
    group.mkdir()
    try:
        (group / "memory.limit_in_bytes").write_text(str(128 * MIB))
        enter = f"echo $$ >{group}/cgroup.procs; exec {sys.executable} -m nodedns run --config {tmp_path}/nodedns.toml"
        done = subprocess.run(["sh", "-c", enter], capture_output=True, text=True, check=False, timeout=60)
    finally:
        group.rmdir()
    assert done.returncode == 78
    assert done.stderr.startswith(
        "nodedns: cache.size: expected what the unit's MemoryMax of 128 MiB has room for, got"
    )
    assert not (tmp_path / "run").exists()
