"""`nodedns import`: a Corefile, a manifest with one in it, or the kube-dns ConfigMap's directory -> nodedns.toml.

The text goes to stdout; what could not be carried over, and why, to stderr and into the text's head.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from nodedns import config
from nodedns.verbs.errors import Failed
from nodedns.verbs.importer import kubedns, toml
from nodedns.verbs.importer.convert import Import, convert
from nodedns.verbs.importer.corefile import SyntaxProblem, parse
from nodedns.verbs.importer.manifest import corefiles, fill_in

MAX_SIZE = 2**20
"""Kubernetes takes no ConfigMap above it."""


def pillars(words: Sequence[str]) -> dict[str, str]:
    """NAME=VALUE each, the name with or without its underscores: CLUSTER__DNS=10.96.0.11. Failed for others."""
    found = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not (name and equals):
            raise Failed(f"--pillar: expected NAME=VALUE, got {word!r}")
        found[name.removeprefix("__PILLAR__").strip("_")] = value
    return found


def import_(path: str, kube_dns: str | None, variables: Mapping[str, str], strict: bool) -> int:
    """Prints the config. 1 when `strict` and something was lost."""
    made = read(path, kube_dns, variables)
    text = toml.render(made)
    try:
        config.parse(text)
    except config.ConfigError as error:
        problems = "; ".join(map(str, error.problems))
        raise Failed(f"{path}: what it says makes no config of ours: {problems}") from None
    print(text, end="")
    for line in made.lost:
        print(f"nodedns import: not carried over: {line}", file=sys.stderr)
    return 1 if strict and made.lost else 0


def read(path: str, kube_dns: str | None, variables: Mapping[str, str]) -> Import:
    """What a file or directory says. Failed when it cannot be read, or says nothing."""
    try:
        if Path(path).is_dir():
            made = kubedns.alone(variables)
            kubedns.add(made, Path(path))
            return made
        text = Path(path).read_bytes()[: MAX_SIZE + 1].decode()
        if len(text) > MAX_SIZE:
            raise Failed(f"{path}: expected at most {MAX_SIZE} bytes")
        made = convert([block for part in corefiles(text) for block in parse(fill_in(part, variables))], variables)
        if kube_dns:
            kubedns.add(made, Path(kube_dns))
    except (SyntaxProblem, UnicodeDecodeError) as error:
        raise Failed(f"{path}: {error}") from None
    return made
