"""Days on which more than nodedns is broken: a reboot with a bad package, a held lock, a rival for port 53, no
memory."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.node.network import KUBE_DNS, SERVICE_IP
from tests.node.node import ADDRESS, Node
from tests.service.service import Authority

CLIENTS = [(who, address) for who in ("pod", "node") for address in (ADDRESS, SERVICE_IP)]
LEGACY = 'netfilter = "iptables-legacy"\non_stop = "clean"\n'


@pytest.fixture(autouse=True)
def well(node: Node) -> Iterator[None]:
    """Every drill begins with a service that is up, on the default config."""
    node.unpack()
    node.configure(node.authority.port)
    node.run("systemctl", "restart", "nodedns")
    node.await_(node.steered, "active, with a fallback")
    return


def answered(node: Node) -> bool:
    """Does everybody get an answer to a name never asked before?"""
    name = f"u{time.monotonic_ns()}.load.test"
    return all(
        node.outside(who, "dig", "+tries=1", "+time=1", "+short", f"@{address}", name).strip()
        for who, address in CLIENTS
    )


def test_a_reboot_with_a_broken_package(node: Node, tmp_path: Path) -> None:
    """nodedns-failopen.service alone answers pods and host at both addresses, as soon as there is a network."""
    for path in ("etc/systemd/system", "etc/nodedns", "var/lib/nodedns"):
        target = tmp_path / path
        target.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cp", "-a", str(node.path / path), str(target.parent)], check=True)
    (tmp_path / "usr/bin").mkdir(parents=True)
    (tmp_path / "usr/bin/nodedns").write_text("#!/usr/bin/python-of-yesterday\n")
    (tmp_path / "usr/bin/nodedns").chmod(0o755)
    for path in (
        tmp_path,
        tmp_path / "usr",
        tmp_path / "usr/bin",
        tmp_path / "etc",
        tmp_path / "var",
        tmp_path / "var/lib",
    ):
        path.chmod(0o755)
    with Node(tmp_path) as second, Authority(second.network.inside("dns"), 53, KUBE_DNS) as kube_dns:
        assert second.run("systemctl", "is-active", "nodedns-failopen") == "active"
        assert not second.active()
        assert answered(second)
        assert second.asked(kube_dns) >= len(CLIENTS)


def test_a_rival_on_every_address(node: Node) -> None:
    """A server on 0.0.0.0:53 beside a dead nodedns: it is still kube-dns that answers."""
    node.run("systemctl", "stop", "nodedns", check=True)
    with Authority(node.network.inside("node"), 53, "0.0.0.0") as rival:
        seen = node.asked(node.kube_dns)
        assert answered(node)
        assert node.asked(node.kube_dns) >= seen + len(CLIENTS)
        assert node.asked(rival) == 0


@contextmanager
def lock_held(node: Node, until: str) -> Iterator[None]:
    """Somebody holds the xtables lock until a command ends; "cat" does with the block. Through when it has ended."""
    inside = [
        "nsenter",
        "-t",
        str(node.pid),
        "-a",
        "flock",
        "/run/xtables.lock",
        "sh",
        "-c",
        f"echo held; exec {until}",
    ]
    with subprocess.Popen(inside, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        yield


def test_the_xtables_lock_is_held(node: Node) -> None:
    """Start and stop succeed as soon as the lock is free; meanwhile the Service IP is kube-dns's: nothing is lost."""
    node.configure(node.authority.port, extra=LEGACY)
    node.run("systemctl", "stop", "nodedns", check=True)
    with node.load(500, "pod", SERVICE_IP) as load:
        for verb in ("start", "stop"):
            began = time.monotonic()
            with lock_held(node, "sleep 10"):
                node.run("systemctl", verb, "nodedns", check=True)
            print(f"{verb} took {time.monotonic() - began:.1f} s")
            rules = node.run("iptables-legacy-save")
            assert ("NODEDNS-INPUT" in rules) == (verb == "start")
        verdict = load.verdict()
    assert verdict["lost"] == verdict["wrong"] == 0
    assert "NODEDNS" not in node.run("iptables-legacy-save")


def test_a_restart_during_a_repair(node: Node) -> None:
    """The repair waits for the lock: the stop waits for it, systemd finds nobody to kill, and nothing is lost."""
    node.configure(node.authority.port, extra=LEGACY)
    node.run("systemctl", "restart", "nodedns", check=True)
    node.await_(lambda: "NODEDNS-INPUT" in node.run("iptables-legacy-save"), "ours written")
    old, before, wanted = node.main_pid(), kills(node), node.run("iptables-legacy-save").count("NODEDNS")
    with node.load(500, "pod", SERVICE_IP) as load:
        node.run("iptables-legacy", "-F", "NODEDNS-INPUT", check=True)
        with lock_held(node, "cat"):
            node.await_(lambda: node.run("pgrep", "-f", "^iptables-legacy"), "being put right")
            node.run("systemctl", "restart", "--no-block", "nodedns", check=True)
            node.await_(lambda: node.run("systemctl", "is-active", "nodedns") == "deactivating", "stopping")
            assert node.run("pgrep", "-f", "^iptables-legacy")
        node.await_(lambda: node.main_pid() not in (0, old) and node.active(), "restarted")
        node.await_(lambda: node.run("iptables-legacy-save").count("NODEDNS") == wanted, "put right")
        verdict = load.verdict()
    assert verdict["lost"] == verdict["wrong"] == 0
    assert kills(node) == before


def kills(node: Node) -> int:
    """How often systemd has killed what a stop left behind."""
    return node.run("journalctl", "-u", "nodedns", "--no-pager").count("Killing process")


@pytest.mark.parametrize("backend", ["iptables-legacy", "iptables-nft"])
def test_kube_proxy_beside_us(node: Node, backend: str) -> None:
    """A loop that rewrites its own rules as kube-proxy does, while ours are taken away and come back: no update of
    either is lost."""
    restore, save = f"{backend}-restore", f"{backend}-save"
    node.configure(node.authority.port, extra=f'netfilter = "{backend}"\n')
    node.run("systemctl", "restart", "nodedns", check=True)
    node.await_(lambda: "NODEDNS-INPUT" in node.run(save), "ours written")
    count = node.run(save).count("NODEDNS")
    ends, rounds, mended = time.monotonic() + 60, 0, 0
    while time.monotonic() < ends:
        rounds += 1
        chain = f"*filter\n:KUBE-TEST - [0:0]\n-A KUBE-TEST -d 10.0.0.{rounds % 250 + 1} -j ACCEPT\nCOMMIT\n"
        node.feed(chain, restore, "-w", "5", "--noflush")
        found = node.run(save, "-t", "filter")
        assert f"-d 10.0.0.{rounds % 250 + 1}/32" in found, "an update of the other was lost"
        if rounds % 25 == 0:
            node.run(save.removesuffix("-save"), "-w", "5", "-F", "NODEDNS-INPUT")
            mended += 1
    node.await_(lambda: node.run(save).count("NODEDNS") == count, "ours as before")
    print(f"{backend}: {rounds} updates beside us, none lost; ours were taken away {mended} times")
    node.feed("*filter\n:KUBE-TEST - [0:0]\n-X KUBE-TEST\nCOMMIT\n", restore, "--noflush")
    node.configure(node.authority.port, extra=f'netfilter = "{backend}"\non_stop = "clean"\n')
    node.run("systemctl", "reload", "nodedns", check=True)
    node.run("systemctl", "stop", "nodedns", check=True)
    assert "NODEDNS" not in node.run(save)


def test_a_cache_beyond_what_the_unit_may_have(node: Node) -> None:
    """doctor says so before the restart, with what to set. (No memory controller here: systemd's own limit is not in
    force; tests/unit/test_supervisor_room.py has the refusal.)"""
    path = "/etc/nodedns/nodedns.d/size.toml"
    assert "well  memory: room for 32 MiB of cache" in node.run("nodedns", "doctor")
    node.write(path, '[cache]\nsize = "512MiB"\n')
    try:
        said = node.run("nodedns", "doctor")
    finally:
        (node.path / path.lstrip("/")).unlink()
    assert (
        "bad   memory: a cache of 512 MiB and 2 workers, which take 552 MiB; expected what the unit's MemoryMax" in said
    )
    assert "MemoryMax=1104M" in said


def test_out_of_memory(node: Node) -> None:
    """The kernel kills the supervisor for memory: nothing is lost over UDP, and the cache is warm afterwards."""
    group = Path(f"/sys/fs/cgroup/memory/nodedns-drill-{os.getpid()}")
    if not group.parent.is_dir():
        pytest.skip("no memory controller of cgroup v1 here")
    group.mkdir()
    node.warm()
    try:
        with node.load(2000) as load:
            old, seen = node.main_pid(), node.asked(node.authority)
            (group / "cgroup.procs").write_text(str(node.outer(old)))
            # what it has is not charged to the group; what it takes from now on is, and there is no room for it
            (group / "memory.limit_in_bytes").write_text("65536")
            node.run("systemctl", "reload", "--no-block", "nodedns")
            node.await_(lambda: node.main_pid() not in (0, old) and node.active(), "restarted")
            assert node.asked(node.authority) == seen
            verdict = load.verdict()
        assert verdict["lost"] == verdict["wrong"] == 0
        assert verdict["slowest"] <= 1.5
        assert "oom_kill 0" not in (group / "memory.oom_control").read_text()
    finally:
        group.rmdir()
