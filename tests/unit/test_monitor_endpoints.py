"""monitor.main.endpoints: kube-dns's endpoints, by what its servers say; a server in trouble must not undo them."""

import asyncio

import dnslib
import pytest

from nodedns.config import Endpoint, parse
from nodedns.core.plan import ENDPOINTS
from nodedns.monitor.main import endpoints
from tests.service.scripted import Asked, Handler, Scripted

V4, V6 = Endpoint("10.244.2.10", 53), Endpoint("fd00::1", 53)


def records(asked: Asked) -> list[bytes]:
    """An address of each kind."""
    reply = asked.reply()
    assert asked.name == f"{ENDPOINTS}.cluster.local."
    found = {1: dnslib.A(V4.address), 28: dnslib.AAAA(V6.address)}[asked.message.q.qtype]
    reply.add_answer(dnslib.RR(asked.name, asked.message.q.qtype, ttl=5, rdata=found))
    return [bytes(reply.pack())]


def says(rcode: int) -> Handler:
    """An answer without records."""

    def handler(asked: Asked) -> list[bytes]:
        reply = asked.reply()
        reply.header.rcode = rcode
        return [bytes(reply.pack())]

    return handler


def half(asked: Asked) -> list[bytes]:
    """IPv4, and trouble."""
    return records(asked) if asked.message.q.qtype == 1 else says(2)(asked)


NODATA, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = map(says, (0, 2, 3, 4, 5))
KNOWN, NONE = (V4, V6), ()


@pytest.mark.parametrize(
    ("first", "second", "found"),
    [
        (records, NXDOMAIN, KNOWN),
        (NXDOMAIN, records, NONE),
        (NODATA, records, NONE),
        (SERVFAIL, records, KNOWN),
        (REFUSED, records, KNOWN),
        (NOTIMP, records, KNOWN),
        (half, records, KNOWN),
        (SERVFAIL, NXDOMAIN, NONE),
        (SERVFAIL, REFUSED, None),
        (half, SERVFAIL, None),
        (lambda _: [], records, KNOWN),
    ],
)
def test_endpoints(first: Handler, second: Handler, found: tuple[Endpoint, ...] | None) -> None:
    """The first server that can tell decides; None, where nobody can, leaves what is known as it is."""
    with Scripted(first) as one, Scripted(second) as two:
        config = parse(
            f'[cluster]\ndns = ["127.0.0.1:{one.port}", "127.0.0.1:{two.port}"]\n'
            f'[[zone]]\nname = "."\nforward = "192.0.2.1"\n[[zone]]\nname = "cluster.local"\ntransport = "udp"\n'
        )
        assert asyncio.run(endpoints(config)) == found
