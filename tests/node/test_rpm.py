"""The rpm: built twice, offline; then its life on a booted Debian 12 and 13, where rpm keeps a database of its own.

What it asks of an Enterprise Linux or a Fedora (its Requires, SELinux, DNF) is not seen here: `--nodeps` says so.
"""

import io
import re
import shutil
import stat
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.node.conftest import without_nodedns
from tests.node.debs import built, clone
from tests.node.network import SERVICE_IP
from tests.node.node import ADDRESS, Node, missing
from tests.node.roots import RELEASES, ROOT, made
from tests.node.test_host import links, rules, unharmed

RATE = 10_000
LATER = "9.9.9"
GLIBC = (2, 34)  # Enterprise Linux 9's
BUILD = ["unshare", "--net", "packaging/rpm/build"]


def build(tree: Path) -> Path:
    """The rpm of a clone, made without a network."""
    done = subprocess.run(BUILD, cwd=tree, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return tree / done.stdout.split()[-1]


@pytest.fixture(scope="module")
def rpms(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """What is committed, and a commit with a later version."""
    if reason := missing() or (None if shutil.which("rpmbuild") else "needs rpm"):
        pytest.skip(reason)
    if not list(ROOT.glob("build/wheels/*.whl")):
        pytest.skip("needs build/wheels: make rpm-wheels")
    tree = clone(tmp_path_factory.mktemp("rpm") / "later")
    for name, before in (("pyproject.toml", "version = "), ("nodedns/__init__.py", "__version__ = ")):
        file = tree / name
        file.write_text(re.sub(rf'(?m)^{before}".*"$', f'{before}"{LATER}"', file.read_text()))
    author = ["-c", "user.name=tests", "-c", "user.email=tests@example.invalid"]
    subprocess.run(["git", *author, "commit", "-qam", "Later"], cwd=tree, check=True)
    (tree / "build/wheels").symlink_to(ROOT / "build/wheels")
    return build(ROOT), build(tree)


@pytest.fixture(scope="module", params=RELEASES)
def machine(request: pytest.FixtureRequest, rpms: tuple[Path, Path]) -> Iterator[Node]:
    """A node with rpm, 4.18 or 4.20, and Python, 3.11 or 3.13; without nodedns and without libraries for Python."""
    packages = "systemd,systemd-sysv,dbus,iproute2,nftables,iptables,python3,rpm"
    with without_nodedns(made(f"rpm-{request.param}-1", request.param, packages)) as booted:
        for name, rpm in zip(("first", "later"), rpms, strict=True):
            shutil.copy(rpm, booted.path / f"root/{name}.rpm")
        yield booted


@pytest.fixture
def node(machine: Node) -> Iterator[Node]:
    yield machine
    machine.run("rpm", "-e", "nodedns")


def rpm(node: Node, *words: str) -> str:
    """What it says, on both; it must succeed."""
    inside = ["nsenter", "-t", str(node.pid), "-a", "rpm", "--nodeps", *words]
    done = subprocess.run(inside, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def common(found: dict[str, int]) -> dict[str, int]:
    """Those files of a package, with their modes, that both have: not libraries, papers and bytecode."""
    names = {name: re.sub(r"^/lib/", "/usr/lib/", "/" + name.lstrip("./")) for name in found}
    names = {name: path.replace("zsh/vendor-completions", "zsh/site-functions") for name, path in names.items()}
    code = {name: re.sub(r"^/usr/lib/(python3/dist-packages|nodedns)/nodedns/", "CODE/", names[name]) for name in names}
    private = re.compile(
        r"__pycache__|\.[ch]$|\.pyi$|\.(dist|egg)-info/|^/usr/(lib/nodedns|share/licenses)/|logcheck"
        r"|^/usr/share/doc/nodedns/[^/]+$"
    )
    # rpm finds what a library needs only where that may be executed; Debian wants it otherwise.
    modes = {name: mode & ~0o111 if name.endswith(".so") else mode for name, mode in found.items()}
    return {code[name]: mode for name, mode in modes.items() if not private.search(code[name])}


def files_of_rpm(rpm: Path) -> dict[str, int]:
    """Regular files and their modes."""
    asked = ["rpm", "-qp", "--queryformat", "[%{FILEMODES} %{FILENAMES}\n]", rpm]
    lines = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.splitlines()
    found = {name: int(mode) for mode, name in (line.split(maxsplit=1) for line in lines)}
    return {name: stat.S_IMODE(mode) for name, mode in found.items() if stat.S_ISREG(mode)}


def files_of_deb(deb: Path) -> dict[str, int]:
    """Regular files and their modes."""
    packed = subprocess.run(["dpkg-deb", "--fsys-tarfile", deb], capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        return {one.name: one.mode for one in archive if one.isfile()}


def test_two_builds_are_equal(rpms: tuple[Path, Path], tmp_path: Path) -> None:
    """To the octet, in another folder, too."""
    tree = clone(tmp_path / "elsewhere")
    (tree / "build/wheels").symlink_to(ROOT / "build/wheels")
    assert build(tree).read_bytes() == rpms[0].read_bytes()


def test_a_wheel_of_another_hash_is_refused(tmp_path: Path) -> None:
    """The build takes nothing that the locks do not name, and says what to do."""
    wheels = clone(tmp_path / "tree") / "build/wheels"
    wheels.mkdir()
    for said in ("build/wheels is empty", "not the file that packaging/rpm/*.lock names"):
        done = subprocess.run(BUILD, cwd=tmp_path / "tree", capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert said in done.stderr
        assert "make rpm-wheels" in done.stderr
        (wheels / "aiodns-4.0.4-py3-none-any.whl").write_bytes(b"another")


def test_rpmlint(rpms: tuple[Path, Path]) -> None:
    """Nothing but what packaging/rpm/rpmlint.toml gives a reason for."""
    if not shutil.which("rpmlint"):
        pytest.skip("needs rpmlint")
    config = ROOT / "packaging/rpm/rpmlint.toml"
    done = subprocess.run(["rpmlint", "--strict", "-c", config, rpms[0]], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "0 errors, 0 warnings" in done.stdout


def test_what_it_asks_for(rpms: tuple[Path, Path]) -> None:
    """No newer libc than the oldest system has; the locked libraries are named, for those who look for their holes."""
    asked = subprocess.run(
        ["rpm", "-qp", "--requires", "--provides", rpms[0]], capture_output=True, text=True, check=True
    )
    versions = [tuple(map(int, found.split("."))) for found in re.findall(r"\(GLIBC_([\d.]+)\)", asked.stdout)]
    assert max(versions) <= GLIBC
    for name, version in re.findall(r"(?m)^(\w+)==([\d.]+)", (ROOT / "packaging/rpm/wheels.lock").read_text()):
        assert f"bundled(python3dist({name})) = {version}\n" in asked.stdout


def test_the_same_files_as_the_deb(rpms: tuple[Path, Path]) -> None:
    """Units, config, drop-ins, pages, completions, docs, and the code."""
    if not shutil.which("dh_python3"):
        pytest.skip("needs dh-python and what Build-Depends says")
    in_rpm, in_deb = common(files_of_rpm(rpms[0])), common(files_of_deb(built(ROOT)))
    assert "CODE/cli.py" in in_rpm
    assert "/usr/lib/systemd/system/nodedns.service" in in_rpm
    for name in [f"docs/{path.name}" for path in ROOT.glob("docs/*.md")] + ["examples/pod.yaml"]:
        assert f"/usr/share/doc/nodedns/{name}" in in_rpm
    assert in_rpm == in_deb


def test_the_life_of_a_package(node: Node) -> None:
    """From a fresh node to a clean one. Nothing is lost that was asked at an address that somebody still serves."""
    before = links(node), rules(node)

    said = rpm(node, "-i", "/root/first.rpm")
    assert "set cluster.dns in /etc/nodedns/nodedns.toml" in said
    assert not node.active()
    assert node.run("systemctl", "is-enabled", "nodedns") == "disabled"

    node.configure(node.authority.port)
    node.run("systemctl", "enable", "--now", "nodedns", "nodedns-failopen", check=True)
    node.await_(node.steered, "steering")
    node.await_(node.monitor, "asking itself with its own aiodns")
    assert node.outside("pod", "dig", "+short", f"@{ADDRESS}", "n1.load.test").strip()
    with node.everyone(RATE, slowest=1.5):
        asked, pid = node.asked(node.authority), node.main_pid()
        said = rpm(node, "-U", "/root/later.rpm")
        assert node.main_pid() not in (0, pid), said
        assert node.active()
        assert f'"version": "{LATER}"' in (node.path / "run/nodedns/status.json").read_text()
        assert node.asked(node.authority) == asked  # the cache is warm

    node.await_(node.steered, "steering again")
    with node.load(RATE // 10, "pod", SERVICE_IP) as load:
        said = rpm(node, "-e", "nodedns")
        unharmed(load, slowest=1.5)
    assert (links(node), rules(node)) == before, said
    folders = [f"usr/{name}/nodedns" for name in ("lib", "bin", "share", "share/doc", "share/licenses")]
    for path in ("run/nodedns", "var/lib/nodedns", *folders):
        assert not (node.path / path).exists(), path
    assert "nodedns" not in (node.path / "etc/passwd").read_text()
    assert "nodedns" not in node.run("systemctl", "list-unit-files")
    # What an operator wrote is kept under another name, as rpm does for every package; nothing else is left.
    assert node.run("ls", "/etc/nodedns") == "nodedns.toml.rpmsave"


def test_a_config_that_is_there_already(node: Node) -> None:
    """It is started at once; a reinstallation and a downgrade are restarts; stopped by hand, it stays stopped."""
    node.configure(node.authority.port)
    rpm(node, "-i", "/root/first.rpm")
    node.await_(node.steered, "steering")
    assert node.run("systemctl", "is-enabled", "nodedns", "nodedns-failopen").split() == ["enabled", "enabled"]
    for words in (["--replacepkgs", "/root/first.rpm"], ["/root/later.rpm"], ["--oldpackage", "/root/first.rpm"]):
        pid = node.main_pid()
        said = rpm(node, "-U", *words)
        assert node.main_pid() not in (0, pid), said
        assert node.active()
    node.run("systemctl", "stop", "nodedns", check=True)
    rpm(node, "-U", "/root/later.rpm")
    assert not node.active()


def test_a_config_that_is_refused(node: Node) -> None:
    """The service that answers goes on; what is wrong with the config is said, and what to do."""
    node.configure(node.authority.port)
    rpm(node, "-i", "/root/first.rpm")
    node.configure(node.authority.port, extra="unknown = 1\n")
    pid = node.main_pid()
    said = rpm(node, "-U", "/root/later.rpm")
    assert "unknown" in said
    assert "not restarted: mend what the lines above say" in said
    assert node.main_pid() == pid
    assert node.outside("node", "dig", "+short", f"@{ADDRESS}", "n1.load.test").strip()


def test_interrupted_before_its_scriptlets(node: Node) -> None:
    """A machine that died there is put right by the same package once more; for rpm that is no first installation."""
    node.configure(node.authority.port)
    rpm(node, "-i", "--noscripts", "/root/first.rpm")
    assert "nodedns" not in (node.path / "etc/passwd").read_text()
    rpm(node, "-U", "--replacepkgs", "/root/first.rpm")
    node.run("systemctl", "enable", "--now", "nodedns", "nodedns-failopen", check=True)
    assert node.active()


def test_no_python_that_fits(node: Node) -> None:
    """It says which ones do, which one is there, and what to do."""
    rpm(node, "-i", "/root/first.rpm")
    python = node.run("realpath", "/usr/bin/python3")
    node.run("mv", python, "/usr/bin/python3.9", check=True)
    try:
        said = node.complaints("nodedns", "check")
        assert "expected one of Python 3.11 to 3.14" in said
        assert "dnf install python3.11" in said
    finally:
        node.run("mv", "/usr/bin/python3.9", python, check=True)
