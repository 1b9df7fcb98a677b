"""What is looked at, and what is said of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from nodedns.config import Config


class Finding(NamedTuple):
    """`level` is "well", "note" or "bad"; `advice` says what to do."""

    level: str
    what: str
    advice: str = ""


def well(what: str) -> Finding:
    """As it should be."""
    return Finding("well", what)


def note(what: str, advice: str = "") -> Finding:
    """A person should know."""
    return Finding("note", what, advice)


def bad(what: str, advice: str) -> Finding:
    """In the way."""
    return Finding("bad", what, advice)


@dataclass(frozen=True, slots=True)
class Scene:
    """`root` is where the file system begins; `sys` and `proc` are always the kernel's own."""

    config: Config
    run_dir: str
    root: Path = Path("/")

    def text(self, path: str) -> str:
        """A file of the machine, "" when there is none."""
        try:
            with (self.root / path.lstrip("/")).open(encoding="utf-8", errors="replace") as file:
                return file.read(1 << 20)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return ""

    def exists(self, path: str) -> bool:
        """Is it there?"""
        return (self.root / path.lstrip("/")).exists()

    def files(self, *patterns: str) -> list[str]:
        """Paths that match, such as "etc/systemd/resolved.conf.d/*.conf", with a leading slash."""
        found = [path for pattern in patterns for path in sorted(self.root.glob(pattern))]
        return [f"/{path.relative_to(self.root)}" for path in found]

    @property
    def addresses(self) -> frozenset[str]:
        """Those we are to serve."""
        return frozenset(at.address for at in self.config.node.listen)
