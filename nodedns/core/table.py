"""The shared table's read rule over an image of its file: the slow twin of native/table.c (manual: table.h).

An image is one moment's copy, so nothing is torn between two looks at a control word: what remains is "odd = miss".
"""

import struct
from collections.abc import Iterator

from nodedns.core.entries import Entry, entry_ok, hash

_WAYS = 16
_HEAD = struct.Struct(f"={_WAYS}Q{_WAYS}I{_WAYS}s{_WAYS}s32x")  # control words, tags, reference bits, hit counts
_FILE = struct.Struct("=8sQQQ2IQ")  # magic, layout, size, seed, buckets of each class, flushed (ms of CLOCK_BOOTTIME)
_FILE_SIZE = 4096
_SLOT = (512, 16384)  # small, large class


def _ways(
    image: bytes | memoryview, counts: tuple[int, int], class_: int, bucket: int
) -> Iterator[tuple[int, int, int, int]]:
    """(control word, tag, hits, offset of the slot) of each way of a bucket."""
    head = _FILE_SIZE + _HEAD.size * (bucket + (counts[0] if class_ else 0))
    slots = _FILE_SIZE + _HEAD.size * sum(counts) + (counts[0] * _WAYS * _SLOT[0] if class_ else 0)
    *words, _referenced, hits = _HEAD.unpack_from(image, head)
    for way in range(_WAYS):
        yield words[way], words[_WAYS + way], hits[way], slots + (bucket * _WAYS + way) * _SLOT[class_]


def _entry_at(image: bytes | memoryview, control: int, at: int, class_: int) -> bytes | None:
    """The whole entry in a slot; None when it was never used (control 0), was being written (odd) or is damaged."""
    if control == 0 or control & 1:
        return None
    wire_len, records, ede_len = struct.unpack_from("=H H 8x H", image, at + 38)
    length = Entry.LAYOUT.size + (wire_len + 1 & ~1) + 2 * records + ede_len
    blob = bytes(image[at : at + length])
    return blob if length <= _SLOT[class_] and entry_ok(blob) else None


def table_get(image: bytes | memoryview, key: bytes, now: int) -> bytes | None:
    """The live entry of `key` at `now` (ms of CLOCK_BOOTTIME), None = miss."""
    _magic, _layout, _size, seed, small, large, flushed = _FILE.unpack_from(image)
    counts, wanted = (small, large), hash(key, seed)
    for class_ in (0, 1):
        bucket = (wanted & 0xFFFFFFFF) * counts[class_] >> 32
        for control, tag, _hits, at in _ways(image, counts, class_, bucket):
            blob = _entry_at(image, control, at, class_) if tag == (wanted >> 32 | 1) else None
            if blob is None:
                continue
            e = Entry.unpack(blob)
            if e.key == key and e.expires > now and e.inserted > flushed:
                return blob
    return None


def table_slots(image: bytes | memoryview) -> Iterator[tuple[bytes, int] | None]:
    """Entry and hit count of every slot in order (small class first), None when empty, being written or damaged."""
    counts: tuple[int, int] = _FILE.unpack_from(image)[4:6]
    for class_ in (0, 1):
        for bucket in range(counts[class_]):
            for control, _tag, hits, at in _ways(image, counts, class_, bucket):
                blob = _entry_at(image, control, at, class_)
                yield None if blob is None else (blob, hits)
