"""Zones as the native side takes them: names in wire form, tags, policies. Pure."""

from collections.abc import Sequence
from zlib import crc32

from nodedns.config import Zone
from nodedns.config_records import Record, wire_name

Hosts = tuple[tuple[str, tuple[str, ...]], ...]
__all__ = ["FAILURE_TTL", "Hosts", "policy", "row_of", "wire_name", "zone_tag"]
FAILURE_TTL = 5  # seconds a failure is kept: RFC 9520 3.2 asks for 1 s at least, CoreDNS's `servfail` default is 5 s


def row_of(name: str, zones: Sequence[str]) -> int:
    """Index of the longest of `zones` that has the absolute name."""
    own = [zone for zone in zones if zone == "." or f".{name}".endswith(f".{zone}")]
    return zones.index(max(own, key=len))


def zone_tag(zone: Zone, zones: Sequence[Zone], hosts: Hosts = (), records: Sequence[Record] = ()) -> int:
    """What an entry of the table was made under: the zone itself, which names below it go elsewhere, and which of the
    hosts file and the records.

    An entry of another tag is a miss, so a zone whose upstreams or policy changed forgets what it knew and no other
    does.
    """
    below = sorted(
        z.name for z in zones if z.name != zone.name and (zone.name == "." or z.name.endswith("." + zone.name))
    )
    known = [host for host in hosts if zone.name == "." or f".{host[0]}".endswith(f".{zone.name}")]
    ours = [one for one in records if zone.name == "." or f".{one.owner}".endswith(f".{zone.name}")]
    return crc32(repr((zone, below, known, ours)).encode())


def policy(zone: Zone, tag: int, row: int) -> tuple[int, int, int, int, int, int, int]:
    """native.make_entry's policy tuple."""
    return (zone.success.max_ttl, zone.success.min_ttl, zone.denial.max_ttl, zone.denial.min_ttl, FAILURE_TTL, tag, row)
