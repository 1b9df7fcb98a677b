"""The query log: which answers are in it, and their line, in the common format of CoreDNS's `log`. Pure.

    [INFO] 10.1.2.3:4312 - 29008 "A IN example.org. udp 41 false 1232" NOERROR qr,rd,ra 68 0.000037990s

A line that stands for several answers ends with their number, "x17".
"""

from collections.abc import Sequence
from ipaddress import ip_network

from nodedns.config_records import wire_name
from nodedns.config_values import RCODES
from nodedns.core.sample import Sample, address
from nodedns.core.spelling import spelled_wire

TYPES = {
    1: "A", 2: "NS", 5: "CNAME", 6: "SOA", 12: "PTR", 13: "HINFO", 15: "MX", 16: "TXT", 28: "AAAA", 33: "SRV",
    35: "NAPTR", 39: "DNAME", 43: "DS", 44: "SSHFP", 46: "RRSIG", 47: "NSEC", 48: "DNSKEY", 50: "NSEC3", 52: "TLSA",
    64: "SVCB", 65: "HTTPS", 251: "IXFR", 252: "AXFR", 255: "ANY", 257: "CAA",
}  # fmt: skip
_CLASSES = {1: "IN", 3: "CH", 4: "HS", 254: "NONE", 255: "ANY"}
_BITS = ((0x8000, "qr"), (0x400, "aa"), (0x200, "tc"), (0x100, "rd"), (0x80, "ra"), (0x20, "ad"), (0x10, "cd"))
_DO = 1  # native/counters.h, NOTE_DO


def type_name(number: int) -> str:
    """As RFC 3597 section 5 has what has no name of its own."""
    return TYPES.get(number, f"TYPE{number}")


def rcode_name(rcode: int) -> str:
    return RCODES.get(rcode, f"RCODE{rcode}")


class Filter:
    """`clients` are networks, `zones` absolute names, `rcodes` their names; none of a kind lets all through."""

    def __init__(self, clients: Sequence[str], zones: Sequence[str], rcodes: Sequence[str]) -> None:
        self._networks = [_network(cidr) for cidr in clients]
        self._zones = frozenset(map(wire_name, zones))
        self._rcodes = frozenset(rcodes)

    def wants(self, sample: Sample) -> bool:
        """Is it in the log?"""
        if self._rcodes and rcode_name(sample.rcode) not in self._rcodes:
            return False
        if self._networks:
            client = int.from_bytes(sample.client)
            if not any(client >> shift == prefix for prefix, shift in self._networks):
                return False
        return not self._zones or self._in_zones(sample.name.lower())

    def _in_zones(self, name: bytes) -> bool:
        """Label by label: what is within a label is no zone."""
        at = 0
        while at < len(name):
            if name[at:] in self._zones:
                return True
            at += 1 + name[at]
        return False


def _network(cidr: str) -> tuple[int, int]:
    """Its bits in the 128 of a mapped address, and how many are below them."""
    network = ip_network(cidr)
    shift = network.max_prefixlen - network.prefixlen
    bits = int(network.network_address) | (0xFFFF << 32 if network.version == 4 else 0)
    return bits >> shift, shift


def line(one: Sample) -> str:
    """Its line. Names are in lower case, as CoreDNS's are, and escaped: a quote in a name ends nothing."""
    host = address(one.client)
    remote = f"[{host}]:{one.port}" if ":" in host else f"{host}:{one.port}"
    asked = "- - -"
    if one.name:
        spelled = spelled_wire(one.name.lower()).replace('"', "\\034")
        asked = f"{type_name(one.type)} {_CLASSES.get(one.qclass, f'CLASS{one.qclass}')} {spelled}"
    do = "true" if one.flags & _DO else "false"
    query = f"{asked} {'tcp' if one.proto else 'udp'} {one.query_size} {do} {one.udp_size}"
    bits = ",".join(word for bit, word in _BITS if one.bits & bit) or "-"
    stands = f" x{one.weight}" if one.weight > 1 else ""
    rcode = rcode_name(one.rcode)
    return f'[INFO] {remote} - {one.id} "{query}" {rcode} {bits} {one.size} {one.took / 1e9:.9f}s{stands}'


class Bound:
    """So many lines a second, a second's worth of them at once. Times are the caller's, in seconds."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._left, self._at = float(rate), 0.0

    def take(self, now: float) -> bool:
        """May one more be written?"""
        self._left = min(self._rate, self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
