"""Marks and limits of the table: who asks for a key, and how fast a client may."""

import os
from pathlib import Path

import pytest
from samples import NOW, SEED, key_of

from nodedns import native

NEW, OWN, OTHER, NONE = range(4)
PLACES = 8192  # TABLE_MARKS
KEY = key_of("a.test")
CLIENT = bytes(15) + b"\x09"


@pytest.fixture
def tables(tmp_path: Path) -> tuple[native.Table, native.Table]:
    """Two writers' views of one table."""
    descriptor = os.open(tmp_path / "cache", os.O_RDWR | os.O_CREAT)
    os.truncate(descriptor, 1 << 20)
    memory = native.map_file(descriptor, 1 << 20, True)
    os.close(descriptor)
    native.table_format(memory, SEED)
    return native.Table(memory, 1), native.Table(memory, 2)


def test_one_owner(tables: tuple[native.Table, native.Table]) -> None:
    one, two = tables
    assert one.mark(KEY, NOW, 4500) == NEW
    assert one.mark(KEY, NOW + 1, 4500) == OWN
    assert two.mark(KEY, NOW + 1, 4500) == OTHER
    two.unmark(KEY)
    assert two.mark(KEY, NOW + 1, 4500) == OTHER
    one.unmark(KEY)
    assert two.mark(KEY, NOW + 1, 4500) == NEW


@pytest.mark.parametrize("start", [NOW, 16 * 65536 - 2000, 16 * 65536 * 7 - 1])
def test_a_deadline(tables: tuple[native.Table, native.Table], start: int) -> None:
    """Also where the clock of a mark begins anew."""
    one, two = tables
    assert one.mark(KEY, start, 4500) == NEW
    assert two.mark(KEY, start + 4480, 4500) == OTHER
    assert two.mark(KEY, start + 4550, 4500) == NEW


def test_a_dead_owner(tables: tuple[native.Table, native.Table]) -> None:
    one, two = tables
    assert one.mark(KEY, NOW, 4500) == NEW
    two.raise_epoch(1)
    assert two.mark(KEY, NOW, 4500) == NEW
    assert one.mark(KEY, NOW, 4500) == OTHER


def test_two_keys_on_one_place(tables: tuple[native.Table, native.Table]) -> None:
    """The second is not joined; nothing else."""
    one, two = tables
    place = (native.hash(KEY, SEED) & 0xFFFFFFFF) % PLACES
    names = (key_of(f"n{n}.test") for n in range(1_000_000))
    other = next(key for key in names if (native.hash(key, SEED) & 0xFFFFFFFF) % PLACES == place)
    assert one.mark(KEY, NOW, 4500) == NEW
    assert two.mark(other, NOW, 4500) == NONE
    two.unmark(other)
    assert two.mark(KEY, NOW, 4500) == OTHER


def test_limit(tables: tuple[native.Table, native.Table]) -> None:
    """A second's worth at once, whichever worker is asked, then one for each share of a second."""
    one, two = tables
    assert [one.limit(CLIENT, 10, NOW) for _ in range(6)] == [True] * 6
    assert [two.limit(CLIENT, 10, NOW) for _ in range(6)] == [True] * 4 + [False] * 2
    assert not one.limit(CLIENT, 10, NOW + 99)
    assert one.limit(CLIENT, 10, NOW + 100)
    assert not one.limit(CLIENT, 10, NOW + 100)
    assert all(one.limit(CLIENT, 10, NOW + 5000) for _ in range(10))
    assert not one.limit(CLIENT, 10, NOW + 5000)
    assert two.limit(bytes(16), 10, NOW + 5000)


@pytest.mark.parametrize(("address", "rate"), [(b"", 1), (CLIENT, 0), (bytes(17), 1)])
def test_no_limit(tables: tuple[native.Table, native.Table], address: bytes, rate: int) -> None:
    with pytest.raises(ValueError, match="16 octets"):
        tables[0].limit(address, rate, NOW)
