"""The query log's writer before readers that stand still."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from nodedns import journal, native
from nodedns.config import Log
from nodedns.core.querylog import line
from nodedns.monitor.querylog import QueryLog
from tests.unit.test_core_querylog import ONE

LONGEST = ONE._replace(name=(b"\x3f" + b"\xff" * 63) * 3 + b"\x3d" + b"\xff" * 61 + b"\0", weight=64)


@contextmanager
def piped() -> Iterator[int]:
    """Our standard output is a pipe, whose other end this is. Not a fixture: pytest puts its own there afterwards."""
    kept, (read, write) = os.dup(1), os.pipe()
    os.dup2(write, 1)
    os.close(write)
    try:
        yield read
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(read)


@pytest.fixture(autouse=True)
def no_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    journal.begin("")


def test_a_line_is_whole() -> None:
    """What a pipe takes at once (pipe(7)): no two processes' lines are mixed."""
    assert len(line(LONGEST)) < 4096


def test_nobody_reads(counters: native.Memory) -> None:
    """What the pipe has no room for is dropped and counted, and nobody waits; lines that were written are whole."""
    log = QueryLog(Log("all", rate=100_000), counters)
    with piped() as read:
        log.take([LONGEST] * 200, 7)
        counted = native.read_parent(counters)
        os.set_blocking(read, False)
        said = os.read(read, 1 << 20).decode().splitlines()
        log.take([ONE], 0)
        last = os.read(read, 4096).decode()
    assert counted["querylog_lines"] + counted["querylog_dropped"] == 207
    assert counted["querylog_dropped"] > 100
    assert said == [line(LONGEST)] * counted["querylog_lines"]
    assert last == f"{line(ONE)}\n"


def test_the_reader_has_gone(counters: native.Memory) -> None:
    """It ends nothing."""
    log = QueryLog(Log("all"), counters)
    with piped() as read:
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, read)
        os.close(null)
        log.take([ONE], 0)
    assert native.read_parent(counters)["querylog_dropped"] == 1
