"""Rows, histograms and samples: what an answer leaves behind, seen through a server without sockets of its own."""

import socket
import struct
from array import array
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest

from nodedns import native
from nodedns.core.figures import HOWS, added, figures
from nodedns.core.rows import NO_ROW
from tests.native.samples import packet, question

SEED, ROW, DROPPED = 5, 7, 9
PEER = bytes(10) + b"\xff\xff\xc0\x00\x02\x01"
PATIENCE = 30.0
BOUNDS = [250_000 << k for k in range(16)]
SIZES = (0, 100, 200, 300, 400, 511, 1023, 2047, 4095, 8291, 16000, 32000, 48000, 64000)


def query(name: str, qtype: int = 1) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return packet(question(labels, qtype))


def memory(path: Path, size: int) -> native.Memory:
    with path.open("wb+") as file:
        file.truncate(size)
        return native.map_file(file.fileno(), size, True)


class One:
    """A server with one socket, zone "." and a denial of "a.test. A" in its table; all of it counted in ROW."""

    def __init__(self, home: Path) -> None:
        self.table = memory(home / "cache", 1 << 20)
        native.table_format(self.table, SEED)
        self.counters = memory(home / "counters", native.counters_size(1))
        self.samples = memory(home / "samples", native.samples_size(1))
        self.wires = memory(home / "wires", native.wires_size(1))
        slots = memory(home / "slots", native.SLOT_SIZE)
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        self.sock.setblocking(False)
        rows = array("H", [ROW, DROPPED]).tobytes()
        table = native.Table(self.table)
        sockets = [self.sock.fileno()]
        self.server = native.Server(
            *(table, self.counters, slots, 0, sockets, [], [(b"\0", 1, 0, 0)], 0, rows, self.samples, self.wires)
        )
        key = native.parse_query(query("a.test."))[1]
        assert key is not None
        table.put(native.failure_entry(key, SEED, 3, b"", 60, 0, 1, native.now()), native.now())

    def row(self, number: int = ROW) -> dict[str, tuple[int, ...]]:
        return figures(native.read_row(self.counters, 1, number), native.ROW)

    def ask(self, *packets: bytes) -> list[bytes]:
        """Over UDP, by the hit thread, as many at once as a batch takes. Once: a server that was stopped stays so."""
        answers: list[bytes] = []
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.connect(self.sock.getsockname())
            client.settimeout(PATIENCE)
            self.client = client.getsockname()
            thread = Thread(target=self.server.run)
            for at in range(0, len(packets), 64):
                for packet in packets[at : at + 64]:
                    client.send(packet)
                if not at:
                    thread.start()
                answers += [client.recv(4096) for _ in packets[at : at + 64]]
            self.server.stop()
            thread.join()
        return answers


@pytest.fixture
def one(tmp_path: Path) -> Iterator[One]:
    server = One(tmp_path)
    yield server
    server.sock.close()


def test_a_hit_is_counted_in_its_row(one: One) -> None:
    """By type, rcode, kind of hit, size and time; nowhere else."""
    packet = query("a.test.")
    (answer,) = one.ask(packet)
    row = one.row()
    assert row["requests"] == (1, *[0] * 37)
    assert row["rcodes"][3] == sum(row["rcodes"]) == 1
    assert row["hows"] == (0, 0, 1, 0)
    assert sum(row["durations"]) == 1
    assert 0 < row["duration_ns"][0] < PATIENCE * 1e9
    assert row["durations"][next((i for i, most in enumerate(BOUNDS) if row["duration_ns"][0] <= most), 16)] == 1
    assert row["request_octets"] == (len(packet), 0)
    assert row["response_octets"] == (len(answer), 0)
    assert row["request_sizes"][1] == row["response_sizes"][1] == 1  # up to 100 octets
    assert not any(sum(map(sum, one.row(number).values())) for number in range(native.ROWS) if number != ROW)
    assert native.read_counters(one.counters, 1)["answers"] == 1


def test_a_slot_of_its_own(one: One) -> None:
    """Its two threads apart: a hit over UDP is the one's, an answer over TCP the other's."""
    one.ask(query("a.test."), query("a.test."))
    one.server.lookup(query("a.test."), PEER, 1, 0)
    hit, miss = native.read_slot(one.counters, 0)
    assert tuple(hit) == tuple(miss) == native.COUNTER_NAMES
    assert (hit["answers"], hit["received"], miss["answers"], miss["received"]) == (2, 2, 1, 0)


def test_what_no_zone_takes(one: One) -> None:
    """Malformed, and a name under invalid.: the row of what was dropped."""
    one.ask(query("a.test.")[:-3], query("x.invalid."))
    row = one.row(DROPPED)
    assert sum(row["requests"]) == 2
    assert (row["rcodes"][1], row["rcodes"][3]) == (1, 1)
    assert row["hows"] == (0, 0, 0, 0)
    assert not any(map(sum, one.row().values()))


def test_our_own_question(one: One) -> None:
    """Counts as an answer, and is neither a client's nor a sample."""
    one.ask(query("nodedns.INVALID."))
    one.server.lookup(query("nodedns.invalid."), PEER, 1, 0)
    assert not any(map(sum, one.row(DROPPED).values()))
    counters = native.read_counters(one.counters, 1)
    assert (counters["answers"], counters["invalid"]) == (2, 2)
    assert [native.read_samples(one.samples, None, ring, 0, 9)[1] for ring in (0, 1)] == [[], []]


@pytest.mark.parametrize(("size", "bucket"), [(bound, i) for i, bound in enumerate(SIZES) if bound > 40])
def test_size_buckets(one: One, size: int, bucket: int) -> None:
    """A bound belongs to the bucket it ends (Prometheus's `le`), and one octet more to the next."""
    for octets, at in ((size, bucket), (size + 1, bucket + 1)):
        if octets <= 65535:
            before = one.row()["request_sizes"][15 + at]
            one.server.lookup(query("a.test.").ljust(octets, b"\0"), PEER, 1, 0)
            assert one.row(DROPPED)["request_sizes"][15 + at] == before + 1


def test_tcp(one: One) -> None:
    """A hit, then a miss that waited: counted as TCP, under its type."""
    assert isinstance(one.server.lookup(query("a.test."), PEER, 1, 0), bytes)
    missed = one.server.lookup(query("b.test.", 28), PEER, 1, 0)
    assert isinstance(missed, tuple)
    key, _zone, waits = missed
    one.server.render_tcp(native.failure_entry(key, SEED, 2, b"", 1, 0, 1, native.now()), waits)
    row = one.row()
    assert row["requests"] == (*[0] * 19, 1, 1, *[0] * 17)  # A, AAAA
    assert dict(zip(HOWS, row["hows"], strict=True)) == {"success": 0, "denial": 0, "failure": 1, "miss": 1}


def test_samples(one: One) -> None:
    """One of a batch, which stands for all of it, with its client, its name as it was asked, and its answer."""
    packets = [query("A.test."), query("a.TEST."), query("a.test.")]
    answers = one.ask(*packets)
    after, found = native.read_samples(one.samples, one.wires, 0, 0, 10)
    assert after == len(found)
    assert sum(sample[2] for sample in found) == 3  # weights
    for when, _took, _weight, row, size, rcode, how, proto, _flags, client, port, name, qtype, _counter, *rest in found:
        wire, id_, bits, qclass, most, request = rest
        assert (id_.to_bytes(2) + bits.to_bytes(2), qclass, most, request) == (wire[:4], 1, 512, len(packets[0]))
        assert (row, rcode, HOWS[how], proto, qtype) == (ROW, 3, "failure", 0, 1)
        assert (client[12:], port) == (socket.inet_aton("127.0.0.1"), one.client[1])
        assert name in (b"\x01A\x04test\0", b"\x01a\x04TEST\0", b"\x01a\x04test\0")
        assert wire in answers
        assert size == len(wire)
        assert native.now() - 5000 < when / 1e6 <= native.now() + 1
    assert native.read_samples(one.samples, None, 0, after, 10) == (after, [])


def test_every_sample_and_what_is_written_over(one: One) -> None:
    """With `every`, each answer leaves one; a slow reader finds the newest of a ring and sees what it has missed."""
    native.sample_every(one.samples, True)
    one.ask(*[query("a.test.")] * (native.SAMPLES + 40))
    after, found = native.read_samples(one.samples, None, 0, 0, 10_000)
    assert after == native.SAMPLES + 40
    assert len(found) == native.SAMPLES
    assert {sample[2] for sample in found} == {1}


def test_upstreams(one: One) -> None:
    """Replies by rcode and time, questions by way, gauges of each worker."""
    one.server.count_upstream(3, native.UPSTREAM["sent"][0] + 1, 5)
    one.server.count_reply(3, 3, 250_000)
    one.server.count_reply(3, 9, 250_001)
    one.server.note_upstream(3, 2, 7, 4)
    octets, gauges = native.read_upstream(one.counters, 1, 3)
    found = figures(octets, native.UPSTREAM)
    assert found["sent"] == (0, 5, 0)
    assert (found["replies"][3 * 17], found["replies"][6 * 17 + 1]) == (1, 1)
    assert (found["reply_ns"][3], found["reply_ns"][6]) == (250_000, 250_001)
    assert gauges == [(2, 7, 4)]
    native.clear_upstream(one.counters, 1, 3)
    assert native.read_upstream(one.counters, 1, 3) == (bytes(len(octets)), [(0, 0, 0)])


def test_a_row_begins_anew(one: One) -> None:
    """For another name; its neighbours go on."""
    one.ask(query("a.test."), query("x.invalid."))
    native.clear_row(one.counters, 1, ROW)
    assert not any(map(sum, one.row().values()))
    assert sum(one.row(DROPPED)["requests"]) == 1


@pytest.mark.parametrize("rows", [b"", array("H", [1]).tobytes(), array("H", [1] * 3).tobytes()])
def test_rows_of_another_shape(tmp_path: Path, rows: bytes) -> None:
    """Are refused: an answer would be counted for a stranger."""
    table = memory(tmp_path / "cache", 1 << 20)
    native.table_format(table, SEED)
    shared = (memory(tmp_path / "counters", native.counters_size(1)), memory(tmp_path / "slots", native.SLOT_SIZE))
    with pytest.raises(ValueError, match="rows are two octets"):
        native.Server(native.Table(table), *shared, 0, [0], [], [(b"\0", 1, 0, 0)], 0, rows)


def test_bounds(one: One) -> None:
    """Of what Python hands in."""
    for call in (
        lambda: one.server.count_upstream(native.UPSTREAMS, 0),
        lambda: one.server.count_upstream(0, 1 << 20),
        lambda: native.read_row(one.counters, 1, native.ROWS),
        lambda: native.read_slot(one.counters, 1),
        lambda: native.read_slot(one.counters, 1 << 30),
        lambda: native.read_upstream(one.counters, 1, native.UPSTREAMS),
        lambda: native.read_samples(one.samples, None, 2, 0, 1),
        lambda: one.server.lookup(b"", b"short", 0, 0),
    ):
        with pytest.raises(ValueError, match=r"expected|mapping has|octets"):
            call()
    with pytest.raises(KeyError):
        native.count_parent(one.counters, "nothing")


def test_the_parents_own(one: One) -> None:
    """Each under its name."""
    for number, name in enumerate(native.PARENT_NAMES):
        native.count_parent(one.counters, name, number)
    assert native.read_parent(one.counters) == {name: n for n, name in enumerate(native.PARENT_NAMES)}


def test_rows_add_up() -> None:
    """Field by field."""
    layout = {"a": (0, 2), "b": (2, 1)}
    one, two = (figures(struct.pack("=3Q", *values), layout) for values in ((1, 2, 3), (10, 20, 30)))
    assert added([one, two]) == {"a": (11, 22), "b": (33,)}
    assert added([]) == {}
    assert NO_ROW == native.NO_ROW
