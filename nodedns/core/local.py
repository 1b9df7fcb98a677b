"""Questions that no server needs to be asked: localhost and its reverse (RFC 6761 section 6.3, RFC 6303), and the names
of a hosts file.

The former must not leave the node: a server that answers them otherwise makes a client take a stranger for itself.
"""

import struct
from contextlib import suppress
from ipaddress import ip_address

from nodedns.config import ConfigError
from nodedns.config_values import name
from nodedns.core.zones import Hosts, wire_name

MAX_HOSTS = 10_000

_A, _PTR, _SOA, _AAAA = 1, 12, 6, 28
_IN = b"\0\1"
_LOCALHOST = b"\x09localhost\0"
_LOOPBACK_4 = b"\x03127\x07in-addr\x04arpa\0"
_LOOPBACK_6 = b"\x011" + b"\x010" * 31 + b"\x03ip6\x04arpa\0"
_APEXES = (_LOCALHOST, _LOOPBACK_4, _LOOPBACK_6)
_REVERSE = (b"\x011\x010\x010" + _LOOPBACK_4, _LOOPBACK_6)
_TTL = 10800
"""Seconds; the zone's policy bounds it. It and the SOA's numbers are those of RFC 6303 section 3."""
_SOA_DATA = _LOCALHOST + b"\x06nobody\x07invalid\0" + struct.pack("!5I", 1, 3600, 1200, 604800, _TTL)
_ADDRESS = {_A: b"\x7f\0\0\1", _AAAA: bytes(15) + b"\1"}


def parse_hosts(text: str) -> Hosts:
    """The names of a hosts(5) file, each with its addresses in the file's order. As in glibc a line that makes no sense
    is passed over; so are names beyond MAX_HOSTS, and localhost, which is ours."""
    found: dict[str, dict[str, None]] = {}
    for line in text.split("\n"):
        words = line.partition("#")[0].split()
        with suppress(ValueError, ConfigError):
            address = str(ip_address(words[0])) if words else ""
            for word in words[1:]:
                at = name(word)
                if not f".{at}".endswith(".localhost.") and (at in found or len(found) < MAX_HOSTS):
                    found.setdefault(at, {})[address] = None
    return tuple((at, tuple(addresses)) for at, addresses in found.items())


class Local:
    """What is known without asking: localhost, and the hosts."""

    def __init__(self, hosts: Hosts) -> None:
        self._addresses: dict[bytes, dict[int, list[bytes]]] = {}
        self._names: dict[bytes, bytes] = {}
        for at, addresses in hosts:
            kinds: dict[int, list[bytes]] = {}
            for address in map(ip_address, addresses):
                kinds.setdefault(_A if address.version == 4 else _AAAA, []).append(address.packed)
                # the first name of an address is its canonical one (hosts(5))
                self._names.setdefault(wire_name(f"{address.reverse_pointer}."), wire_name(at))
            self._addresses[wire_name(at)] = kinds

    def reply(self, key: bytes) -> bytes | None:
        """The reply's message for a question of class IN; None when a server is to be asked."""
        asked = key[:-5]
        if key[-3:-1] != _IN:
            return None
        qtype = int.from_bytes(key[-5:-3])
        if (kinds := self._addresses.get(asked)) is not None:
            return _message(key, [_record(asked, qtype, data) for data in kinds.get(qtype, ())], asked)
        if qtype == _PTR and (canonical := self._names.get(asked)):
            return _message(key, [_record(asked, _PTR, canonical)], asked)
        return _loopback(key, asked, qtype) if asked.endswith(_APEXES) else None


def _loopback(key: bytes, asked: bytes, qtype: int) -> bytes | None:
    apex = _apex(asked)
    if apex is None:
        return None
    records = []
    if apex == _LOCALHOST and qtype in _ADDRESS:
        records = [_record(asked, qtype, _ADDRESS[qtype])]
    elif asked in _REVERSE and qtype == _PTR:
        records = [_record(asked, _PTR, _LOCALHOST)]
    return _message(key, records, apex, exists=apex == _LOCALHOST or asked in _REVERSE or asked == apex)


def _message(key: bytes, records: list[bytes], apex: bytes, exists: bool = True) -> bytes:
    authority = b"" if records else _record(apex, _SOA, _SOA_DATA)
    flags = 0x8580 if exists else 0x8583  # QR AA RD RA, and NXDOMAIN
    head = struct.pack("!6H", 0, flags, 1, len(records), int(bool(authority)), 0)
    return head + key[:-1] + b"".join(records) + authority


def _apex(name: bytes) -> bytes | None:
    """The one it is at or below; a label may have another's octets in it, so labels are walked."""
    at = 0
    while name[at:] not in _APEXES:
        if name[at] == 0:
            return None
        at += 1 + name[at]
    return name[at:]


def _record(owner: bytes, qtype: int, data: bytes) -> bytes:
    return owner + struct.pack("!HHIH", qtype, 1, _TTL, len(data)) + data
