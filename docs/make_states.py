"""Writes docs/states.md and its two pictures from the tables in nodedns/core: run it after changing one of them.

    python docs/make_states.py          needs Graphviz's `dot`

tests/unit/test_states_page.py compares the page and the pictures with the tables, so they cannot fall behind.
"""

import inspect
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from nodedns.core import service, slots

DOCS = Path(__file__).parent
MACHINES = {"service": service, "slots": slots}
TITLES = {"service": "The service", "slots": "A worker slot"}


def edges(machine: ModuleType) -> Iterator[tuple[str, str, list[str], list[str]]]:
    """(state, next state, events, actions): events that lead to the same with the same actions share one edge."""
    for state, row in machine.TABLE.items():
        found: dict[Any, list[str]] = {}
        for event, step in row.items():
            found.setdefault(step, []).append(event.name)
        for step, events in found.items():
            yield state.name, step.state.name, events, [action.value for action in step.actions]


def dot(machine: ModuleType) -> str:
    """The graph in Graphviz's language. An event that changes nothing is in the page's table only."""
    lines = ["digraph {", "  node [shape=box, style=rounded, fontname=Helvetica, fontsize=11]"]
    lines += ["  edge [fontname=Helvetica, fontsize=9]"]
    lines += [f"  {state.name}" for state in machine.TABLE]
    for state, following, events, actions in edges(machine):
        if state != following or actions:
            label = "\\n".join([" or ".join(events), *(f"{action}" for action in actions)])
            style = ", color=gray, fontcolor=gray" if events == ["STOP"] else ""
            lines.append(f'  {state} -> {following} [label="{label}"{style}]')
    return "\n".join([*lines, "}", ""])


def table(machine: ModuleType) -> str:
    """Every listed event of every state."""
    lines = ["| state | event | next state | what is done, in this order |", "|---|---|---|---|"]
    for state, following, events, actions in edges(machine):
        lines.append(f"| {state} | {', '.join(events)} | {following} | {', '.join(actions)} |")
    return "\n".join(lines)


def page() -> str:
    """docs/states.md: the theory is the modules' own."""
    parts = [
        "# States",
        "",
        "Made by `docs/make_states.py` from `nodedns/core/service.py` and `nodedns/core/slots.py`.",
    ]
    for name, machine in MACHINES.items():
        theory = inspect.getdoc(machine)
        parts += [
            "",
            f"## {TITLES[name]}",
            "",
            str(theory),
            "",
            f"![{TITLES[name]}](states-{name}.svg)",
            "",
            table(machine),
        ]
    return "\n".join([*parts, ""])


def main() -> None:
    (DOCS / "states.md").write_text(page())
    for name, machine in MACHINES.items():
        subprocess.run(
            ["dot", "-Tsvg", "-o", str(DOCS / f"states-{name}.svg")], input=dot(machine), text=True, check=True
        )


if __name__ == "__main__":
    main()
