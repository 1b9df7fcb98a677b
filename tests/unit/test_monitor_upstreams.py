"""monitor.upstreams: of which servers it is told that they do not answer."""

import asyncio
import os
import socket
from types import SimpleNamespace

import pytest

from nodedns import native
from nodedns.config import parse
from nodedns.core.rows import Rows
from nodedns.monitor.upstreams import Upstreams

CONFIG = parse('[cluster]\ndns = "10.96.0.10"\n[[zone]]\nname = "."\nforward = ["192.0.2.1"]\n')
DOWN = 2  # native/counters.h, UPSTREAM_FIELDS


def shared(name: str, size: int) -> native.Memory:
    fd = os.memfd_create(name)
    os.truncate(fd, size)
    memory = native.map_file(fd, size, True)
    os.close(fd)
    return memory


def test_one_that_no_zone_has_any_more(capfd: pytest.CaptureFixture[str]) -> None:
    """Its row still says that it was down when it was given up; nobody wants to hear it with each reload."""
    table, counters = shared("table", 1 << 20), shared("counters", native.counters_size(2))
    native.table_format(table, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        slots = shared("slots", native.SLOT_SIZE)
        server = native.Server(native.Table(table), counters, slots, 0, [sock.fileno()], [], [(b"\0", 1, 0, 0)])
        for row in (0, 1):
            server.note_upstream(row, DOWN, 0, 0)
        names = Rows(upstreams=(("192.0.2.9:53",), ("192.0.2.1:53",), None))
        job = SimpleNamespace(config=CONFIG, rows=names, shared=SimpleNamespace(counters=counters), slots=2)
        asyncio.run(Upstreams(job).look())
    assert capfd.readouterr().err == "nodedns: 192.0.2.1:53 does not answer: so say 1 workers\n"
