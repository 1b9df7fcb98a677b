"""The Corefile inside a manifest, and node-cache's template variables in it."""

import re
from collections.abc import Mapping

from nodedns.verbs.importer.corefile import SyntaxProblem

DEFAULTS = {"UPSTREAM__SERVERS": "/etc/resolv.conf", "LOCAL__DNS": "169.254.20.10", "DNS__DOMAIN": "cluster.local"}
"""What node-cache and the addon's instructions put there; a left-over DNS__SERVER becomes nothing, as in node-cache."""

_KEY = re.compile(r"^([ \t]*)Corefile(?:\.base)?:[ \t]*[|>][-+0-9]*[ \t]*(?:#.*)?$")
_VARIABLE = re.compile(r"__PILLAR__([A-Z_]*[A-Z])__")


def corefiles(text: str) -> list[str]:
    """The block scalars `Corefile: |` of a manifest in YAML; a text without one is a Corefile itself.

    Only their indentation is read: a manifest has all kinds of things in it that are none of our business.
    """
    found: list[list[str]] = []
    indent: int | None = None
    for line in text.splitlines():
        width = len(line) - len(line.lstrip(" \t"))
        if indent is not None and (not line.strip() or width > indent):
            found[-1].append(line)
            continue
        indent = None
        if match := _KEY.match(line):
            indent = len(match[1])
            found.append([])
    return ["\n".join(lines) for lines in found] or [text]


def fill_in(text: str, variables: Mapping[str, str]) -> str:
    """With every __PILLAR__ variable's value. SyntaxProblem for one that has none."""

    def value(match: re.Match[str]) -> str:
        name = match[1]
        if name in variables:
            return variables[name].replace(",", " ")
        if name == "DNS__SERVER":
            return ""
        if name not in DEFAULTS:
            raise SyntaxProblem(f"expected a value for {match[0]}; give it: --pillar {name}=VALUE")
        return DEFAULTS[name]

    return _VARIABLE.sub(value, text)
