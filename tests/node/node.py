"""A node: a Debian root that real systemd has booted, nodedns installed in it, an upstream and a load beside it."""

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.service.service import Load

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / "build" / "node-root-2"  # the number changes with PACKAGES
PACKAGES = "systemd,systemd-sysv,dbus,iproute2,nftables,iptables,procps,python3,python3-pyroute2"
ADDRESS = "169.254.20.10"
DEADLINE = 30.0  # seconds for whatever is awaited; a boot takes about 6
LAUNCHER = "#!/usr/bin/python3\nimport sys\nfrom nodedns.cli import main\nsys.exit(main())\n"


def missing() -> str | None:
    """Why no node can be booted here, None when one can."""
    if os.geteuid() != 0:
        return "needs root"
    return None if shutil.which("mmdebstrap") else "needs mmdebstrap"


def cached_root() -> Path:
    """The Debian 12 root, made once (about 25 s)."""
    if not CACHE.exists():
        half = CACHE.with_suffix(".new")
        shutil.rmtree(half, ignore_errors=True)
        half.parent.mkdir(exist_ok=True)
        options = ["--quiet", "--variant=minbase", f"--include={PACKAGES}"]
        subprocess.run(["mmdebstrap", *options, "bookworm", str(half)], check=True)
        (half / "etc/hosts").write_text("127.0.0.1 localhost node\n")
        (half / "etc/resolv.conf").write_text("")
        half.rename(CACHE)
    return CACHE


class Node:
    """Booted on entry, killed on exit."""

    def __enter__(self) -> Self:
        self.scratch = tempfile.TemporaryDirectory(prefix="node")
        command = [str(ROOT / "tests/node/boot"), str(cached_root()), self.scratch.name]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.pid = 0
        self.await_(self._booted, "booted")
        self.path = Path(f"/proc/{self.pid}/root")
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        self.process.kill()
        self.process.wait()
        self.scratch.cleanup()

    def _booted(self) -> bool:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        self.pid = int(children[0]) if children else 0
        return bool(self.pid) and self.run("systemctl", "is-system-running") in ("running", "degraded")

    def await_(self, there: Any, what: str) -> None:
        """Asks again and again: nobody tells us from inside."""
        ends = time.monotonic() + DEADLINE
        while not there():
            assert self.process.poll() is None, "the node is gone"
            assert time.monotonic() < ends, (
                f"not {what}: {self.run('journalctl', '-n30', '--no-pager') if self.pid else ''}"
            )

    def run(self, *command: str, check: bool = False) -> str:
        """A command inside; its output."""
        inside = ["nsenter", "-t", str(self.pid), "-a", *command]
        done = subprocess.run(inside, capture_output=True, text=True, check=False)
        assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """A file inside."""
        file = self.path / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)

    def install(self, upstream: int, workers: int = 2) -> None:
        """What the package will do."""
        packages = self.path / "usr/lib/python3/dist-packages/nodedns"
        shutil.copytree(ROOT / "nodedns", packages, ignore=shutil.ignore_patterns("__pycache__", "*.c", "*.h"))
        self.write("/usr/bin/nodedns", LAUNCHER, 0o755)
        self.write("/etc/systemd/system/nodedns.service", (ROOT / "systemd/nodedns.service").read_text())
        self.write("/usr/lib/sysusers.d/nodedns.conf", (ROOT / "systemd/sysusers.d/nodedns.conf").read_text())
        self.configure(upstream, workers)
        for command in (
            "ip link set lo up",
            "systemd-sysusers",
            "systemctl daemon-reload",
        ):
            self.run(*command.split(), check=True)

    def configure(self, upstream: int, workers: int = 2) -> None:
        """The config file."""
        self.write(
            "/etc/nodedns/nodedns.toml",
            f'[cluster]\ndns = "127.0.0.1:{upstream}"\n[node]\nlisten = ["{ADDRESS}"]\nworkers = {workers}\n'
            f'[[zone]]\nname = "."\nforward = ["127.0.0.1:{upstream}"]\nsuccess = {{ max_ttl = 600 }}\n',
        )

    def network(self) -> list[str]:
        """The command that puts a process of ours into the node's network, and there alone."""
        return ["nsenter", "-t", str(self.pid), "-n"]

    def load(self, rate: int) -> Load:
        """A load from the host itself."""
        return Load(53, rate, address=ADDRESS, inside=self.network())

    def main_pid(self) -> int:
        """The parent's pid, seen from inside; 0 when there is none."""
        return int(self.run("systemctl", "show", "-P", "MainPID", "nodedns") or 0)

    def workers(self) -> list[int]:
        """Pids inside of the main process's children."""
        return [int(pid) for pid in self.run("pgrep", "-P", str(self.main_pid())).split()]

    def active(self) -> bool:
        """Is it up and ready?"""
        return self.run("systemctl", "is-active", "nodedns") == "active"

    def journal(self) -> str:
        """What it logged."""
        return self.run("journalctl", "-u", "nodedns", "--no-pager", "-o", "cat")
