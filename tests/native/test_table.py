"""The shared table: what a reader finds, by the C and by its twin over an image of the file; what a writer may take."""

import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from samples import NOW, POLICY, SEED, ZONE, ZONE_TAG, key_of, reply

from nodedns import native
from nodedns.core.table import table_get, table_slots

SIZE = 1 << 20
HEADS = 4096  # where the small class's bucket heads stand (table.h)
Get = Callable[[bytes, int], bytes | None]


@pytest.fixture
def memory(tmp_path: Path) -> native.Memory:
    """An empty table in a file of its own."""
    descriptor = os.open(tmp_path / "cache", os.O_RDWR | os.O_CREAT)
    os.truncate(descriptor, SIZE)
    mapping = native.map_file(descriptor, SIZE, True)
    os.close(descriptor)
    native.table_format(mapping, SEED)
    return mapping


@pytest.fixture
def table(memory: native.Memory) -> native.Table:
    return native.Table(memory, 1)


@pytest.fixture(params=["native", "twin"])
def get(request: pytest.FixtureRequest, memory: native.Memory, table: native.Table) -> Get:
    """Both readers of the same table."""
    return table.get if request.param == "native" else lambda key, now: table_get(bytes(memory), key, now)


def success(name: str, count: int = 1, flags: int = 0) -> bytes:
    sent = reply(name, "A", "\n".join(f"{name} 300 A 10.0.{n >> 8}.{n & 255}" for n in range(count)))
    made = native.make_entry(key_of(name, flags=flags), bytes(sent.pack()), SEED, POLICY, NOW)
    assert isinstance(made, bytes)
    return made


def denial(name: str, at: int = NOW) -> bytes:
    made = native.make_entry(key_of(name), bytes(reply(name, rcode=3).pack()), SEED, POLICY, at)
    assert isinstance(made, bytes)
    return made


def failure(name: str) -> bytes:
    return native.failure_entry(key_of(name), SEED, 2, b"", 5, ZONE, ZONE_TAG, NOW)


def control(memory: native.Memory) -> tuple[memoryview, int]:
    """The control word of the only slot in use, as octets to change and as a number."""
    index = next(i for i, slot in enumerate(table_slots(bytes(memory))) if slot)
    at = HEADS + index // 16 * 256 + index % 16 * 8
    word = memoryview(memory)[at : at + 8]
    return word, struct.unpack("=Q", word)[0]


@pytest.mark.parametrize(
    "entry",
    [success("a.b."), success("a.b.", 20), success("a.b.", 500), denial("a.b."), failure("a.b.")],
    ids=["small", "just large", "500 endpoints", "denial", "failure"],
)
def test_stored_is_found(table: native.Table, get: Get, entry: bytes) -> None:
    """An entry comes back octet by octet until it expires, for its own key alone."""
    assert get(key_of("a.b."), NOW) is None
    assert table.put(entry, NOW) == native.STORED
    assert get(key_of("a.b."), NOW) == get(key_of("a.b."), NOW + 4999) == entry
    assert get(key_of("a.b."), NOW + 300_000) is None
    for other in (key_of("a.c."), key_of("a.b.", "AAAA"), key_of("a.b.", flags=1), key_of("a.b.", flags=2)):
        assert get(other, NOW) is None


@pytest.mark.parametrize(("count", "verdict"), [(905, "STORED"), (906, "TOO_BIG")])
def test_the_largest_entry(table: native.Table, count: int, verdict: str) -> None:
    """16 KiB hold 905 endpoints (16 octets and a TTL offset each); more is refused, not cut."""
    assert table.put(success("a.b.", count), NOW) == getattr(native, verdict)


def test_expired_is_not_stored(table: native.Table) -> None:
    """What is dead on arrival takes nobody's place."""
    assert table.put(success("a.b."), NOW + 300_000) == native.DEAD


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (success("a.b."), success("a.b.", 2)),
        (success("a.b."), success("a.b.", 100)),
        (success("a.b.", 100), success("a.b.")),
        (success("a.b."), denial("a.b.")),
        (denial("a.b."), success("a.b.")),
        (failure("a.b."), success("a.b.", 100)),
        (failure("a.b."), denial("a.b.")),
    ],
    ids=["same size", "grew", "shrank", "denied", "came back", "recovered, large", "recovered, denied"],
)
def test_the_newer_entry_is_found(table: native.Table, get: Get, first: bytes, second: bytes) -> None:
    """A key has one entry, whatever class and share the one before stood in."""
    for entry in (first, second):
        assert table.put(entry, NOW) == native.STORED
    assert get(key_of("a.b."), NOW) == second
    assert [slot[0] for slot in map(table.read, range(table.slots)) if slot] == [second]


def test_flush(table: native.Table, get: Get) -> None:
    """A flush kills what was there, and only that."""
    table.put(denial("old.b."), NOW)
    table.flush(NOW)
    table.put(denial("new.b.", NOW + 1), NOW + 1)
    assert get(key_of("old.b."), NOW + 1) is None
    assert get(key_of("new.b."), NOW + 1) is not None


def test_denials_cannot_push_answers_out(table: native.Table, get: Get) -> None:
    """An NXDOMAIN flood has its own share of every bucket."""
    table.put(success("a.b."), NOW)
    for n in range(20 * table.slots // 8):
        table.put(denial(f"random-{n}.b."), NOW)
    assert get(key_of("a.b."), NOW) == success("a.b.")


def test_slot_of_a_dead_writer(memory: native.Memory, table: native.Table, get: Get) -> None:
    """A claim hides the entry; nobody takes it while its writer's epoch stands, anybody once it was raised."""
    table.put(success("a.b."), NOW)
    word, value = control(memory)
    assert value & 1 == 0
    assert value >> 32 & 255 == 1  # written by writer 1
    word[:] = struct.pack("=Q", value + 1)
    assert get(key_of("a.b."), NOW) is None
    other = native.Table(memory, 2)
    assert other.put(success("a.b.", 2), NOW) == native.LOST
    other.raise_epoch(1)
    assert other.put(success("a.b.", 2), NOW) == native.STORED
    assert get(key_of("a.b."), NOW) == success("a.b.", 2)


def test_damaged_slot(memory: native.Memory, table: native.Table, get: Get) -> None:
    """An entry that does not add up is a miss, wherever the damage came from."""
    table.put(success("a.b."), NOW)
    at = bytes(memory).index(success("a.b."))
    memoryview(memory)[at + 40 : at + 42] = b"\xff\xff"
    assert get(key_of("a.b."), NOW) is None
    assert not any(table_slots(bytes(memory)))
    assert not any(map(table.read, range(table.slots)))


def test_slots_are_listed_alike(memory: native.Memory, table: native.Table) -> None:
    """A dump by the twin equals one by the C, hit counts included."""
    for n in range(300):
        table.put((success, denial, failure)[n % 3](f"n{n}.b."), NOW)
        table.put(success(f"large{n % 5}.b.", 100), NOW)
        table.get(key_of(f"n{n * 7 % 300}.b."), NOW)
    slots = list(table_slots(bytes(memory)))
    assert len(slots) == table.slots
    assert slots == [table.read(index) for index in range(table.slots)]
    assert sum(slot is not None for slot in slots) > 250
    assert max(slot[1] for slot in slots if slot) > 0
