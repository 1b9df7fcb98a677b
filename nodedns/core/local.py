"""Questions that no server needs to be asked: localhost and its reverse (RFC 6761 section 6.3, RFC 6303), the names of
a hosts file, static records, names that a zone's patterns deny; and names that stand for another.

Localhost must not leave the node: a server that answers it otherwise makes a client take a stranger for itself. Nor
must onion. (RFC 7686) and alt. (RFC 9476), unless a zone of the config is there. test. is asked for: sites use it.
"""

import re
import struct
from collections.abc import Container, Sequence
from contextlib import suppress
from ipaddress import ip_address

from nodedns.config import ConfigError, Zone
from nodedns.config_records import CNAME, Record
from nodedns.config_values import name
from nodedns.core.names import NAME_MAX
from nodedns.core.zones import Hosts, wire_name

MAX_HOSTS = 10_000

_A, _PTR, _SOA, _AAAA = 1, 12, 6, 28
_IN = b"\0\1"
_LOCALHOST = b"\x09localhost\0"
_LOOPBACK_4 = b"\x03127\x07in-addr\x04arpa\0"
_LOOPBACK_6 = b"\x011" + b"\x010" * 31 + b"\x03ip6\x04arpa\0"
_SPECIAL = {".onion.": b"\x05onion\0", ".alt.": b"\x03alt\0"}
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
    """What is known without asking: localhost, the hosts, the records, and names that nobody has."""

    def __init__(self, hosts: Hosts = (), records: Sequence[Record] = (), zones: Sequence[Zone] = ()) -> None:
        self._data: dict[bytes, dict[int, list[tuple[int, bytes]]]] = {}
        self._aliases = {wire_name(one.owner): (one.ttl, one.data) for one in records if one.type == CNAME}
        for at, addresses in hosts:
            own = self._data.setdefault(wire_name(at), {})
            for address in map(ip_address, addresses):
                own.setdefault(_A if address.version == 4 else _AAAA, []).append((_TTL, address.packed))
                # the first name of an address is its canonical one (hosts(5))
                reverse = self._data.setdefault(wire_name(f"{address.reverse_pointer}."), {})
                reverse.setdefault(_PTR, [(_TTL, wire_name(at))])
        for one in records:
            self._data.setdefault(wire_name(one.owner), {}).setdefault(one.type, []).append((one.ttl, one.data))
        self._nobody = {wire_name(zone.name): _expression(zone.nxdomain) for zone in zones if zone.nxdomain}
        own_zones = {zone.name for zone in zones}
        self._special = tuple(
            top for text, top in _SPECIAL.items() if not any(f".{z}".endswith(text) for z in own_zones)
        )
        self._rewrites = {wire_name(zone.name): wire_name(zone.rewrite) for zone in zones if zone.rewrite}

    def alias(self, key: bytes) -> tuple[bytes, int] | None:
        """The name that the question's stands for, and for how many seconds that holds."""
        asked, qtype = key[:-5], int.from_bytes(key[-5:-3])
        if key[-3:-1] != _IN:
            return None
        if asked in self._aliases and qtype != CNAME:
            return self._aliases[asked][1], self._aliases[asked][0]
        if self._rewrites and asked not in self._data:
            apex = _at_or_below(asked, self._rewrites)
            if apex is not None:
                target = asked[: len(asked) - len(apex)] + self._rewrites[apex]
                return (target, _TTL) if len(target) <= NAME_MAX else None
        return None

    def reply(self, key: bytes) -> bytes | None:
        """The reply's message for a question of class IN; None when a server is to be asked."""
        asked = key[:-5]
        if key[-3:-1] != _IN:
            return None
        qtype = int.from_bytes(key[-5:-3])
        if (kinds := self._data.get(asked)) is not None and (qtype in kinds or not self._is_reverse(kinds)):
            return _message(key, [_record(asked, qtype, data, ttl) for ttl, data in kinds.get(qtype, ())], asked)
        if self._nobody and (apex := _at_or_below(asked, self._nobody)) is not None:
            below = asked[: len(asked) - len(apex)]
            if self._nobody[apex].fullmatch(text(below)):
                return _message(key, [], apex, exists=False)
        if asked.endswith(self._special) and (apex := _at_or_below(asked, self._special)) is not None:
            return _message(key, [], apex, exists=False)
        return _loopback(key, asked, qtype) if asked.endswith(_APEXES) else None

    def _is_reverse(self, kinds: dict[int, list[tuple[int, bytes]]]) -> bool:
        """Only the reverse of an address: other types of it may be somebody's."""
        return list(kinds) == [_PTR]


def _expression(patterns: Sequence[str]) -> re.Pattern[str]:
    """Patterns of labels, over a name below its zone as text() writes it."""
    parts = {"*": r"[^.]+\.", "**": r"(?:[^.]+\.)*"}
    each = ("".join(parts.get(label) or re.escape(f"{label}.") for label in one.split(".")) for one in patterns)
    return re.compile("|".join(each))


def text(labels: bytes) -> str:
    """Labels with a dot behind each, of a name or the beginning of one; a dot inside one is no dot."""
    at, found = 0, []
    while at < len(labels) and labels[at]:
        found.append(labels[at + 1 : at + 1 + labels[at]].replace(b".", b"\0").decode("latin-1") + ".")
        at += 1 + labels[at]
    return "".join(found)


def _loopback(key: bytes, asked: bytes, qtype: int) -> bytes | None:
    apex = _at_or_below(asked, _APEXES)
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


def _at_or_below(name: bytes, apexes: Container[bytes]) -> bytes | None:
    """The longest one it is at or below; a label may have another's octets in it, so labels are walked."""
    at = 0
    while name[at:] not in apexes:
        if name[at] == 0:
            return None
        at += 1 + name[at]
    return name[at:]


def _record(owner: bytes, qtype: int, data: bytes, ttl: int = _TTL) -> bytes:
    return owner + struct.pack("!HHIH", qtype, 1, ttl, len(data)) + data
