"""Static records as a config file writes them: one line each, as in a zone file (RFC 1035 5.1). Pure."""

import re
import struct
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from nodedns.config_values import ConfigError, each, name, refuse

MAX_RECORDS = 1000
CNAME = 5
_EXPECTED = 'a record such as "db.corp.example 300 A 10.1.2.3": name, TTL or not, type, data'


class Record(NamedTuple):
    """`owner` is absolute and in lower case; `data` in wire form, names in it uncompressed. `ttl` is in seconds."""

    owner: str
    ttl: int
    type: int
    data: bytes


def wire_name(text: str) -> bytes:
    """RFC 1035 3.1 form of an absolute name; "." is b"\\0". Names of a config are checked and have no escapes."""
    labels = [label.encode("ascii") for label in text.rstrip(".").split(".") if label]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def _numbers(count: int) -> Callable[[str], bytes]:
    """So many 16-bit numbers and a name: MX, SRV."""

    def pack(text: str) -> bytes:
        *numbers, target = text.split()
        if len(numbers) != count:
            raise ValueError(text)
        return struct.pack(f"!{count}H", *map(int, numbers)) + wire_name(name(target))

    return pack


def _text(text: str) -> bytes:
    """Strings in double quotes, up to 255 octets each; one without is one word."""
    found = re.findall(r'"([^"]*)"|([^\s"]+)', text)
    strings = [(quoted or bare).encode() for quoted, bare in found]
    return b"".join(bytes([len(string)]) + string for string in strings)


_TYPES: dict[str, tuple[int, Callable[[str], bytes]]] = {
    "A": (1, lambda text: IPv4Address(text).packed),
    "AAAA": (28, lambda text: IPv6Address(text).packed),
    "CNAME": (CNAME, lambda text: wire_name(name(text))),
    "PTR": (12, lambda text: wire_name(name(text))),
    "TXT": (16, _text),
    "MX": (15, _numbers(1)),
    "SRV": (33, _numbers(3)),
}


def record(value: object) -> Record:
    """One line."""
    line = r"(\S+)(?:\s+([0-9]{1,6}))?(?:\s+IN)?\s+([A-Za-z]{1,10})\s+(\S.*)"
    found = re.fullmatch(line, value) if isinstance(value, str) and len(value) <= 1000 else None
    if not found:
        refuse(value, _EXPECTED)
    kind = _TYPES.get(found[3].upper())
    if kind is None:
        refuse(value, _EXPECTED, f"types are {', '.join(_TYPES)}")
    try:
        return Record(name(found[1]), int(found[2] or 300), kind[0], kind[1](found[4].strip()))
    except (ValueError, struct.error, ConfigError):
        refuse(value, _EXPECTED, f"name or data of this {found[3].upper()} are wrong")


def records(value: object) -> tuple[Record, ...]:
    """All of them. An alias stands alone (RFC 1034 3.6.2) and leads somewhere."""
    found: tuple[Record, ...] = each(value, _EXPECTED, MAX_RECORDS, record)
    aliases = {wire_name(one.owner): one.data for one in found if one.type == CNAME}
    for one in found:
        at, steps = wire_name(one.owner), 0
        if at in aliases and sum(other.owner == one.owner for other in found) > 1:
            refuse(value, "an alias alone at its name", f"{one.owner} has more")
        while at in aliases and steps < 8:
            at, steps = aliases[at], steps + 1
        if steps == 8:
            refuse(value, "at most eight aliases in a row", f"{one.owner} leads on and on")
    return found
