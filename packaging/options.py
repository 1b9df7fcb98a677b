"""The verbs with their options as the program itself declares them, for the manual and the completions."""

from argparse import Action, ArgumentParser
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple
from unittest.mock import patch

from nodedns.cli import VERBS

PATHS = ("FILE", "DIR")
"""Metavariables that stand for something on disk."""


class Option(NamedTuple):
    """One option; `value` is its metavariable, "" for a switch."""

    name: str
    value: str
    help: str

    @property
    def is_path(self) -> bool:
        return self.value in PATHS


class Spoken(NamedTuple):
    """One verb; `words` are what its first argument may be, `path`: it is a file or a directory."""

    name: str
    help: str
    usage: str
    options: tuple[Option, ...]
    words: tuple[str, ...]
    path: bool


def verbs() -> Iterator[Spoken]:
    """In the order of the command line's own table."""
    for verb in VERBS:
        # Each verb makes its parser as it runs; --help is as far as it needs to go.
        with patch.object(ArgumentParser, "print_help", autospec=True) as shown, suppress(SystemExit):
            verb.run(["--help"])
        parser: ArgumentParser = shown.call_args.args[0]
        usage = " ".join(parser.format_usage().removeprefix("usage: ").split())
        actions = parser._actions  # argparse has no other list of them
        options = tuple(_option(action, parser) for action in actions if action.option_strings)
        free = [action for action in actions if not action.option_strings]
        words = next((tuple(action.choices) for action in free if action.choices), ())
        yield Spoken(verb.name, verb.help, usage, options, words, any(action.dest == "path" for action in free))


def _option(action: Action, parser: ArgumentParser) -> Option:
    text = (action.help or "") % {**vars(action), "prog": parser.prog}
    return Option(action.option_strings[-1], "" if action.nargs == 0 else str(action.metavar), text)
