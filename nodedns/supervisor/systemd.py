"""sd_notify(3) without its library: each state is one datagram."""

import os
import select
import signal
import socket
import time

from nodedns.journal import log

READY = "READY=1"
STOPPING = "STOPPING=1"
WATCHDOG = "WATCHDOG=1"

PATIENCE = 1.0
"""Seconds to wait for room in systemd's queue. A lost READY=1 would end the start, a longer wait would hold up the
parent's loop."""


def reloading() -> str:
    """The state for a reload's begin: systemd tells an old READY=1 from a new one by the time (sd_notify(3),
    Type=notify-reload)."""
    return f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}"


def watchdog() -> float | None:
    """Seconds within which systemd wants to hear WATCHDOG=1 (sd_watchdog_enabled(3)), None when it does not."""
    usec, pid = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    return int(usec) / 1e6 if usec.isdigit() and pid in ("", str(os.getpid())) else None


def restarting(cgroup: str = "/proc/self/cgroup") -> bool:
    """Is a restart of our unit, which `cgroup` names, under way, rather than a stop? SIGTERM looks the same, systemd's
    job does not."""
    if not os.environ.get("NOTIFY_SOCKET"):
        return False
    try:
        with open(cgroup, encoding="ascii") as file:
            unit = file.read().strip().rpartition("/")[2]
        jobs = _output("systemctl", "list-jobs", "--no-legend", "--plain")
    except OSError as error:
        log("systemd_error", f"systemctl list-jobs: {error.strerror}; taken for a stop")
        return False
    return any(words[1:3] == [unit, "restart"] for words in map(str.split, jobs.splitlines()))


def _output(*command: str) -> str:
    """What a command says within PATIENCE; it is ended then. Without subprocess, which the parent has no other use
    for."""
    read, write = os.pipe2(os.O_CLOEXEC)
    with open(read, "rb", buffering=0) as said:
        pid = os.posix_spawnp(command[0], command, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, write, 1)])
        os.close(write)
        poll, text, deadline = select.poll(), b"", time.monotonic() + PATIENCE
        poll.register(said, select.POLLIN)
        while poll.poll(max(0.0, deadline - time.monotonic()) * 1000) and (more := said.read(4096)):
            text += more
    os.kill(pid, signal.SIGKILL)  # ours until it is reaped, so the number is still its own
    os.waitpid(pid, 0)
    return text.decode(errors="replace")


def notify(*states: str, fds: tuple[int, ...] = ()) -> bool:
    """Sends the states, and descriptors for FDSTORE=1, in one datagram to $NOTIFY_SOCKET. False when there is none or
    it does not take it (logged)."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            sock.settimeout(PATIENCE)
            sock.connect(f"\0{address[1:]}" if address[0] == "@" else address)
            socket.send_fds(sock, ["\n".join(states).encode()], list(fds)) if fds else sock.send(
                "\n".join(states).encode()
            )
    except OSError as error:
        log("systemd_error", f"systemd did not take {states[0]!r} at {address}: {error.strerror or error}")
        return False
    return True
