"""The tests of Python code with each distribution's own Python and libraries, not with the newest of each."""

import os
import subprocess

import pytest

from tests.node.node import missing
from tests.node.roots import RELEASES, ROOT, made

PACKAGES = "python3-pytest,python3-prometheus-client,python3-yaml,python3-aiodns,python3-dnslib,python3-pyroute2,"
PACKAGES += "iproute2,nftables,iptables,procps"
MODULES = "aiodns dnslib pyroute2 pytest prometheus_client"
# The linters are of one version, and the sanitizers and fuzzers of one compiler.
EXCEPT = ("tests/unit/test_linters.py", "tests/native/test_sanitizers.py", "tests/native/test_fuzz.py")
INSIDE = """
mount --bind "$1" "$2/mnt"; mount -o remount,bind,ro "$2/mnt"; mount -t proc proc "$2/proc"
mount --rbind /dev "$2/dev"; mount -t tmpfs tmpfs "$2/tmp"; mount -t tmpfs tmpfs "$2/run"; ip link set lo up
shift 2; chroot "$ROOT" sh -c 'cd /mnt; exec "$@"' sh "$@" || exit $?  # the tests are not to be PID 1
"""


@pytest.mark.parametrize("release", RELEASES)
def test_with_the_distributions_libraries(release: str) -> None:
    """Unit tests and those of the C core, its binary the one that was built here: abi3."""
    if reason := missing():
        pytest.skip(reason)
    root = made(f"libraries-{release}-2", release, PACKAGES)
    ignored = [f"--ignore={path}" for path in EXCEPT]
    command = ["unshare", "--mount", "--net", "--pid", "--fork", "bash", "-ec", INSIDE, "inside", str(ROOT), str(root)]
    tests = ["python3", "-m", "pytest", "-q", "-p", "no:cacheprovider", *ignored, "tests/unit", "tests/native"]
    environment = {"PATH": os.environ["PATH"], "ROOT": str(root), "PYTHONDONTWRITEBYTECODE": "1", "HOME": "/tmp"}
    versions = ["python3", "-c", f"import sys, importlib.metadata as m; print(sys.version.split()[0], "
                f"*(f'{{name}} {{m.version(name)}}' for name in '{MODULES}'.split()))"]  # fmt: skip
    print(subprocess.run([*command, *versions], env=environment, capture_output=True, text=True, check=True).stdout)
    done = subprocess.run([*command, *tests], env=environment, capture_output=True, text=True, check=False)
    print(done.stdout.splitlines()[-1])
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
