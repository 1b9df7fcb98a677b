"""Has the unit room for what the config wants?"""

from collections.abc import Iterator
from contextlib import suppress

from nodedns.config import ConfigError
from nodedns.host.commands import output
from nodedns.host.errors import ChangeError
from nodedns.supervisor import room as unit
from nodedns.verbs.doctor.scene import Finding, Scene, bad, well


def room(scene: Scene) -> Iterator[Finding]:
    """By systemd's word: this process is in another cgroup."""
    said = ""
    with suppress(ChangeError):  # without systemd there is no unit
        said = output("systemctl", "show", "-P", "MemoryMax", "nodedns").strip()
    try:
        unit.check(scene.config, int(said) if said.isdecimal() else None)
    except ConfigError as error:
        (problem,) = error.problems
        yield bad(f"memory: {problem.got}; expected {problem.expected}", problem.hint)
    else:
        yield well(f"memory: room for {scene.config.cache.size // unit.MIB} MiB of cache")
