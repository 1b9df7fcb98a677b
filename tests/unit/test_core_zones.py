"""core.zones: zones as the native side takes them."""

from dataclasses import replace

import pytest

from nodedns import config
from nodedns.core.zones import FAILURE_TTL, policy, wire_name, zone_tag

ZONES = config.parse('[cluster]\ndns = "10.96.0.10"\n').zones
ROOT = next(zone for zone in ZONES if zone.name == ".")
CLUSTER = next(zone for zone in ZONES if zone.name == "cluster.local.")


@pytest.mark.parametrize(
    ("name", "wire"),
    [(".", b"\0"), ("a.", b"\1a\0"), ("cluster.local.", b"\7cluster\5local\0"), ("ip6.arpa.", b"\3ip6\4arpa\0")],
)
def test_wire_name(name: str, wire: bytes) -> None:
    """RFC 1035 3.1."""
    assert wire_name(name) == wire


def test_a_tag_is_the_zones_own() -> None:
    """Zones differ in their tags, and the same zone has the same one in every process."""
    tags = [zone_tag(zone, ZONES) for zone in ZONES]
    assert len(set(tags)) == len(ZONES)
    assert tags == [zone_tag(zone, tuple(reversed(ZONES))) for zone in ZONES]


def test_what_changes_a_tag() -> None:
    """A zone's own settings do, and which names below it go elsewhere; another zone's settings do not."""
    slower = replace(CLUSTER, success=config.Ttl(60, 5))
    others = tuple(slower if zone is CLUSTER else zone for zone in ZONES)
    assert zone_tag(slower, others) != zone_tag(CLUSTER, ZONES)
    assert zone_tag(ROOT, others) == zone_tag(ROOT, ZONES)
    carved = (*ZONES, replace(CLUSTER, name="corp.example."))
    assert zone_tag(ROOT, carved) != zone_tag(ROOT, ZONES)
    assert zone_tag(CLUSTER, carved) == zone_tag(CLUSTER, ZONES)
    below = (*ZONES, replace(CLUSTER, name="east.cluster.local."))
    assert zone_tag(CLUSTER, below) != zone_tag(CLUSTER, ZONES)
    beside = (*ZONES, replace(CLUSTER, name="notcluster.local."))
    assert zone_tag(CLUSTER, beside) == zone_tag(CLUSTER, ZONES)


def test_policy() -> None:
    """TTL bounds, the failure's TTL, tag and row, in the native order."""
    assert policy(CLUSTER, 77, 3) == (30, 5, 5, 5, FAILURE_TTL, 77, 3)
