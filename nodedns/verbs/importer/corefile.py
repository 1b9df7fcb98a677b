"""A Corefile's grammar: server blocks of directives, which may have blocks of their own.

Source: coredns.io/manual/configuration. Snippets are put in where they are imported; files and environment variables
are not ours to read.
"""

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

MAX_DEPTH = 4
MAX_BLOCKS = 256
_TOKEN = re.compile(r'"((?:[^"\\]|\\.)*)"|(\S+)')


class SyntaxProblem(Exception):
    """Where, what was expected, what is there."""


@dataclass(frozen=True, slots=True)
class Directive:
    """A line of a block: its words, and the lines of its own block. `line` counts from 1."""

    line: int
    words: tuple[str, ...]
    block: tuple["Directive", ...] = ()

    @property
    def name(self) -> str:
        return self.words[0]

    @property
    def args(self) -> tuple[str, ...]:
        return self.words[1:]


def parse(text: str) -> list[Directive]:
    """The server blocks: the words of each are its keys. SyntaxProblem for the first fault."""
    blocks, end = _block(deque(_lines(text)), 0, 0)
    if end is not None:
        raise SyntaxProblem(f"line {end}: expected a server block, got an unmatched }}")
    snippets = {block.name: block for block in blocks if re.fullmatch(r"\(.+\)", block.name)}
    servers = [block for block in blocks if block.name not in snippets]
    return [Directive(block.line, _keys(block), tuple(_expand(block, snippets))) for block in servers]


def _keys(block: Directive) -> tuple[str, ...]:
    return tuple(key for word in block.words for key in word.split(",") if key)


def _expand(block: Directive, snippets: dict[str, Directive]) -> Iterator[Directive]:
    for directive in block.block:
        snippet = snippets.get(f"({directive.args[0]})") if directive.name == "import" and directive.args else None
        if snippet is None:
            yield directive
        else:
            yield from snippet.block  # a snippet in a snippet stays a directive, and is named as one that is lost


def _lines(text: str) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(text.splitlines(), 1):
        words = []
        for match in _TOKEN.finditer(line):
            if match[2] and match[2].startswith("#"):
                break
            words.append(match[2] or re.sub(r"\\(.)", r"\1", match[1] or ""))
        if words:
            yield number, words


def _block(lines: deque[tuple[int, list[str]]], at: int, depth: int) -> tuple[list[Directive], int | None]:
    """Takes lines from the front of `lines` until its block ends; and where a } ended it."""
    found: list[Directive] = []
    if depth > MAX_DEPTH:
        raise SyntaxProblem(f"line {at}: expected at most {MAX_DEPTH} blocks in each other")
    while lines:
        number, words = lines.popleft()
        if words == ["}"]:
            return found, number
        if words[-1] == "{":
            inner, end = _block(lines, number, depth + 1)
            if end is None:
                raise SyntaxProblem(f"line {number}: expected a }} for this block, got the end of the file")
            if len(words) == 1:
                raise SyntaxProblem(f"line {number}: expected a name before the {{")
            found.append(Directive(number, tuple(words[:-1]), tuple(inner)))
        elif depth == 0:
            raise SyntaxProblem(f"line {number}: expected a server block, such as .:53 {{, got {words[0][:60]!r}")
        else:
            found.append(Directive(number, tuple(words)))
        if len(found) > MAX_BLOCKS:
            raise SyntaxProblem(f"line {number}: expected at most {MAX_BLOCKS} lines in a block")
    return found, None
