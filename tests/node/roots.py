"""Debian roots by mmdebstrap, each made once and then only read: a node boots in an overlay over one."""

import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RELEASES = ("bookworm", "trixie")
"""Debian 12 and 13."""


def made(name: str, release: str, packages: str, *options: str) -> Path:
    """build/NAME: minbase and `packages`; 25 s the first time."""
    root = ROOT / "build" / name
    if not root.exists():
        half = root.with_suffix(".new")
        shutil.rmtree(half, ignore_errors=True)
        half.parent.mkdir(exist_ok=True)
        command = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={packages}", *options, release, str(half)]
        subprocess.run(command, check=True)
        (half / "etc/hosts").write_text("127.0.0.1 localhost node\n")
        (half / "etc/resolv.conf").unlink(missing_ok=True)
        (half / "etc/resolv.conf").write_text("")
        half.rename(root)
    return root


BESIDE = ("dnsmasq-base", "systemd-resolved", "udev")
"""What else a node may have: what may hold port 53, and what networkd asks."""
NETWORK_MANAGER = ("--no-install-recommends", "network-manager")
"""Without telephones and wireless networks."""


def fresh(release: str, deb: Path) -> Path:
    """A system with an init and nothing else, and in apt's cache, as apt chose it from the distribution's mirror, what
    installing `deb`, and what may be beside it, needs: a booted node has no way there."""
    keep = "--skip=cleanup/apt/lists"
    root = made(f"fresh-{release}-1", release, "systemd,systemd-sysv,dbus", keep)
    shutil.copy(deb, root / "tmp/nodedns.deb")
    shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
    get = ["chroot", root, "apt-get", "-qq", "-o", "APT::Sandbox::User=root"]
    fetch = [*get, "install", "-y", "--download-only"]
    try:
        for packages in (("/tmp/nodedns.deb", *BESIDE), NETWORK_MANAGER):
            # The lists are as old as the root; what they name may be gone from the mirror.
            if subprocess.run([*fetch, *packages], capture_output=True, check=False).returncode:
                subprocess.run([*get, "update"], check=True, capture_output=True)
                subprocess.run([*fetch, *packages], check=True, capture_output=True)
    finally:
        (root / "tmp/nodedns.deb").unlink()
        (root / "etc/resolv.conf").write_text("")
    return root
