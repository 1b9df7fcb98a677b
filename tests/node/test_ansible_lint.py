"""ansible/ as its linter sees it; its playbooks and variables, and what is written about them."""

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.node.fleet import BIN, no_ansible
from tests.node.node import ROOT

ROLE = ROOT / "ansible/roles/nodedns"


def test_ansible_lint() -> None:
    """The production profile, without a network."""
    if reason := no_ansible():
        pytest.skip(reason)
    path = os.pathsep.join([str(BIN), os.environ["PATH"]])
    done = subprocess.run(
        [BIN / "ansible-lint", "--offline", "--nocolor"],
        cwd=ROOT / "ansible",
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Passed: 0 failure(s), 0 warning(s)" in done.stdout + done.stderr


@pytest.mark.parametrize("playbook", sorted((ROOT / "ansible/playbooks").glob("*.yml")), ids=lambda path: path.stem)
def test_playbooks_are_in_the_manual(playbook: Path) -> None:
    """docs/ansible.md says what each is for."""
    assert f"| `{playbook.name}` |" in (ROOT / "docs/ansible.md").read_text()


def test_defaults_are_those_of_the_argument_specs() -> None:
    """Every variable has a type, and its default is written twice the same, templates excepted."""
    defaults = yaml.safe_load((ROLE / "defaults/main.yml").read_text())
    specs = yaml.safe_load((ROLE / "meta/argument_specs.yml").read_text())["argument_specs"]
    options = specs["main"]["options"]
    assert options == specs["upgrade"]["options"] == specs["rollback"]["options"]
    assert list(defaults) == list(options)
    for name, value in defaults.items():
        if "{{" not in str(value):
            assert value == options[name]["default"], name
