"""docs/states.md and its pictures say what the tables in core/ say."""

import importlib.util
import xml.etree.ElementTree as ET
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).parents[2] / "docs"
SVG = "{http://www.w3.org/2000/svg}"


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_states", DOCS / "make_states.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


make_states = generator()


def test_page_is_made_from_the_tables() -> None:
    """The committed page is what the generator writes today (else run docs/make_states.py)."""
    assert (DOCS / "states.md").read_text() == make_states.page()


@pytest.mark.parametrize("name", ["service", "slots"])
def test_picture_shows_the_tables(name: str) -> None:
    """Every state and every edge with all its events and actions is in the committed picture, and nothing else is."""
    drawn: list[tuple[str, ...]] = []
    for group in ET.parse(DOCS / f"states-{name}.svg").iter(f"{SVG}g"):
        if group.get("class") in ("node", "edge"):
            title = group.find(f"{SVG}title")
            assert title is not None
            texts = [text.text or "" for text in group.iter(f"{SVG}text")]
            drawn.append((str(title.text), *texts))
    machine = make_states.MACHINES[name]
    wanted: list[tuple[str, ...]] = [(state.name, state.name) for state in machine.State]
    for state, following, events, actions in make_states.edges(machine):
        if state != following or actions:
            wanted.append((f"{state}->{following}", " or ".join(events), *actions))
    assert sorted(drawn) == sorted(wanted)
