"""The linters are tests: one command says whether a change is good. And the documents name what is there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from nodedns.cli import VERBS

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "command",
    [["ruff", "check"], ["ruff", "format", "--check"], ["mypy"]],
    ids=["ruff check", "ruff format", "mypy"],
)
def test_linter_is_content(command: list[str]) -> None:
    """The linter finds nothing in the whole repository (its settings are in pyproject.toml)."""
    run = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("page", [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))], ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link of a page is a file of the repository."""
    links = [link for link in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_readme_names_every_verb() -> None:
    """The README's table has exactly the verbs of the command line."""
    named = re.findall(
        r"`(\w+)[^`]*`", "".join(re.findall(r"^\| (`.*?) \|", (ROOT / "README.md").read_text(), re.MULTILINE))
    )
    assert list(dict.fromkeys(named)) == [verb.name for verb in VERBS]
