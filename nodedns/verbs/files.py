"""The config as it lies on disk: the file, its drop-ins, and the resolv.conf files they name -> Config.

config.parse() is pure; what it needs from the machine is read here, every file whole, bounded and without waiting: the parent
does the same on SIGHUP, while it has a service to run.
"""

import os
import stat
from dataclasses import dataclass, replace

from nodedns import config
from nodedns.config import Config, ConfigError, Endpoint, Problem, Zone

DEFAULT_CONFIG = "/etc/nodedns/nodedns.toml"
DEFAULT_RUN_DIR = "/run/nodedns"
# Far above what config.parse() takes: only there so that --config /var/log/messages costs a moment, not the memory.
MAX_FILE = 2**20


@dataclass(frozen=True, slots=True)
class Source:
    """Where a verb's config comes from: a file with drop-ins in its sibling directory NAME.d, or the built-in example."""

    path: str
    example: bool = False

    def load(self) -> Config:
        """The whole config, upstreams from resolv.conf files included. ConfigError with every problem; each names its file."""
        if self.example:
            example = config.example()
            return replace(example, node=replace(example.node, run_dir=example_run_dir()))
        parsed = self.parse()
        zones, problems = [], []
        for zone in parsed.zones:
            try:
                zones.append(_complete(zone, parsed.node.listen))
            except ConfigError as error:
                problems += error.problems
        if problems:
            raise ConfigError(*problems)
        return replace(parsed, zones=tuple(zones))

    def parse(self) -> Config:
        """The config as written: a zone that names a resolv.conf has no servers from there yet."""
        folder = os.path.splitext(self.path)[0] + ".d"
        dropins = [(name, _read(os.path.join(folder, name))) for name in _dropin_names(folder)]
        text = _read(self.path)
        try:
            return config.parse(text, dropins)
        except ConfigError as error:
            raise ConfigError(*(_located(problem, self.path, folder, dropins) for problem in error.problems)) from None

    def run_dir(self) -> str:
        """Where the running service keeps its files. A broken config must not hide the service that still runs on the last
        good one, so the default stands in for it."""
        if self.example:
            return example_run_dir()
        try:
            return self.parse().node.run_dir
        except ConfigError:
            return DEFAULT_RUN_DIR


def example_run_dir() -> str:
    """A directory of this user's own, on tmpfs where the session has one."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    return f"{runtime}/nodedns-example" if runtime else f"/tmp/nodedns-example-{os.getuid()}"


def _located(problem: Problem, path: str, folder: str, dropins: list[tuple[str, str]]) -> Problem:
    in_dropin = any(problem.path.startswith(f"{name}: ") for name, _ in dropins)
    return replace(problem, path=f"{folder}/{problem.path}" if in_dropin else f"{path}: {problem.path}")


def _dropin_names(folder: str) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if name.endswith(".toml") and not name.startswith("."))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ConfigError(Problem(folder, "a directory of drop-ins", error.strerror or str(error))) from error


def _read(path: str) -> str:
    """A config file's text. It must be a regular file: opening a FIFO in its place must not stop the parent."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(fd, "rb") as file:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise ConfigError(Problem(path, "a regular file", "something else"))
            data = file.read(MAX_FILE + 1)
    except OSError as error:
        hint = "`nodedns run --example` needs none" if path == DEFAULT_CONFIG else ""
        raise ConfigError(Problem(path, "a readable file", error.strerror or str(error), hint)) from error
    if len(data) > MAX_FILE:
        raise ConfigError(Problem(path, f"at most {MAX_FILE} bytes", "more", "is this the right file?"))
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        got = f"the byte 0x{data[error.start]:02x} at offset {error.start}"
        raise ConfigError(Problem(path, "UTF-8 text", got)) from error


def _complete(zone: Zone, listen: tuple[Endpoint, ...]) -> Zone:
    """`zone` with the servers of its resolv.conf, our own addresses excepted: once installed, a node's resolv.conf may name us."""
    if zone.resolv_conf is None:
        return zone
    servers = [server for server in config.nameservers(_read(zone.resolv_conf)) if server not in listen]
    forward = tuple(dict.fromkeys((*zone.forward, *servers)))
    if not forward:
        expected = f'a nameserver other than this service for zone "{zone.name}"'
        hint = "name the servers in `forward` instead"
        raise ConfigError(Problem(zone.resolv_conf, expected, "none", hint))
    return replace(zone, forward=forward)
