"""The manual and the completions of a package: made from the program's tables, understood by those who read them."""

import re
import shutil
import subprocess
import sys
from argparse import ArgumentParser
from contextlib import suppress
from pathlib import Path

import pytest

from nodedns.cli import VERBS
from nodedns.config_schema import KEYS

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
    named = re.findall(r"^\.B ([a-z0-9_.]+)$", (made / "nodedns.toml.5").read_text(), re.MULTILINE)
    assert named == list(KEYS)


@pytest.mark.parametrize("page", ["nodedns.1", "nodedns.toml.5"])
def test_the_manual_is_well_formed(page: str, made: Path) -> None:
    """groff has nothing to say, and nothing of Markdown is left."""
    if not shutil.which("groff"):
        pytest.skip("needs groff")
    command = ["groff", "-man", "-Tutf8", "-ww", "-K", "utf8", made / page]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert "`" not in done.stdout
    assert "**" not in done.stdout
