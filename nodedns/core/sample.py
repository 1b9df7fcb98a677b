"""A sample of an answer, as native.read_samples() gives it, under names."""

from ipaddress import IPv6Address, ip_address
from typing import NamedTuple


class Sample(NamedTuple):
    """`when` (it was answered) and `took` are in ns; it stands for `weight` answers. `row` is that of the counters,
    `size` and `query_size` are octets, `how` is a place in core.figures.HOWS or beyond, `proto` 1 for TCP, `client` 16
    octets, v4 mapped; `name` is in wire form as it was asked; `wire` is the answer, b"" where it was not kept; `id` and
    `bits` are its first two words; `udp_size` is what the client can take."""

    when: int
    took: int
    weight: int
    row: int
    size: int
    rcode: int
    how: int
    proto: int
    flags: int
    client: bytes
    port: int
    name: bytes
    type: int
    counter: int
    wire: bytes
    id: int
    bits: int
    qclass: int
    udp_size: int
    query_size: int


PROBES = frozenset({b"\x07invalid\0", b"\x07nodedns\x07invalid\0"})
"""The names that the parent and the monitor ask for all the time: nobody wants to read of them."""


def address(mapped: bytes) -> str:
    """Of 16 octets, v4 mapped."""
    at = IPv6Address(mapped)
    return str(at.ipv4_mapped or at)


def mapped(text: str) -> bytes:
    """The 16 octets of an address."""
    at = ip_address(text)
    return at.packed if at.version == 6 else bytes(10) + b"\xff\xff" + at.packed
