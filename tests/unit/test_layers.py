"""The rooms of nodedns/__init__.py, held apart: who may import whom, read from the source late imports too."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import nodedns

ROOT = Path(nodedns.__file__).parent
MAX_FILE = 300
MAX_FUNCTION = 40


def words(text: str) -> frozenset[str]:
    return frozenset(text.split())


class Room(NamedTuple):
    """What the modules under some prefixes may import: our rooms by name, and what they must leave alone."""

    prefixes: tuple[str, ...]
    rooms: frozenset[str]
    banned: frozenset[str]


# The machine: what a decision must not touch. importlib would hide an import from this very test.
MACHINE = words("os socket time subprocess asyncio signal threading select selectors mmap ctypes fcntl")
EVERYWHERE = words("importlib multiprocessing")
PARENT = words("asyncio threading concurrent subprocess dnslib aiodns")
CHILD = words("dnslib aiodns subprocess")

ROOMS = {
    "cli": Room(
        ("nodedns.cli", "nodedns.__main__", "nodedns.verbs"),
        words("cli query supervisor host journal native core config"),
        EVERYWHERE | words("asyncio threading aiodns"),
    ),
    "query": Room(("nodedns.query", "nodedns.query_wire"), words("config core"), EVERYWHERE),
    "journal": Room(("nodedns.journal",), words("core"), EVERYWHERE | PARENT),
    "supervisor": Room(("nodedns.supervisor",), words("job journal native core config"), EVERYWHERE | PARENT),
    "host": Room(("nodedns.host",), words("core config"), EVERYWHERE | words("dnslib aiodns asyncio threading")),
    "job": Room(("nodedns.worker.job",), words("native core config"), EVERYWHERE | MACHINE),
    "worker": Room(("nodedns.worker",), words("job journal native core config"), EVERYWHERE | CHILD),
    "monitor": Room(
        ("nodedns.monitor",),
        words("job journal native core config"),
        EVERYWHERE | words("dnslib subprocess threading"),
    ),
    "example": Room(("nodedns.example",), words(""), EVERYWHERE | words("aiodns")),
    "core": Room(("nodedns.core",), words("config"), EVERYWHERE | MACHINE | CHILD),
    "config": Room(
        (
            "nodedns.config",
            "nodedns.config_model",
            "nodedns.config_records",
            "nodedns.config_schema",
            "nodedns.config_servers",
            "nodedns.config_values",
        ),
        words(""),
        EVERYWHERE | MACHINE | CHILD,
    ),
    "native": Room(("nodedns.native",), words(""), EVERYWHERE | MACHINE | CHILD),
}

# What one file alone may do beyond its room.
ALSO = {
    "nodedns.supervisor.spawn": {
        "nodedns.worker.main",
        "nodedns.example.server",
        "nodedns.host",
        "nodedns.monitor.main",
    },
}
# dnslib and aiodns, where they may be imported at all (docs/dependencies.md has the reasons).
DNSLIB = ("nodedns.example", "nodedns.query", "nodedns.verbs.cache")


def room_of(module: str) -> str | None:
    """The room of one of our modules, by its longest prefix; None for the package itself and for foreign modules."""
    found = {
        prefix: name
        for name, room in ROOMS.items()
        for prefix in room.prefixes
        if module == prefix or module.startswith(prefix + ".")
    }
    return found[max(found, key=len)] if found else None


def imports(source: str, module: str) -> Iterator[str]:
    """Every module that `source` imports, at any depth; `from a import b` gives a.b, which may also be a name in a."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = module.split(".")[: -node.level] if node.level else []
            base = ".".join([*parents, *filter(None, [node.module])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def violations(source: str, module: str) -> list[str]:
    """One line for each import that `module`'s room does not allow."""
    name = room_of(module)
    assert name is not None, f"{module} is in no room: give it one in ROOMS"
    room = ROOMS[name]
    found = []
    for target in imports(source, module):
        top = target.partition(".")[0]
        there = room_of(target)
        allowed = any(target == also or target.startswith(also + ".") for also in ALSO.get(module, ()))
        foreign = there is not None and there != name and there not in room.rooms and not allowed
        if foreign or top in room.banned or (top == "dnslib" and not module.startswith(DNSLIB)):
            found.append(f"{module} ({name}) imports {target} ({there or 'not ours'})")
    return found


def modules() -> list[tuple[str, Path]]:
    paths = [path for path in sorted(ROOT.rglob("*.py")) if path != ROOT / "__init__.py"]
    return [(".".join(("nodedns", *path.relative_to(ROOT).with_suffix("").parts)), path) for path in paths]


@pytest.mark.parametrize(("module", "path"), modules(), ids=[name for name, _ in modules()])
def test_imports_point_downwards(module: str, path: Path) -> None:
    """A module imports only what its room may touch."""
    assert violations(path.read_text(), module.removesuffix(".__init__")) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("nodedns.core.slots", "import time"),
        ("nodedns.core.slots", "def f():\n    if True:\n        from os import path"),
        ("nodedns.core.slots", "import nodedns.native"),
        ("nodedns.core.slots", "from nodedns import native"),
        ("nodedns.core.slots", "from .. import native"),
        ("nodedns.core.slots", "import importlib"),
        ("nodedns.config", "class A:\n    def f(self):\n        import socket"),
        ("nodedns.config", "from nodedns.core import slots"),
        ("nodedns.worker.forward", "from nodedns.supervisor.loop import serve"),
        ("nodedns.worker.forward", "from ..supervisor import loop"),
        ("nodedns.worker.forward", "import dnslib"),
        ("nodedns.worker.job", "import os"),
        ("nodedns.supervisor.loop", "from nodedns.worker.main import run"),
        ("nodedns.supervisor.loop", "import nodedns.example.server"),
        ("nodedns.supervisor.spawn", "from nodedns.worker.forward import Forward"),
        ("nodedns.supervisor.loop", "import asyncio"),
        ("nodedns.verbs.status", "from dnslib import DNSRecord"),
        ("nodedns.cli", "import aiodns"),
        ("nodedns.query", "from nodedns.cli import main"),
    ],
)
def test_walker_sees_a_bad_import(module: str, source: str) -> None:
    """The walker reports exactly one violation for a forbidden import, wherever it hides."""
    assert len(violations(source, module)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("nodedns.supervisor.spawn", "def f():\n    from nodedns.worker.main import run"),
        ("nodedns.supervisor.spawn", "from nodedns.example.server import serve"),
        ("nodedns.supervisor.loop", "from nodedns.worker.job import Job\nimport os, signal"),
        ("nodedns.core.slots", "from nodedns.config import Config\nfrom enum import Enum"),
        ("nodedns.worker.main", "import asyncio\nfrom nodedns import native, __version__"),
        ("nodedns.verbs.cache", "import dnslib"),
    ],
)
def test_walker_allows_a_good_import(module: str, source: str) -> None:
    """The walker reports nothing for what a room may do."""
    assert violations(source, module) == []


def test_version_is_the_newest_in_the_changelog() -> None:
    """nodedns.__version__, pyproject.toml and the first heading of CHANGELOG.md name the same version."""
    changelog = re.search(r"^## (\d+\.\d+\.\d+)", (ROOT.parent / "CHANGELOG.md").read_text(), re.MULTILINE)
    project = re.search(r'^version = "(.*)"', (ROOT.parent / "pyproject.toml").read_text(), re.MULTILINE)
    assert changelog is not None
    assert project is not None
    assert nodedns.__version__ == changelog[1] == project[1]


def python_functions(source: str) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, (node.end_lineno or node.lineno) - node.lineno + 1


def c_functions(source: str) -> Iterator[tuple[str, int]]:
    """A function begins with the last letter in column 0 before its body, and ends with a lone "}" in column 0."""
    name, start = "", 0
    for number, line in enumerate(source.split("\n")):
        if re.match(r"[A-Za-z_]", line):
            name, start = line, number
        elif line == "}":
            yield name, number - start + 1


def too_long(text: str, c: bool) -> list[str]:
    """What in a file's text breaks the size rules, unless its head gives the reason."""
    head = "\n".join(text.split("\n")[:10])
    size = text.count("\n")
    found = [f"{size} lines"] if size > MAX_FILE and f"Longer than {MAX_FILE} lines:" not in head else []
    functions = c_functions(text) if c else python_functions(text)
    return found + [f"{name}: {lines} lines" for name, lines in functions if lines > MAX_FUNCTION]


@pytest.mark.parametrize(
    "path",
    [path for path in sorted(ROOT.rglob("*")) if path.suffix in {".py", ".pyi", ".c", ".h"}],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_pieces_are_small(path: Path) -> None:
    """A file has at most 300 lines, a function at most 40."""
    assert too_long(path.read_text(), path.suffix in {".c", ".h"}) == []


@pytest.mark.parametrize(
    ("text", "c", "found"),
    [
        ("x = 1\n" * 301, False, 1),
        ('"""Longer than 300 lines: a table."""\n' + "x = 1\n" * 301, False, 0),
        ("class A:\n    def f(self):\n" + "        pass\n" * 40, False, 1),
        ("def f():\n" + "    pass\n" * 39, False, 0),
        ("static int f(int a,\n             int b) {\n" + "    a++;\n" * 40 + "}\n", True, 1),
        ("int g(void) {\n" + "    a++;\n" * 38 + "}\n", True, 0),
    ],
)
def test_size_rule_sees_a_long_piece(text: str, c: bool, found: int) -> None:
    """The size rule reports what is too long, and only that."""
    assert len(too_long(text, c)) == found
