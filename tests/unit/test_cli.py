"""The command line: the table of verbs, where a config comes from, and which errors become which line."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from service_files import GOOD, ZONE, Verb, write

from nodedns import __version__, cli
from nodedns.config import Config, ConfigError
from nodedns.verbs.check import summary
from nodedns.verbs.files import MAX_FILE, Source, example_run_dir


@pytest.mark.parametrize("words", [(), ("bogus",), ("--config", "x")])
def test_unknown_verb_shows_every_verb(words: tuple[str, ...], verb: Verb) -> None:
    """Without a known verb the usage text, made from the table, goes to stderr and the exit code is 2."""
    code, out, err = verb(*words)
    assert (code, out) == (2, "")
    assert all(f"  {entry.name:<8} {entry.help}" in err for entry in cli.VERBS)


@pytest.mark.parametrize(("word", "shown"), [("--version", __version__), ("--help", "usage: "), ("help", "usage: ")])
def test_help_and_version(word: str, shown: str, verb: Verb) -> None:
    """Help and version are answers, not errors."""
    code, out, err = verb(word)
    assert (code, err) == (0, "")
    assert out.startswith(shown)


@pytest.mark.parametrize("name", [entry.name for entry in cli.VERBS])
def test_each_verb_has_options(name: str, verb: Verb) -> None:
    """Every verb explains itself and takes --config, but for the one that makes a config."""
    code, out, _ = verb(name, "--help")
    assert code == 0
    assert ("--config FILE" in out) != (name == "import")


@pytest.mark.parametrize(
    "words",
    [
        "run --bogus",
        "cache",
        "cache get",
        "cache dump extra",
        "cache bogus",
        "query",
        "query a --server 10.0.0.300",
        "query a --timeout 0",
        "query a --timeout nan",
        "query a NOTYPE --server 127.0.0.1",
    ],
)
def test_usage_errors(words: str, verb: Verb) -> None:
    """A command line that makes no sense ends in exit code 2 and something on stderr."""
    code, _, err = verb(*words.split())
    assert code == 2
    assert err


@pytest.mark.parametrize(
    ("does", "without"),
    [
        ("", "asyncio dnslib aiodns threading subprocess difflib socket logging"),
        ("nodedns.cli._options('run').parse_args(['--example'])", "shutil"),
        (
            "import nodedns.supervisor.loop",
            "asyncio threading subprocess nodedns.supervisor.owner nodedns.core.reuseport",
        ),
    ],
    ids=["cli", "its options", "supervisor"],
)
def test_run_parent_imports_little(does: str, without: str) -> None:
    """What `run` has loaded once each is done: nothing that only children, other verbs or few need."""
    script = f"import sys, nodedns.cli\n{does}\nprint(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert not set(out.split()) & set(without.split())


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda path: None, "expected a readable file, got No such file or directory"),
        (Path.mkdir, "expected a readable file, got Is a directory"),
        (os.mkfifo, "expected a regular file, got something else"),
        (lambda path: path.write_bytes(b"a = '\xff'"), "expected UTF-8 text, got the byte 0xff at offset 5"),
        (
            lambda path: path.write_bytes(b"#" * (MAX_FILE + 1)),
            f"expected at most {MAX_FILE} bytes, got more (is this the right file?)",
        ),
    ],
    ids=["missing", "directory", "fifo", "not UTF-8", "huge"],
)
def test_unreadable_config_is_one_line(
    make: Callable[[Path], object], expected: str, tmp_path: Path, verb: Verb
) -> None:
    """A file that cannot be a config costs one exact line and exit code 78."""
    path = tmp_path / "nodedns.toml"
    make(path)
    assert verb("check", "--config", str(path)) == (78, "", f"nodedns: {path}: {expected}\n")


def test_problems_name_their_file(config_file: Path, verb: Verb) -> None:
    """Every problem of the file and of its drop-ins comes at once, each with the file it is in."""
    write(config_file, GOOD + 'workers = 0\nrun_dir = "x"\n')
    dropin = write(config_file.with_suffix(".d") / "10-a.toml", "[cache]\nsize = true\n")
    code, out, err = verb("check", "--config", str(config_file))
    assert (code, out) == (78, "")
    starts = [
        f"nodedns: {config_file}: node.workers",
        f"nodedns: {config_file}: node.run_dir",
        f"nodedns: {dropin}: cache.size",
    ]
    assert [any(line.startswith(start) for line in err.splitlines()) for start in starts] == [True] * 3


def test_dropins_merge_in_name_order(config_file: Path) -> None:
    """*.toml of the sibling directory are merged in the order of their names; hidden and other files are not read."""
    folder = config_file.with_suffix(".d")
    for name, size in (("20.toml", 3), ("10.toml", 2), (".30.toml", 4), ("40.toml~", 5)):
        write(folder / name, f'[cache]\nsize = "{size}MiB"\n')
    assert Source(str(config_file)).load().cache.size == 3 * 2**20


@pytest.mark.parametrize(
    ("resolv_conf", "forward"),
    [
        ("nameserver 10.1.1.1\nnameserver 10.1.1.2\n", ["10.1.1.1:53", "10.1.1.2:53"]),
        ("nameserver 127.0.0.9\nnameserver 10.1.1.1\n", ["10.1.1.1:53"]),
        ("nameserver 10.1.1.1\nnameserver 10.1.1.1\nsearch \xff\n", ["10.1.1.1:53"]),
    ],
)
def test_resolv_conf_servers_are_appended(resolv_conf: str, forward: list[str], tmp_path: Path) -> None:
    """A zone's resolv.conf gives its servers, once each, our own listen addresses left out."""
    servers = tmp_path / "resolv.conf"
    servers.write_text(resolv_conf, encoding="latin-1")
    text = GOOD.replace("127.0.0.1:5399", "127.0.0.9:53") + ZONE.format(servers)
    config = Source(str(write(tmp_path / "nodedns.toml", text))).load()
    assert [str(server) for server in config.zones[0].forward] == forward


@pytest.mark.parametrize(
    ("text", "got"),
    [
        (None, "expected a readable file, got No such file or directory"),
        ("nameserver 127.0.0.9\n", 'expected a nameserver other than this service for zone ".", got none'),
    ],
)
def test_resolv_conf_without_servers(text: str | None, got: str, tmp_path: Path) -> None:
    """A resolv.conf that leads nowhere but to us is a problem of the config, by its path."""
    servers = tmp_path / "resolv.conf"
    if text is not None:
        servers.write_text(text)
    toml = GOOD.replace("127.0.0.1:5399", "127.0.0.9:53") + ZONE.format(servers)
    with pytest.raises(ConfigError) as error:
        Source(str(write(tmp_path / "nodedns.toml", toml))).load()
    assert str(error.value).startswith(f"{servers}: {got}")


def test_check_shows_the_config(config_file: Path, verb: Verb) -> None:
    """`check` says that the file is well, what it means, and leaves the run directory as it was."""
    code, out, err = verb("check", "--config", str(config_file))
    assert (code, err) == (0, "")
    assert out.splitlines() == [f"{config_file}: well", *summary(Source(str(config_file)).load())]
    assert "zone     . -> 10.1.1.53:53 over udp, random; answers 30 s, denials 30 s" in out
    assert list((config_file.parent / "run").iterdir()) == []


@pytest.mark.parametrize(
    ("runtime", "expected"), [("/r", "/r/nodedns-example"), (None, f"/tmp/nodedns-example-{os.getuid()}")]
)
def test_example_run_dir(runtime: str | None, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example's files lie in the session's runtime directory, or in a directory of this user's own."""
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    if runtime:
        monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
    assert example_run_dir() == expected
    assert Source("ignored", example=True).load().node.run_dir == expected


def test_announce_prints_three_queries(capsys: pytest.CaptureFixture[str]) -> None:
    """The example's greeting has three whole dig lines for its own address."""
    config: Config = Source("", example=True).load()
    cli.announce(config)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  dig ")]
    assert len(lines) == 3
    assert lines[0] == "  dig @127.0.0.1 -p 5353 kubernetes.default.svc.cluster.local"


def test_query_asks_where_the_service_listens(config_file: Path, verb: Verb) -> None:
    """Without --server the config's first listen address is asked; nothing listens there, and the line says so."""
    code, out, err = verb("query", "a.example", "--raw", "--timeout", "1", "--config", str(config_file))
    assert (code, out) == (1, "")
    assert "127.0.0.1:5399" in err
