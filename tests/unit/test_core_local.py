"""core.local: what is answered without asking anybody."""

import dnslib
import pytest

from nodedns import native
from nodedns.core.local import MAX_HOSTS, Local, parse_hosts
from tests.service.load import wire

POLICY = (30, 5, 30, 5, 5, 1, 0)
V6 = "1" + ".0" * 31 + ".ip6.arpa"


def key(name: str, qtype: int = 1, qclass: int = 1) -> bytes:
    return wire(name) + qtype.to_bytes(2) + qclass.to_bytes(2) + b"\0"


@pytest.mark.parametrize(
    ("name", "qtype", "rcode", "answer"),
    [
        ("localhost", 1, 0, ["127.0.0.1"]),
        ("localhost", 28, 0, ["::1"]),
        ("a.b.localhost", 1, 0, ["127.0.0.1"]),
        ("localhost", 15, 0, []),
        ("1.0.0.127.in-addr.arpa", 12, 0, ["localhost."]),
        ("1.0.0.127.in-addr.arpa", 1, 0, []),
        ("2.0.0.127.in-addr.arpa", 12, 3, []),
        ("127.in-addr.arpa", 12, 0, []),
        (V6, 12, 0, ["localhost."]),
        (f"x.{V6}", 12, 3, []),
    ],
)
def test_reply(name: str, qtype: int, rcode: int, answer: list[str]) -> None:
    """Addresses, the reverse, and denials with a SOA; each is a reply our own reader takes."""
    reply = Local(()).reply(key(name, qtype))
    assert reply is not None
    message = dnslib.DNSRecord.parse(reply)
    assert (message.header.rcode, [str(record.rdata) for record in message.rr]) == (rcode, answer)
    assert [record.rtype for record in message.auth] == ([] if answer else [6])
    assert isinstance(native.make_entry(key(name, qtype), reply, 1, POLICY, 1000), bytes)


@pytest.mark.parametrize(
    "asked",
    [
        key("example"),
        key("localhost.example"),
        key("notlocalhost"),
        key("1.0.0.128.in-addr.arpa", 12),
        key("localhost", 1, 3),
        b"\x0bx\x09localhost\0\0\1\0\1\0",
        key("0.0.0.0.ip6.arpa", 12),
    ],
)
def test_others_are_asked_for(asked: bytes) -> None:
    """Another name, another class, and a label that only looks like one."""
    assert Local(()).reply(asked) is None


HOSTS = """
192.0.2.1   A.example  alias.example # the first
192.0.2.2   a.example
2001:db8::1 a.example
192.0.2.1   late.example
bogus       b.example
192.0.2.9
192.0.2.3   bad..name good.example
192.0.2.66  localhost
"""


def test_parse_hosts() -> None:
    """Names in lower case with all their addresses; nonsense and localhost are passed over; there is a limit."""
    assert parse_hosts(HOSTS) == (
        ("a.example.", ("192.0.2.1", "192.0.2.2", "2001:db8::1")),
        ("alias.example.", ("192.0.2.1",)),
        ("late.example.", ("192.0.2.1",)),
    )
    many = "\n".join(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255} h{n}" for n in range(MAX_HOSTS + 5))
    assert len(parse_hosts(many)) == MAX_HOSTS


@pytest.mark.parametrize(
    ("name", "qtype", "answer"),
    [
        ("a.example", 1, ["192.0.2.1", "192.0.2.2"]),
        ("a.example", 28, ["2001:db8::1"]),
        ("a.example", 15, []),
        ("alias.example", 28, []),
        ("1.2.0.192.in-addr.arpa", 12, ["a.example."]),
        ("b.a.example", 1, None),
        ("3.2.0.192.in-addr.arpa", 12, None),
        ("1.2.0.192.in-addr.arpa", 1, None),
    ],
)
def test_hosts(name: str, qtype: int, answer: list[str] | None) -> None:
    """All addresses of a name, NODATA for its other types, the canonical name of an address; the rest is asked for."""
    reply = Local(parse_hosts(HOSTS)).reply(key(name, qtype))
    if reply is None or answer is None:
        assert reply is answer
        return
    message = dnslib.DNSRecord.parse(reply)
    assert [str(record.rdata) for record in message.rr] == answer
    assert message.header.rcode == 0
    assert isinstance(native.make_entry(key(name, qtype), reply, 1, POLICY, 1000), bytes)
