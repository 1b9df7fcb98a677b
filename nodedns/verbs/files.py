"""The config as it lies on disk: the file, its drop-ins, and the resolv.conf files they name -> Config.

config.parse() is pure; what it needs from the machine is read here, every file whole, bounded and without waiting: the
parent does the same on SIGHUP, while it has a service to run.
"""

import os
import re
import stat
from dataclasses import dataclass, replace

from nodedns import config
from nodedns.config import RESOLVED, Config, ConfigError, Endpoint, Problem, Zone
from nodedns.config_servers import over_tls
from nodedns.config_values import ConfigMapError
from nodedns.verbs.errors import Failed

DEFAULT_CONFIG = "/etc/nodedns/nodedns.toml"
STUB = Endpoint("127.0.0.53", 53)
DEFAULT_RUN_DIR = "/run/nodedns"
RUN_DIR = re.compile(r"""^\s*(?:node\.)?run_dir\s*=\s*["']([^"'\n]+)["']""", re.MULTILINE)
# Far above what config.parse() takes: only there so that --config /var/log/messages costs a moment, not the memory.
MAX_FILE = 2**20


@dataclass(frozen=True, slots=True)
class Source:
    """Where a config comes from: a file and the drop-ins in its sibling directory NAME.d, or the built-in example."""

    path: str
    example: bool = False

    def load(self, tolerant: bool = False) -> Config:
        """The whole config, resolv.conf files and the ConfigMap included. ConfigError with every problem; each names
        its file. `tolerant`: what is wrong with the ConfigMap, which others write, is told and no more."""
        parsed = self.parse()
        try:
            parsed = _with_stubs(parsed)
        except ConfigMapError as error:
            if not tolerant:
                raise
            parsed = replace(parsed, config_map_failed=True)
            from nodedns.journal import log  # late: no other verb needs it

            log("config_map_error", f"{error}: its zones are not served")
        zones: list[Zone] = []
        problems: list[Problem] = []
        for zone in parsed.zones:
            try:
                zones.append(_complete(zone, parsed.node.listen))
            except ConfigError as error:
                problems += error.problems
        if problems:
            raise ConfigError(*problems)
        return replace(parsed, zones=tuple(zones), hosts=_hosts(parsed.node.hosts))

    def parse(self) -> Config:
        """The config as written: a zone that names a resolv.conf has no servers from there yet."""
        if self.example:
            example = config.example()
            return replace(example, node=replace(example.node, run_dir=example_run_dir()))
        text, dropins = _text(self.path), self._dropins()
        try:
            return config.parse(text, tuple(dropins.items()))
        except ConfigError as error:
            raise ConfigError(*(self._located(problem, dropins) for problem in error.problems)) from None

    def run_dir(self) -> str:
        """Where the running service keeps its files.

        A config that was broken since must not hide the service that runs on the last good one. So of such a file only
        the line that sets run_dir is read, whatever is wrong around it.
        """
        try:
            return self.parse().node.run_dir
        except ConfigError:
            return self._written_run_dir()

    def _written_run_dir(self) -> str:
        try:
            text = "\n".join((_text(self.path), *self._dropins().values()))
        except ConfigError:
            return DEFAULT_RUN_DIR
        return str([DEFAULT_RUN_DIR, *RUN_DIR.findall(text)][-1])

    def _dropins(self) -> dict[str, str]:
        """Text by name, in the order of the names. ConfigError for the first that cannot be read."""
        folder = self._folder
        return {name: _text(os.path.join(folder, name)) for name in _dropin_names(folder)}

    def _located(self, problem: Problem, dropins: dict[str, str]) -> Problem:
        in_dropin = any(problem.path.startswith(f"{name}: ") for name in dropins)
        return replace(problem, path=f"{self._folder}/{problem.path}" if in_dropin else f"{self.path}: {problem.path}")

    @property
    def _folder(self) -> str:
        return os.path.splitext(self.path)[0] + ".d"


def example_run_dir() -> str:
    """A directory of this user's own, on tmpfs where the session has one."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    return f"{runtime}/nodedns-example" if runtime else f"/tmp/nodedns-example-{os.getuid()}"


def _dropin_names(folder: str) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if name.endswith(".toml") and not name.startswith("."))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ConfigError(Problem(folder, "a directory of drop-ins", error.strerror or str(error))) from error


def _text(path: str) -> str:
    data = _read(path)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        got = f"the byte 0x{data[error.start]:02x} at offset {error.start}"
        raise ConfigError(Problem(path, "UTF-8 text", got)) from error


def _read(path: str) -> bytes:
    """A file, whole. It must be a regular one: opening a FIFO in its place must not stop the parent."""
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
    return data


def _with_stubs(parsed: Config) -> Config:
    """The zones of the kube-dns ConfigMap over those written."""
    if parsed.config_map is None:
        return parsed
    from nodedns.verbs.importer import kubedns  # late: for those who have one

    try:
        return config.with_stubs(parsed, *kubedns.read(parsed.config_map))
    except Failed as error:
        raise ConfigMapError(Problem(parsed.config_map, "the kube-dns ConfigMap", str(error))) from None
    except ConfigError as error:
        raise ConfigMapError(*error.problems) from None


def _hosts(path: str | None) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The names of the hosts file."""
    if path is None:
        return ()
    from nodedns.core import local  # late, as above: what the parent imports stays in its memory

    return local.parse_hosts(_read(path).decode("latin-1"))


def _complete(zone: Zone, listen: tuple[Endpoint, ...]) -> Zone:
    """`zone`, its authorities looked at, with the servers of its resolv.conf, but our own addresses: a node's
    resolv.conf may well name us.

    It may name systemd-resolved's stub, which may ask us in turn: then resolved's own list is what is meant."""
    if zone.tls.ca and b"-----BEGIN CERTIFICATE-----" not in _read(zone.tls.ca):
        raise ConfigError(Problem(zone.tls.ca, "certificates in PEM", "none"))
    if zone.resolv_conf is None:
        return zone
    # Latin-1 takes any byte: resolv.conf has no encoding, and what is no nameserver line is passed over anyway.
    found = config.nameservers(_read(zone.resolv_conf).decode("latin-1"))
    if STUB in found and os.path.exists(RESOLVED):
        found = config.nameservers(_read(RESOLVED).decode("latin-1"))
    servers = [over_tls(at) if zone.transport == "tls" else at for at in found if at not in listen]
    forward = tuple(dict.fromkeys((*zone.forward, *servers)))
    if not forward:
        expected = f'a nameserver other than this service for zone "{zone.name}"'
        hint = "name the servers in `forward` instead"
        raise ConfigError(Problem(zone.resolv_conf, expected, "none", hint))
    return replace(zone, forward=forward)
