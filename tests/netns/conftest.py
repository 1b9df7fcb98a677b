"""This process in a network namespace of its own, and the words of the tools that look into it."""

import ctypes
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

BUILT_IN = ("filter", "mangle", "nat", "raw", "security")
CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


@pytest.fixture(autouse=True)
def namespace() -> Iterator[None]:
    """Before a test into a new one, with loopback up; after it back again."""
    lacking = [command for command in ("nft", "iptables", "ip") if shutil.which(command) is None]
    if os.geteuid() != 0 or lacking:
        pytest.skip(f"needs root{''.join(f' and {command}' for command in lacking)}")
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    assert _libc.unshare(CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
    try:
        say("ip", "link", "set", "lo", "up")
        yield
    finally:
        assert _libc.setns(home, CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
        os.close(home)


def say(*command: str, text: str = "") -> str:
    """What a command prints; it must succeed."""
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def host() -> str:
    """All that a change of ours could touch: links, addresses, every ruleset; without what changes by itself.

    An empty built-in chain that accepts is nothing: iptables makes it when it looks.
    """
    words = [re.sub(r"valid_lft.*", "", say("ip", "-o", "address"))]
    tables = [line.split() for line in say("nft", "list", "tables").splitlines()]
    words += [say("nft", "-s", "list", *table) for table in tables if table[2] not in BUILT_IN]
    for family in ("ip", "ip6"):
        legacy = Path(f"/proc/net/{family}_tables_names").read_text(encoding="ascii").split()
        for backend, names in (("nft", BUILT_IN), ("legacy", legacy)):
            for table in names:
                saved = say(f"{family}tables-{backend}-save", "-t", table)
                saved = re.sub(r"^(#|:[A-Z]+ ACCEPT|COMMIT|\*).*\n", "", saved, flags=re.MULTILINE)
                words.append(f"{family} {backend} {table}: {saved}" if saved.strip() else "")
    return re.sub(r"\[\d+:\d+\]", "", "\n".join(filter(None, words)))
