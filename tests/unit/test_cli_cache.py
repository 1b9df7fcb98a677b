"""cache dump, get and flush, on a real table without a service."""

import json
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from service_files import Verb, entry

from nodedns import native
from nodedns.core.entries import Entry


@pytest.mark.usefixtures("still")
def test_cache_dump(table: native.Table, config_file: Path, verb: Verb) -> None:
    """A line for each live entry; flags, zone and the TTL left are in it."""
    for made in (
        entry(table.seed, "a.svc.cluster.local", "A", "10.0.0.1", flags=3),
        entry(table.seed, "b.example", "TXT", '"x"'),
    ):
        assert table.put(made, native.now()) == native.STORED
    code, out, _ = verb("cache", "dump", "--config", str(config_file))
    assert code == 0
    head, *lines = (line.split("\t") for line in out.splitlines())
    assert head == ["name", "type", "flags", "kind", "rcode", "ttl", "hits", "zone", "state", "stale_ttl"]
    shown = sorted([*line[:5], *line[6:]] for line in lines)
    assert shown == [
        ["a.svc.cluster.local.", "A", "do cd", "answer", "NOERROR", "0", "cluster.local.", "fresh", "0"],
        ["b.example.", "TXT", "-", "answer", "NOERROR", "0", ".", "fresh", "0"],
    ]
    assert {line[5] for line in lines} == {"30"}


def test_hostile_names_are_escaped(table: native.Table, config_file: Path, verb: Verb) -> None:
    """A name with a terminal escape, a dot in a label and a NUL reaches the terminal as printable ASCII."""
    key = b"\x04\x1b]0;\x03a.b\x02\x00\xff\x00" + b"\x00\x01\x00\x01" + b"\x00"
    made = native.failure_entry(key, table.seed, 2, b"\x00\x17" + b"\x1b[31m", 5, 0, 7, native.now())
    assert table.put(made, native.now()) == native.STORED
    for words in (["dump"], ["dump", "--json"], ["get", r"\027]0;.a\.b.\000\255"]):
        code, out, _ = verb("cache", *words, "--config", str(config_file))
        assert (code, out.replace("\n", "").replace("\t", "").isprintable()) == (0, True)
        assert r"\027]0;.a\.b.\000\255." in (out if words[-1] != "--json" else json.loads(out)["name"])


@pytest.mark.usefixtures("still")
def test_stale_entries(table: native.Table, config_file: Path, verb: Verb) -> None:
    """What may be given after its end is there with --stale, what is given again always, what is of no use never."""
    minute, now = 60_000, native.now()
    lives = {  # inserted, expires and stale_until from now on, in ms; given again
        "fresh.": (-minute, minute, 2 * minute, 0),
        "given.": (-minute, minute, 2 * minute, 1),
        "over.": (-2 * minute, -minute, minute, 0),
        "dead.": (-3 * minute, -2 * minute, -minute, 0),
    }
    for name, (inserted, expires, until, again) in lives.items():
        made = Entry.unpack(entry(table.seed, name + "cluster.local", "A", "10.0.0.1"))
        # Stored with a life, which is then taken away in the file: the table takes nothing that is over.
        blob = replace(made, inserted=now + inserted, stale_until=now + 2 * minute, stale=again).pack()
        assert table.put(blob, now) == native.STORED
        file = config_file.parent / "run" / "cache"
        with file.open("r+b") as cache:
            cache.seek(file.read_bytes().index(blob) + 16)
            cache.write(struct.pack("=QQ", now + expires, now + until))
    code, out, _ = verb("cache", "dump", "--json", "--config", str(config_file))
    rows = {row["name"]: row for row in map(json.loads, out.splitlines())}
    assert {name.partition(".")[0]: row["state"] for name, row in rows.items()} == {"fresh": "fresh", "given": "stale"}
    assert rows["fresh.cluster.local."]["stale_ttl"] == 120
    code, out, _ = verb("cache", "dump", "--json", "--stale", "--config", str(config_file))
    rows = {row["name"].partition(".")[0]: row for row in map(json.loads, out.splitlines())}
    assert {name: row["state"] for name, row in rows.items()} == {"fresh": "fresh", "given": "stale", "over": "expired"}
    assert (code, rows["over"]["ttl"], rows["over"]["stale_ttl"]) == (0, 0, 60)
    code, out, _ = verb("cache", "get", "over.cluster.local", "--stale", "--config", str(config_file))
    assert (code, "state=expired" in out, "over.cluster.local.\t0\tIN\tA\t10.0.0.1" in out) == (0, True, True)
    assert verb("cache", "get", "over.cluster.local", "--config", str(config_file))[0] == 1


@pytest.mark.parametrize(
    ("words", "records"),
    [
        (["Multi.Cluster.Local"], {"A", "AAAA"}),
        (["multi.cluster.local", "a"], {"A"}),
        (["multi.cluster.local.", "TYPE28"], {"AAAA"}),
        (["multi.cluster.local", "MX"], set()),
        (["other.cluster.local"], set()),
    ],
)
def test_cache_get(words: list[str], records: set[str], table: native.Table, config_file: Path, verb: Verb) -> None:
    """`get` finds a name in any case, one type or all, and shows its records; nothing found is exit code 1."""
    for qtype, rdata in (("A", "10.0.0.1"), ("AAAA", "fd00::1")):
        made = entry(table.seed, "multi.cluster.local", qtype, rdata)
        assert table.put(made, native.now()) == native.STORED
    code, out, _ = verb("cache", "get", "--config", str(config_file), *words)
    shown = [line.split("\t") for line in out.splitlines() if not line.startswith(";")]
    assert {line[3] for line in shown} == records
    assert code == (0 if records else 1)


def test_looking_changes_nothing(table: native.Table, config_file: Path, verb: Verb) -> None:
    """dump and get leave every octet of the cache as it was."""
    made = entry(table.seed, "a.cluster.local", "A", "10.0.0.1")
    assert table.put(made, native.now()) == native.STORED
    file = config_file.parent / "run" / "cache"
    before = file.read_bytes()
    for words in (["dump"], ["get", "a.cluster.local"]):
        assert verb("cache", *words, "--config", str(config_file))[0] == 0
    assert file.read_bytes() == before


def test_cache_flush(table: native.Table, config_file: Path, verb: Verb) -> None:
    """After a flush no entry is found, by a worker or by dump."""
    made = entry(table.seed, "a.cluster.local", "A", "10.0.0.1")
    assert table.put(made, native.now()) == native.STORED
    code, out, _ = verb("cache", "flush", "--config", str(config_file))
    assert (code, out) == (0, "flushed; the service is not running\n")
    assert verb("cache", "dump", "--json", "--config", str(config_file))[:2] == (0, "")
    assert table.get(b"\x01a\x07cluster\x05local\x00\x00\x01\x00\x01\x00", native.now()) is None


def test_damaged_entries_are_left_out(table: native.Table, config_file: Path, verb: Verb) -> None:
    """Whatever octets stand in the slots, dump ends well and shows no entry that is not whole."""
    made = entry(table.seed, "a.cluster.local", "A", "10.0.0.1")
    assert table.put(made, native.now()) == native.STORED
    file = config_file.parent / "run" / "cache"
    image = file.read_bytes()
    with file.open("r+b") as slots:
        slots.seek(image.index(made) + 64)
        slots.write(b"\xff" * (len(made) - 64))
    assert verb("cache", "dump", "--json", "--config", str(config_file))[:2] == (0, "")


@pytest.mark.usefixtures("table")
def test_foreign_cache_is_refused(config_file: Path, verb: Verb) -> None:
    """A cache of another layout is named, not read."""
    file = config_file.parent / "run" / "cache"
    with file.open("r+b") as cache:
        cache.write(b"other")
    code, _, err = verb("cache", "dump", "--config", str(config_file))
    assert (code, f"{file}: expected this version's cache" in err) == (1, True)


def test_nobody_reads_the_dump(table: native.Table, config_file: Path) -> None:
    """A reader that leaves early costs no traceback."""
    for number in range(2000):
        name = f"n{number}.cluster.local"
        table.put(entry(table.seed, name, "A", "10.0.0.1"), native.now())
    command = [sys.executable, "-m", "nodedns", "cache", "dump", "--config", str(config_file)]
    # The dump is 50 kB: an ordinary pipe would take all of it before its reader leaves.
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, pipesize=4096) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 1
