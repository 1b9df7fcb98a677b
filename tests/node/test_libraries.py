"""The tests of Python code with each distribution's own Python and libraries, not with the newest of each."""

import os
import re
import subprocess

import pytest

from tests.node.node import missing
from tests.node.roots import ROOT, made

PACKAGES = "python3-pytest,python3-prometheus-client,python3-yaml,python3-aiodns,python3-dnslib,python3-pyroute2,"
PACKAGES += "iproute2,nftables,iptables,procps,bind9-dnsutils"
# Python, aiodns, dnslib, pyroute2.
VERSIONS = {"bookworm": "3.11. 3.0. 0.9.23 0.7.2", "trixie": "3.13. 3.2. 0.9.25 0.7.7"}
TESTS = ("tests/unit", "tests/native", "tests/netns/test_link.py")
# The linters are of one version, and the sanitizers and fuzzers of one compiler.
EXCEPT = ("tests/unit/test_linters.py", "tests/native/test_sanitizers.py", "tests/native/test_fuzz.py")
# What the root has no tool for, and what a library of that age does not know.
SKIPS = re.compile(
    r"needs (fish|zsh|groff|a virtual environment|root and cgroups v1)|(gcc|dnstap-ldns) is not|pycares 4 has no owners"
)
INSIDE = """
mount --bind "$1" "$2/mnt"; mount -o remount,bind,ro "$2/mnt"; mount -t proc proc "$2/proc"
mount --rbind /dev "$2/dev"; mount -t tmpfs tmpfs "$2/tmp"; mount -t tmpfs tmpfs "$2/run"; ip link set lo up
echo nameserver 192.0.2.53 >"$2/run/resolv.conf"; mount --bind "$2/run/resolv.conf" "$2/etc/resolv.conf"
shift 2; chroot "$ROOT" sh -c 'cd /mnt; exec "$@"' sh "$@" || exit $?  # the tests are not to be PID 1
"""


@pytest.mark.parametrize("release", VERSIONS)
def test_with_the_distributions_libraries(release: str) -> None:
    """Unit tests, those of the link, and those of the C core, its binary the one that was built here: abi3."""
    if reason := missing():
        pytest.skip(reason)
    root = made(f"libraries-{release}-3", release, PACKAGES)
    ignored = [f"--ignore={path}" for path in EXCEPT]
    command = ["unshare", "--mount", "--net", "--pid", "--fork", "bash", "-ec", INSIDE, "inside", str(ROOT), str(root)]
    tests = ["python3", "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", *ignored, *TESTS]
    environment = {"PATH": os.environ["PATH"], "ROOT": str(root), "PYTHONDONTWRITEBYTECODE": "1", "HOME": "/tmp"}
    asked = "import platform, importlib.metadata as m; print(platform.python_version(), *map(m.version, "
    asked += "('aiodns', 'dnslib', 'pyroute2')))"
    words = [*command, "python3", "-c", asked]
    versions = subprocess.run(words, env=environment, capture_output=True, text=True, check=True).stdout.split()
    print(*versions)
    assert all(map(str.startswith, versions, VERSIONS[release].split())), versions
    done = subprocess.run([*command, *tests], env=environment, capture_output=True, text=True, check=False)
    skipped = [line for line in done.stdout.splitlines() if line.startswith("SKIPPED")]
    print(*skipped, done.stdout.splitlines()[-1], sep="\n")
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert [line for line in skipped if not SKIPS.search(line)] == []
