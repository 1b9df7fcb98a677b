"""The manual and the completions of a package: made from the program's tables, understood by those who read them."""

import re
import shutil
import subprocess
import sys
from argparse import ArgumentParser
from contextlib import suppress
from pathlib import Path

import pytest

from nodedns import config
from nodedns.cli import VERBS
from nodedns.config_schema import KEYS, as_toml

ROOT = Path(__file__).parents[2]
NAMES = [verb.name for verb in VERBS]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything, in one folder, and a file to be found there."""
    folder = tmp_path_factory.mktemp("made")
    for script in ("manual", "completion"):
        command = [sys.executable, ROOT / f"packaging/{script}.py", folder]
        subprocess.run(command, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, check=True)
    (folder / "a-file").touch()
    return folder


@pytest.fixture
def options(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """What the parser of the verb `name` takes, asked in another way than the scripts do."""
    found: set[str] = set()
    add = ArgumentParser.add_argument

    def note(parser: ArgumentParser, *names: str, **rest: object) -> object:
        found.update(name for name in names if name.startswith("--"))
        return add(parser, *names, **rest)

    monkeypatch.setattr(ArgumentParser, "add_argument", note)
    with suppress(SystemExit):
        VERBS[NAMES.index(request.getfixturevalue("name"))].run(["--help"])
    return found


def shell(name: str, script: str, folder: Path) -> set[str]:
    """What a shell offers: the first word of each line."""
    if not shutil.which(name):
        pytest.skip(f"needs {name}")
    quiet = {"bash": ["--norc"], "zsh": ["-f"], "fish": ["--no-config"]}[name]
    done = subprocess.run([name, *quiet, "-c", script], cwd=folder, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return {line.split("\t")[0] for line in done.stdout.splitlines()}


def bash(folder: Path, *words: str) -> set[str]:
    line = " ".join(f"'{word}'" for word in ("nodedns", *words))
    script = f"source ./nodedns; COMP_WORDS=({line}) COMP_CWORD={len(words)}; _nodedns; "
    script += "printf '%s\\n' \"${COMPREPLY[@]}\""
    return shell("bash", script, folder)


def fish(folder: Path, *words: str) -> set[str]:
    return shell("fish", f"source ./nodedns.fish; complete -C 'nodedns {' '.join(words)}'", folder)


def zsh(folder: Path, *words: str) -> set[str]:
    """Outside of its line editor zsh completes nothing: what the function hands to zsh's own is looked at."""
    line = " ".join(f"'{word}'" for word in ("nodedns", *words))
    script = "_arguments() { print -l -- $@ }; _describe() { print -l -- ${(P)2} }; "
    script += f"words=({line}) CURRENT={len(words) + 1}; source ./_nodedns"
    found = set()
    for spec in shell("zsh", script, folder):
        alternatives = re.match(r"1:what:\((.*)\)", spec)
        found |= set(alternatives[1].split()) if alternatives else {re.split(r"[\[:]", spec)[0]}
        found |= {"a-file"} if spec.endswith(":_files") and "[" not in spec else set()
    return found


SHELLS = [bash, fish, zsh]


@pytest.mark.parametrize("complete", SHELLS)
def test_verbs_are_completed(complete, made: Path) -> None:
    """First every verb of the table."""
    assert complete(made, "") - {"--help", "--version"} == set(NAMES)


@pytest.mark.parametrize("complete", SHELLS)
@pytest.mark.parametrize("name", NAMES)
def test_options_are_completed(complete, name: str, options: set[str], made: Path) -> None:
    """Behind a verb its own options, no more and no fewer."""
    assert {word for word in complete(made, name, "-") if word.startswith("--")} == options


@pytest.mark.parametrize("complete", SHELLS)
def test_arguments_are_completed(complete, made: Path) -> None:
    """What `cache` does, and files where a file is wanted."""
    assert complete(made, "cache", "") >= {"dump", "get", "flush"}
    assert "a-file" in complete(made, "import", "a" if complete is not zsh else "")
    if complete is not zsh:
        assert "a-file" in complete(made, "check", "--config", "a")


@pytest.mark.parametrize("name", NAMES)
def test_the_manual_has_every_option(name: str, options: set[str], made: Path) -> None:
    """Each verb's section names what its parser takes."""
    page = (made / "nodedns.1").read_text().replace("\\-", "-")
    section = re.search(rf"^\.SS nodedns {name} (.*?)^\.S[SH]", page, re.MULTILINE | re.DOTALL)
    assert section is not None
    assert set(re.findall(r"^\\fB(--[a-z-]+)\\fR", section[1], re.MULTILINE)) == options - {"--help"}


def test_the_manual_has_every_key(made: Path) -> None:
    """And no key that the program refuses."""
    keys = (made / "nodedns.toml.5").read_text().partition(".SH KEYS\n")[2].partition(".SH ")[0]
    named = re.findall(r"^\.B ([a-z0-9_.]+)$", keys, re.MULTILINE)
    assert named == list(KEYS)


def shown(page: Path) -> str:
    """What man shows of it; groff must have nothing to say."""
    if not shutil.which("groff"):
        pytest.skip("needs groff")
    command = ["groff", "-man", "-Tutf8", "-P-cbou", "-rLL=500n", "-rHY=0", "-ww", "-K", "utf8", page]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return " ".join(done.stdout.split())


@pytest.mark.parametrize("page", ["nodedns.1", "nodedns.toml.5"])
def test_the_manual_is_well_formed(page: str, made: Path) -> None:
    """Nothing of Markdown is left, and the files of docs/ that it names are there."""
    text = shown(made / page)
    assert not re.search(r"`|\]\(|\*\*\w", text)
    named = re.findall(r"\S*docs/(\w+\.md)", text)
    assert re.findall(r"/usr/share/doc/nodedns/docs/(\w+\.md)", text) == named
    assert all((ROOT / "docs" / name).exists() for name in named)
    assert named or page == "nodedns.1"


def test_the_manual_says_what_the_program_knows(made: Path) -> None:
    """Code and defaults as they are written, the keys that a reload refuses, the zones that are always there."""
    text = shown(made / "nodedns.toml.5")
    for key in KEYS.values():
        for code in re.findall("`(.+?)`", key.meaning + as_toml(key.default)):
            assert code in text, key.path
    assert f"a reload refuses it: {', '.join(sorted(config.RESTART_KEYS))}." in text
    zones = text.partition(" ZONES ")[2].partition(" FILES ")[0]
    assert re.findall(r"(\S+) asks (\S+) over (\S+);", zones) == [
        (".", "/etc/resolv.conf", "UDP"),
        ("cluster.local", "cluster.dns", "TCP"),
        ("in-addr.arpa", "cluster.dns", "TCP"),
        ("ip6.arpa", "cluster.dns", "TCP"),
    ]
    assert "/etc/nodedns/nodedns.d/*.toml in the order of their names" in text
