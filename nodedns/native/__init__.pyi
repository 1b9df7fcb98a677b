"""The hit path and the shared memory, in C. table.h, wire.h, slot.h, serve.h and counters.h are the manuals.

Times are milliseconds of CLOCK_BOOTTIME (now()). A key is the question in wire form and lower case, plus one octet of
KEY_* flags. An entry is the blob of wire.h: what the table stores and what every answer is rendered from.
"""

from collections.abc import Sequence
from typing import Final

KEY_DO: Final[int]
KEY_CD: Final[int]
SUCCESS: Final[int]  # kinds of an entry
DENIAL: Final[int]
FAILURE: Final[int]
OK: Final[int]  # verdicts on a reply
MALFORMED: Final[int]
MISMATCH: Final[int]
TRUNCATED: Final[int]
TOO_LONG: Final[int]
STORED: Final[int]  # verdicts of Table.put
LOST: Final[int]
TOO_BIG: Final[int]
DEAD: Final[int]
MAX_ZONES: Final[int]
ROWS: Final[int]  # of a counters block, for a server and a zone
UPSTREAMS: Final[int]  # rows for servers asked
NO_ROW: Final[int]
SAMPLES: Final[int]  # a ring holds
SLOT_SIZE: Final[int]  # octets of one worker slot's shared page
COUNTER_NAMES: Final[tuple[str, ...]]  # of one block, in order, before the rows
COUNTER_HELP: Final[tuple[str, ...]]
PARENT_NAMES: Final[tuple[str, ...]]
GAUGE_NAMES: Final[tuple[str, ...]]  # of the parent's, too
TYPE_NAMES: Final[tuple[str, ...]]  # of a row's types; the last is "other"
ROW: Final[dict[str, tuple[int, int]]]  # offset and length of each field of a row, in u64
UPSTREAM: Final[dict[str, tuple[int, int]]]

Sample = tuple[int, int, int, int, int, int, int, int, int, bytes, int, bytes, int, int, bytes, int, int, int, int, int]
"""(when and duration in ns, weight, row, size in octets, rcode, how, proto, flags, client's address (16 octets, v4
mapped), port, name as it was asked in wire form, type, counter, answer or b"", the answer's id, its bits (the second
word of its header), class, octets the client can take over UDP, octets of the query); see samples.h, struct note."""

class Memory:
    """A shared mapping that outlives its descriptor and is inherited by fork. Supports the buffer protocol."""

    size: int
    def __buffer__(self, flags: int, /) -> memoryview: ...

def map_file(fd: int, size: int, writable: bool) -> Memory:
    """mmap(MAP_SHARED) of a file's first `size` octets. OSError as mmap(2)."""

def now() -> int: ...
def trim() -> None:
    """malloc_trim(3), where the C library has it."""

def parse_query(packet: bytes, tcp: bool = False) -> tuple[int, bytes | None, bytes]:
    """(verdict, key, client): what a client's packet asks.

    key is None when no question could be parsed; client is the opaque record that render() and error() take. Verdicts
    are wire.h's enum verdict: 0 OK, 1 DROP, 2 FORMERR, 3 NOTIMP, 4 BADVERS, 5 REFUSED, 6 ANY, 7 INVALID.
    """

def make_query(key: bytes, id: int) -> bytes:
    """The query an upstream gets."""

def make_entry(
    key: bytes, reply: bytes, seed: int, policy: tuple[int, int, int, int, int, int, int], now: int
) -> bytes | int:
    """An entry, or the verdict (MALFORMED, MISMATCH, TRUNCATED, TOO_LONG) why not. policy = (success_max, success_min,
    denial_max, denial_min, failure, zone_tag, zone), seconds and numbers as in struct policy."""

def failure_entry(key: bytes, seed: int, rcode: int, ede: bytes, ttl: int, zone: int, zone_tag: int, now: int) -> bytes:
    """An entry without records; ede = INFO-CODE and EXTRA-TEXT in wire form, b"" for none."""

def render(entry: bytes, client: bytes, now: int, limit: int) -> bytes:
    """The answer for a client. ValueError for a blob whose offsets are not consistent."""

def error(verdict: int, client: bytes, ede: int = 0xFFFF) -> bytes:
    """The answer of a verdict that is not OK; b"" for DROP. Verdict 0 gives SERVFAIL."""

def hash(key: bytes, seed: int) -> int: ...
def table_format(memory: Memory, seed: int) -> None:
    """Lays out a zeroed table. Call under an exclusive lock."""

def table_check(memory: Memory) -> str | None:
    """None when the file is what this build expects at this size, else the reason."""

class Table:
    """One process's view of a checked table. writer and epoch sign its claims."""

    seed: int
    slots: int

    def __init__(self, memory: Memory, writer: int = 0) -> None: ...
    def get(self, key: bytes, now: int) -> bytes | None: ...
    def put(self, entry: bytes, now: int) -> int: ...
    def read(self, index: int) -> tuple[bytes, int] | None:
        """Entry and hit count of slot `index` in [0, slots); None when empty or being written."""

    def raise_epoch(self, writer: int) -> None:
        """The parent, after reaping that worker: its claims may now be stolen."""

    def flush(self, now: int) -> None: ...
    def mark(self, key: bytes, now: int, ms: int) -> int:
        """Marks a key as asked for by this writer: 0 = now, 1 = it was, 2 = another live writer's, 3 = no place."""

    def unmark(self, key: bytes) -> None:
        """Takes this writer's own mark away."""

    def limit(self, address: bytes, rate: int, now: int) -> bool:
        """May a client (16 octets) ask now, at `rate` queries a second, a second's worth of them at once?"""

class Server:
    """One worker's hit loop and its pending queries. Built in the worker; run() belongs to the hit thread, all else to
    the miss loop.

    counters and slots are the whole mappings, slot the worker's number; sockets are bound UDP descriptors, one a listen
    address; acl is a list of (16 octets of address, v4 mapped, prefix length in those 128 bits), empty = everyone;
    zones is a list of (name in wire form, lower case, zone_tag, prefetch hits and percent), at most MAX_ZONES, with the
    root among them; rate is in queries a second from one client, 0 for any. rows is an array of u16, for each socket
    the rows of its zones and one for what no zone took; without it nothing is counted in rows. samples and wires are
    whole mappings, too.
    """

    wake_fd: int  # eventfd: readable when drain() has something

    def __init__(
        self,
        table: Table,
        counters: Memory,
        slots: Memory,
        slot: int,
        sockets: Sequence[int],
        acl: Sequence[tuple[bytes, int]],
        zones: Sequence[tuple[bytes, int, int, int]],
        rate: int = 0,
        rows: bytes = ...,
        samples: Memory | None = None,
        wires: Memory | None = None,
    ) -> None: ...
    def run(self) -> None:
        """The hit loop; releases the GIL until stop(). First answers what a predecessor in this slot had taken."""

    def stop(self) -> None: ...
    def drain(self, limit: int) -> list[tuple[int, bytes, int, int]]:
        """Up to `limit` misses as (ref, key, zone, taken). What the table answers by now is answered here and not
        listed.
        """

    def answer(self, refs: list[int], entry: bytes) -> None:
        """Queues an answer for each ref and gives the ref back; flush() sends. Each ref exactly once."""

    def flush(self) -> None: ...
    def store(self, entry: bytes) -> int:
        """Table.put, counted; then the key's mark goes. A failure does not replace what lives."""

    def mark(self, key: bytes, ms: int) -> bool:
        """Table.mark: True when another worker asks for the key already."""

    def awaited(self, key: bytes) -> bytes | bool:
        """The live entry; without one, whether another worker still asks for the key."""

    def stale(self, key: bytes) -> bytes | None:
        """The answer or denial of this configuration that may be given although it has expired; a live one, too."""

    def lookup(self, packet: bytes, peer: bytes, port: int, socket: int) -> bytes | tuple[bytes, int, bytes]:
        """A TCP client's message: the answer, b"" for silence, or (key, zone, query) of a miss. peer: 16 octets of
        address, v4 mapped; socket: the number of our address that it came to.
        """

    def render_tcp(self, entry: bytes, query: bytes) -> bytes:
        """A miss's answer for a TCP client, counted."""

    def count_upstream(self, upstream: int, field: int, n: int = 1) -> None:
        """Adds to the value at an offset of UPSTREAM."""

    def count_reply(self, upstream: int, rcode: int, ns: int) -> None: ...
    def note_upstream(self, upstream: int, state: int, rtt_ns: int, sockets: int) -> None:
        """The gauges of this worker."""

    def add(self, name: str, n: int = 1) -> None:
        """Adds to one of COUNTER_NAMES in the miss loop's block."""

    def beat(self) -> None:
        """Notes that the miss loop is alive."""

def counters_size(slots: int) -> int: ...
def read_counters(memory: Memory, slots: int) -> dict[str, int]:
    """Totals over all blocks."""

def read_slot(memory: Memory, slot: int) -> tuple[dict[str, int], dict[str, int]]:
    """One worker slot's own: of its hit thread (hits and refusals over UDP), and of its miss loop (all else)."""

def read_row(memory: Memory, slots: int, row: int) -> bytes:
    """The sums of a row, u64 as ROW says."""

def read_upstream(memory: Memory, slots: int, upstream: int) -> tuple[bytes, list[tuple[int, int, int]]]:
    """The sums, u64 as UPSTREAM says, up to the gauges; and each slot's gauges: state, rtt_ns, sockets."""

def read_parent(memory: Memory, /) -> dict[str, int]: ...
def count_parent(memory: Memory, name: str, n: int = 1) -> None: ...
def read_gauges(memory: Memory, /) -> dict[str, int]: ...
def note_parent(memory: Memory, name: str, value: int) -> None:
    """Sets one of GAUGE_NAMES."""

def clear_row(memory: Memory, slots: int, row: int) -> None:
    """Nobody counts there any more."""

def clear_upstream(memory: Memory, slots: int, upstream: int) -> None: ...
def samples_size(slots: int) -> int: ...
def wires_size(slots: int) -> int: ...
def sample_every(samples: Memory, every: bool) -> None:
    """Shall the hit threads leave a record of each answer, or of one a batch?"""

def read_samples(samples: Memory, wires: Memory | None, ring: int, since: int, limit: int) -> tuple[int, list[Sample]]:
    """Records of ring `ring` (2 * slot, + 1 for the miss loop) from number `since` on, at most `limit`, and the number
    to go on with: what lies between and is not there was written over."""

def read_beats(memory: Memory, slots: int) -> list[tuple[int, int]]:
    """Per slot: the hit thread's and the miss loop's last beat, ms of CLOCK_MONOTONIC, 0 = never."""

def table_stats(table: Table, now: int, first: int = 0, most: int = ...) -> dict[str, int]:
    """Slots by class (small, large) and, of at most `most` from `first` on, by state: success, denial, failure,
    expired, unused."""

def fill(text: bytes, values: bytes) -> bytes:
    """The text with `values`, u64, in its places. A place is \\1 and a letter: v the next value; z the same, without
    its line where it is 0; m the sum so far, the next value included; s the next value, ns written as seconds; t the
    sum, which then begins anew. ValueError when there are not as many values as places."""

def udp_send(fd: int, packets: list[bytes]) -> int:
    """sendmmsg on a connected socket. Returns how many the kernel took; 0 when it would block. OSError of the first."""

def udp_recv(fd: int) -> list[bytes]:
    """recvmmsg on a connected socket: up to 64 datagrams, [] when it would block. OSError as recvmmsg(2)
    (ECONNREFUSED...).
    """
