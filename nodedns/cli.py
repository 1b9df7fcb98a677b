"""The command line: a table of verbs, one short function each.

This is the only place that turns an error into a line and an exit code: 0 well, 1 failed, 2 usage, 78 bad config
(EX_CONFIG of sysexits.h, which the unit does not retry). What a verb needs is imported when it runs: `run` becomes the
parent for months, and must not carry what `cache dump` needs for a second.
"""

import os
import sys
from argparse import ArgumentParser, ArgumentTypeError, HelpFormatter, Namespace
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from nodedns import __version__
from nodedns.config import Config, ConfigError, Endpoint
from nodedns.config_servers import endpoint
from nodedns.verbs.errors import Failed
from nodedns.verbs.files import DEFAULT_CONFIG, Source

OK, FAILED, USAGE, BAD_CONFIG = 0, 1, 2, 78

# What to try first: an address, a service record over TCP, a name that does not exist.
EXAMPLE_QUERIES = (
    "kubernetes.default.svc.cluster.local",
    "+tcp SRV _https._tcp.kubernetes.default.svc.cluster.local",
    "no-such-service.default.svc.cluster.local",
)


class Verb(NamedTuple):
    """One word of the command line. `run` gets the words behind it and returns the exit code."""

    name: str
    run: Callable[[Sequence[str]], int]
    help: str


# To learn the terminal's width it would import shutil and four libraries, even to read a line: 0.3 MiB of the parent.
HELP = partial(HelpFormatter, width=98)


def _options(name: str) -> ArgumentParser:
    meaning = next(verb.help for verb in VERBS if verb.name == name)
    parser = ArgumentParser(prog=f"nodedns {name}", description=meaning, formatter_class=HELP)
    parser.add_argument("--config", metavar="FILE", default=DEFAULT_CONFIG, help="default: %(default)s")
    parser.add_argument("--example", action="store_true", help="the service of `nodedns run --example`")
    return parser


def _source(options: Namespace) -> Source:
    return Source(options.config, options.example)


def _server(text: str) -> Endpoint:
    try:
        return endpoint(text)
    except ConfigError as error:
        raise ArgumentTypeError(str(error).lstrip(": ")) from error


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds <= 60:
        raise ArgumentTypeError(f"expected more than 0 and at most 60 seconds, got {text}")
    return seconds


def run(words: Sequence[str]) -> int:
    source = _source(_options("run").parse_args(words))
    config = source.load(tolerant=True)
    from nodedns.supervisor import room
    from nodedns.supervisor.loop import serve

    room.check(config, room.allowed())
    return serve(source.load, config, source.example, lambda: announce(config) if source.example else None)


def announce(config: Config) -> None:
    """Says that the example serves, and what a newcomer may ask it."""
    server = config.node.listen[0]
    print(f"nodedns {__version__} serves the example cluster on {server}; ask it from another terminal:")
    for query in EXAMPLE_QUERIES:
        print(f"  dig @{server.address} -p {server.port} {query}")
    print("Ctrl-C stops it.", flush=True)


def check(words: Sequence[str]) -> int:
    source = _source(_options("check").parse_args(words))
    from nodedns.verbs.check import check as verb

    return verb(source)


def reload(words: Sequence[str]) -> int:
    source = _source(_options("reload").parse_args(words))
    from nodedns.verbs.reload import reload as verb

    return verb(source)


def status(words: Sequence[str]) -> int:
    parser = _options("status")
    parser.add_argument("--json", action="store_true", help="everything, for programs")
    options = parser.parse_args(words)
    from nodedns.verbs.status import status as verb

    return verb(_source(options), options.json)


def top(words: Sequence[str]) -> int:
    parser = _options("top")
    parser.add_argument("--interval", metavar="SECONDS", type=_seconds, default=1.0, help="default: %(default)s")
    parser.add_argument("--once", action="store_true", help="one interval as text, then the end")
    parser.add_argument("--json", action="store_true", help="a line of JSON for each interval")
    options = parser.parse_args(words)
    from nodedns.verbs.top import top as verb

    return verb(_source(options), options.interval, options.once, options.json)


def query(words: Sequence[str]) -> int:
    parser = _options("query")
    parser.add_argument("name")
    parser.add_argument("type", nargs="?", default="A", help="a type's name or TYPEnnn; default: A")
    parser.add_argument("--tcp", action="store_true", help="ask over TCP")
    parser.add_argument("--server", metavar="IP[:PORT]", type=_server, help="default: where the service listens")
    parser.add_argument("--raw", action="store_true", help="the whole reply: flags, sections, Extended DNS Errors")
    # What stub resolvers give up at (resolv.conf(5), timeout); the service itself answers within 4.5 s.
    parser.add_argument("--timeout", metavar="SECONDS", type=_seconds, default=5.0, help="default: %(default)s")
    options = parser.parse_intermixed_args(words)
    server = options.server or _source(options).parse().node.listen[0]
    from nodedns.query import run as verb

    return verb(options.name, options.type, server, options.tcp, options.timeout, raw=options.raw)


def cache(words: Sequence[str]) -> int:
    parser = _options("cache")
    parser.add_argument("action", choices=("dump", "get", "flush"), help="list all; show a name's records; forget all")
    parser.add_argument("name", nargs="?", help="of get")
    parser.add_argument("type", nargs="?", help="of get; default: every type cached")
    parser.add_argument("--json", action="store_true", help="one object a line")
    parser.add_argument(
        "--stale", action="store_true", help="also what has expired and may be given when no server answers"
    )
    options = parser.parse_intermixed_args(words)
    if (options.action == "get") != (options.name is not None):
        parser.error("get takes a NAME, dump and flush take none")
    from nodedns.verbs.cache import dump, flush, get

    source = _source(options)
    if options.action == "get":
        return get(source, options.name, options.type, options.json, options.stale)
    return dump(source, options.json, options.stale) if options.action == "dump" else flush(source)


def doctor(words: Sequence[str]) -> int:
    source = _source(_options("doctor").parse_args(words))
    from nodedns.verbs.doctor import doctor as verb

    return verb(source)


def cleanup(words: Sequence[str]) -> int:
    parser = _options("cleanup")
    parser.add_argument("--force", action="store_true", help="even while a service runs; it puts them back")
    parser.add_argument("--node-cache", action="store_true", help="what a killed NodeLocal DNSCache has left, instead")
    options = parser.parse_args(words)
    from nodedns.verbs.cleanup import cleanup as verb
    from nodedns.verbs.cleanup import of_node_cache

    return of_node_cache(_source(options)) if options.node_cache else verb(_source(options), options.force)


def import_(words: Sequence[str]) -> int:
    parser = ArgumentParser(prog="nodedns import", description="prints a config made from what node-cache runs on")
    parser.add_argument("path", help="a Corefile, a manifest with one in it, or the kube-dns ConfigMap's directory")
    parser.add_argument("--kube-dns", metavar="DIR", help="that directory beside a Corefile")
    parser.add_argument("--pillar", metavar="NAME=VALUE", action="append", default=[], help="such as CLUSTER__DNS=IP")
    parser.add_argument("--strict", action="store_true", help="exit code 1 when something was not carried over")
    options = parser.parse_args(words)
    from nodedns.verbs.importer import import_ as verb
    from nodedns.verbs.importer import pillars

    return verb(options.path, options.kube_dns, pillars(options.pillar), options.strict)


VERBS = (
    Verb("run", run, "serve until SIGTERM or Ctrl-C; --example needs no config and no root"),
    Verb("check", check, "read the config and say what is wrong with it; changes nothing"),
    Verb("reload", reload, "make the running service take its config anew, and wait for its verdict"),
    Verb("status", status, "how the service is doing"),
    Verb("top", top, "what is asked, by whom, and how fast it is answered, live"),
    Verb("query", query, "ask the service, or another server, one question"),
    Verb("cache", cache, "look into the shared cache, or empty it"),
    Verb("import", import_, "make a config of a Corefile, its manifest, or the kube-dns ConfigMap"),
    Verb("doctor", doctor, "look for what on this machine is in the way, and say what to do; changes nothing"),
    Verb("cleanup", cleanup, "take away link, rules and files that a dead service has left"),
)


def usage() -> str:
    verbs = "\n".join(f"  {verb.name:<8} {verb.help}" for verb in VERBS)
    return f"usage: nodedns VERB [OPTION...]\n\n{verbs}\n\nnodedns VERB --help shows its options."


def main(words: Sequence[str] | None = None) -> int:
    """Runs one verb; returns the exit code."""
    words = sys.argv[1:] if words is None else words
    first = words[0] if words else ""
    if first in ("help", "--help", "-h", "--version"):
        print(__version__ if first == "--version" else usage())
        return OK
    verb = next((verb for verb in VERBS if verb.name == first), None)
    if verb is None:
        print(usage(), file=sys.stderr)
        return USAGE
    try:
        return verb.run(words[1:])
    except ConfigError as error:
        for problem in error.problems:
            print(f"nodedns: {problem}", file=sys.stderr)
        return BAD_CONFIG
    except Failed as error:
        print(f"nodedns {verb.name}: {error}", file=sys.stderr)
    except BrokenPipeError:  # `nodedns cache dump | head`: the interpreter's last flush must not complain
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    except OSError as error:
        print(f"nodedns {verb.name}: {error.filename or 'system'}: {error.strerror or error}", file=sys.stderr)
    return FAILED
