"""A node: a Debian root that real systemd has booted, nodedns installed in it, an upstream and a load beside it."""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.node.network import SERVICE_IP, Network, kube_proxy
from tests.node.roots import ROOT, made
from tests.service.service import Authority, Load, TcpLoad

CACHE = ROOT / "build" / "node-root-5"  # the number changes with PACKAGES
PACKAGES = "systemd,systemd-sysv,dbus,iproute2,nftables,iptables,procps,python3,python3-pyroute2,python3-aiodns,"
PACKAGES += "python3-dnslib,systemd-resolved"
ADDRESS = "169.254.20.10"
DEADLINE = 30.0  # seconds for whatever is awaited; a boot takes about 6
LAUNCHER = "#!/usr/bin/python3\nimport sys\nfrom nodedns.cli import main\nsys.exit(main())\n"


def missing() -> str | None:
    """Why no node can be booted here, None when one can."""
    if os.geteuid() != 0:
        return "needs root"
    return None if shutil.which("mmdebstrap") else "needs mmdebstrap"


def cached_root() -> Path:
    """The Debian 12 root with what nodedns needs, and without nodedns."""
    if not CACHE.exists():
        disabled = '--customize-hook=chroot "$1" systemctl disable --quiet systemd-resolved'
        made(CACHE.name, "bookworm", PACKAGES, disabled)
    return CACHE


def _namespace(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")
    except OSError:
        return ""  # it has gone


class Node:
    """Booted on entry, killed on exit. The files below `seed` lie over those of `root` from the beginning."""

    authority: Authority
    kube_dns: Authority
    said: str

    def __init__(self, seed: Path | None = None, root: Path | None = None) -> None:
        self.seed, self.root = seed, root or cached_root()

    def __enter__(self) -> Self:
        self.scratch = tempfile.TemporaryDirectory(prefix="node")
        command = [str(ROOT / "tests/node/boot"), str(self.root), self.scratch.name]
        command += [str(self.seed)] if self.seed else []
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.pid = 0
        self.await_(self._booted, "booted")
        self.path = Path(f"/proc/{self.pid}/root")
        self.network = Network(self.pid).__enter__()
        # From out here, as kube-proxy brings a tool of its own.
        restore = [*self.network.inside("node"), "iptables-nft-restore", "--noflush"]
        subprocess.run(restore, input=kube_proxy(), text=True, check=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        self.network.__exit__(None, None, None)
        self.process.kill()
        self.process.wait()
        self.scratch.cleanup()
        self._drop_groups()

    def _drop_groups(self) -> None:
        """Those that its systemd has made in the one that tests/node/boot has; the last process may take a moment."""
        ends = time.monotonic() + DEADLINE
        group = next(Path("/sys/fs/cgroup").rglob(f"node-{self.process.pid}"), None)
        while group and group.exists():
            assert time.monotonic() < ends, f"{group} is in use"
            for folder in sorted((group, *filter(Path.is_dir, group.rglob("*"))), reverse=True):
                with suppress(OSError):
                    folder.rmdir()

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

    def complaints(self, *command: str) -> str:
        """What a command inside says on stderr."""
        inside = ["nsenter", "-t", str(self.pid), "-a", *command]
        return subprocess.run(inside, capture_output=True, text=True, check=False).stderr.strip()

    def outside(self, who: str, *command: str) -> str:
        """A command of this machine in the network of the node or of the pod; its output."""
        inside = [*self.network.inside(who), *command]
        return subprocess.run(inside, capture_output=True, text=True, check=False).stdout

    def feed(self, text: str, *command: str) -> None:
        """A command inside that reads `text`."""
        inside = ["nsenter", "-t", str(self.pid), "-a", *command]
        subprocess.run(inside, input=text, text=True, check=True, capture_output=True)

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """A file inside."""
        file = self.path / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)

    def install(self, upstream: int, workers: int = 2) -> None:
        """What the package will do."""
        self.unpack()
        self.configure(upstream, workers)
        for command in (
            "ip link set lo up",
            "systemd-sysusers",
            "systemctl daemon-reload",
            "systemctl enable nodedns nodedns-failopen",
        ):
            self.run(*command.split(), check=True)

    def unpack(self) -> None:
        """The package's files."""
        packages = self.path / "usr/lib/python3/dist-packages/nodedns"
        shutil.rmtree(packages, ignore_errors=True)
        shutil.copytree(ROOT / "nodedns", packages, ignore=shutil.ignore_patterns("__pycache__", "*.c", "*.h"))
        self.write("/usr/bin/nodedns", LAUNCHER, 0o755)
        network = "usr/lib/systemd/network/10-nodedns.network"
        self.write(network, (ROOT / "systemd/networkd/10-nodedns.network").read_text())
        for unit in ("nodedns.service", "nodedns-failopen.service"):
            self.write(f"/etc/systemd/system/{unit}", (ROOT / "systemd" / unit).read_text())
        self.write("/usr/lib/sysusers.d/nodedns.conf", (ROOT / "systemd/sysusers.d/nodedns.conf").read_text())

    def configure(self, upstream: int, workers: int = 2, extra: str = "") -> None:
        """The config file; `extra` belongs to [node]."""
        self.write(
            "/etc/nodedns/nodedns.toml",
            f'[cluster]\ndns = "127.0.0.1:{upstream}"\n[node]\nlisten = ["{ADDRESS}", "{SERVICE_IP}"]\n'
            f"workers = {workers}\n{extra}"
            f'[[zone]]\nname = "."\nforward = ["127.0.0.1:{upstream}"]\nsuccess = {{ max_ttl = 600 }}\n',
        )

    def load(self, rate: int, who: str = "node", address: str = ADDRESS) -> Load:
        """A load from the host itself, or from the pod."""
        return Load(53, rate, address=address, inside=self.network.inside(who))

    @contextmanager
    def everyone(self, rate: int, slowest: float, tcp: float = 0.0) -> Iterator[None]:
        """All a node's clients at once, over UDP and TCP, host and pod, at both addresses: none loses a query or gets a
        wrong answer, and none waits longer than `slowest` seconds; over TCP `tcp`, in which a new connection counts."""
        with ExitStack() as stack:
            loads = [stack.enter_context(self.load(rate))]
            for who, address in (("pod", ADDRESS), ("pod", SERVICE_IP), ("node", SERVICE_IP)):
                loads.append(stack.enter_context(self.load(rate // 10, who, address)))
            for who, address in (("pod", SERVICE_IP), ("node", ADDRESS)):
                inside = self.network.inside(who)
                loads.append(stack.enter_context(TcpLoad(53, 200, address=address, inside=inside)))
            yield
            for load in loads:
                load.stop()
            for load in loads:
                verdict = load.verdict()
                assert verdict["lost"] == verdict["wrong"] == 0
                assert verdict["answered"] == verdict["sent"]
                assert verdict["slowest"] <= (max(slowest, tcp) if isinstance(load, TcpLoad) else slowest)

    def pause(self, seconds: float) -> None:
        """Stops every process of the node, as the hypervisor does that takes a snapshot, and lets them go on."""
        space = os.readlink(f"/proc/{self.pid}/ns/pid")
        pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
        inside = [pid for pid in pids if _namespace(pid) == space and pid != self.pid]
        for number, pid in [(signal.SIGSTOP, pid) for pid in (self.pid, *inside)]:
            os.kill(pid, number)
        time.sleep(seconds)  # the pause itself
        for pid in (*inside, self.pid):
            os.kill(pid, signal.SIGCONT)

    def main_pid(self) -> int:
        """The parent's pid, seen from inside; 0 when there is none."""
        return int(self.run("systemctl", "show", "-P", "MainPID", "nodedns") or 0)

    def outer(self, pid: int) -> int:
        """A process's pid out here."""
        space = os.readlink(f"/proc/{self.pid}/ns/pid")
        for name in filter(str.isdigit, os.listdir("/proc")):
            with suppress(FileNotFoundError, ProcessLookupError):  # it has gone
                if _namespace(int(name)) == space:
                    status = Path(f"/proc/{name}/status").read_text()
                    if f"\nNSpid:\t{name}\t{pid}\n" in status:
                        return int(name)
        raise LookupError(pid)

    def warm(self) -> None:
        """Has every name of a load cached."""
        names = f"for i in $(seq 0 199); do echo n$i.load.test; done | dig @{ADDRESS} +short -f -"
        self.outside("node", "sh", "-c", names)

    def workers(self) -> list[int]:
        """Pids inside of the workers that serve."""
        try:
            status = json.loads((self.path / "run/nodedns/status.json").read_text())
        except FileNotFoundError:
            return []
        return [worker["pid"] for worker in status["workers"] if worker["state"] == "SERVING"]

    @staticmethod
    def asked(server: Authority) -> int:
        """Queries it has seen, those for kube-dns's endpoints excepted: they come by the clock."""
        return sum(count for name, count in server.asked().items() if not name.startswith("kube-dns-endpoints"))

    def steered(self) -> bool:
        """Is it up, and knows where to send queries when it is not?"""
        return self.active() and "dnat ip to" in self.run("nft", "list", "table", "inet", "nodedns")

    def monitor(self) -> int:
        """The monitor's pid inside, once it works; 0 when there is none."""
        status = json.loads((self.path / "run/nodedns/status.json").read_text())
        return int(status["monitor"]["pid"] or 0) if status["monitor"]["state"] == "SERVING" else 0

    def active(self) -> bool:
        """Is it up and ready?"""
        return self.run("systemctl", "is-active", "nodedns") == "active"

    def journal(self) -> str:
        """What it logged."""
        return self.run("journalctl", "-u", "nodedns", "--no-pager", "-o", "cat")
