"""The query log's lines and filters."""

import pytest

from nodedns.config import ConfigError, Dnstap, Log, parse
from nodedns.core.querylog import Bound, Filter, line
from nodedns.core.sample import Sample, address, mapped

ONE = Sample(
    when=0,
    took=37_990,
    weight=1,
    row=0,
    size=68,
    rcode=0,
    how=3,
    proto=0,
    flags=0,
    client=mapped("10.1.2.3"),
    port=4312,
    name=b"\x07eXample\x03org\0",
    type=1,
    counter=0,
    wire=b"",
    id=29008,
    bits=0x8180,
    qclass=1,
    udp_size=1232,
    query_size=41,
)
DNS = 'cluster.dns = "10.96.0.10"\n'


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({}, '[INFO] 10.1.2.3:4312 - 29008 "A IN example.org. udp 41 false 1232" NOERROR qr,rd,ra 68 0.000037990s'),
        (
            {"client": mapped("2001:db8::1"), "proto": 1, "flags": 1, "bits": 0x87B0, "rcode": 3, "type": 28},
            '[INFO] [2001:db8::1]:4312 - 29008 "AAAA IN example.org. tcp 41 true 1232" '
            "NXDOMAIN qr,aa,tc,rd,ra,ad,cd 68 0.000037990s",
        ),
        (
            {"name": b"", "type": 0, "qclass": 0, "rcode": 16, "bits": 0, "weight": 64, "took": 2_500_000_000},
            '[INFO] 10.1.2.3:4312 - 29008 "- - - udp 41 false 1232" BADVERS - 68 2.500000000s x64',
        ),
        (
            {"name": b'\x0c" \x1b[2J\n.\\\xe9\x80\xff\0', "type": 4711, "qclass": 3, "rcode": 11},
            '[INFO] 10.1.2.3:4312 - 29008 "TYPE4711 CH '
            '\\034\\032\\027[2j\\010\\.\\\\\\233\\128\\255. udp 41 false 1232" RCODE11 qr,rd,ra 68 0.000037990s',
        ),
    ],
)
def test_lines(change: dict[str, int | bytes], text: str) -> None:
    """CoreDNS's common format; a hostile name is escaped and ends no quote; what is not known is "-"."""
    assert line(ONE._replace(**change)) == text  # type: ignore[arg-type]


def test_addresses() -> None:
    """There and back."""
    for text in ("10.1.2.3", "2001:db8::1", "::1"):
        assert address(mapped(text)) == text


@pytest.mark.parametrize(
    ("clients", "zones", "rcodes", "wanted"),
    [
        ((), (), (), True),
        (("10.1.0.0/16",), (), (), True),
        (("10.2.0.0/16", "2001:db8::/32"), (), (), False),
        (("0.0.0.0/0",), (), (), True),
        (("::/0",), (), (), True),
        (("::/96",), (), (), False),
        ((), ("org.",), (), True),
        ((), ("example.org.",), (), True),
        ((), (".",), (), True),
        ((), ("ample.org.", "www.example.org."), (), False),
        ((), (), ("NOERROR", "NXDOMAIN"), True),
        ((), (), ("SERVFAIL",), False),
        (("10.1.2.3/32",), ("org.",), ("SERVFAIL",), False),
    ],
)
def test_filters(clients: tuple[str, ...], zones: tuple[str, ...], rcodes: tuple[str, ...], wanted: bool) -> None:
    """All kinds must agree, one of each kind is enough; a zone is labels, not letters."""
    assert Filter(clients, zones, rcodes).wants(ONE) is wanted


def test_a_zone_within_a_label() -> None:
    """Is none: anybody can ask for that."""
    assert not Filter((), ("org.",), ()).wants(ONE._replace(name=b"\x06a\x03org\0\0"))
    assert not Filter((), ("org.",), ()).wants(ONE._replace(name=b""))


def test_bound() -> None:
    """A second's worth at once, then so many a second; none at all with 0."""
    bound = Bound(3)
    assert [bound.take(100.0) for _ in range(5)] == [True, True, True, False, False]
    assert [bound.take(100.5) for _ in range(3)] == [True, False, False]
    assert [bound.take(200.0) for _ in range(5)] == [True, True, True, False, False]
    assert not Bound(0).take(5.0)


def test_config() -> None:
    """What a file says, and the defaults; `every_sample` is what one of the two wants."""
    plain = parse(DNS)
    assert (plain.log, plain.dnstap, plain.every_sample) == (Log(), Dnstap(), False)
    log = 'queries = "all", clients = "10.0.0.0/8", zones = ["Corp.example"], rcodes = ["SERVFAIL"], rate = 5'
    tap = 'socket = "/run/tap", hits = "none", identity = "n", version = "v"'
    full = parse(f"{DNS}log = {{ {log} }}\ndnstap = {{ {tap} }}\n")
    assert full.log == Log("all", ("10.0.0.0/8",), ("corp.example.",), ("SERVFAIL",), 5)
    assert full.dnstap == Dnstap("/run/tap", "none", "n", "v")
    assert full.every_sample
    assert not parse(DNS + 'dnstap = { hits = "all" }').every_sample
    assert parse(DNS + 'dnstap = { hits = "all", socket = "/run/tap" }').every_sample


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('log.queries = "yes"', 'log.queries: expected "off" or "sample" or "all", got "yes"'),
        ('log.rcodes = ["SERVFAIl"]', "log.rcodes[0]: expected"),
        ("log.rate = -1", "log.rate: expected 0 to 100000, got -1"),
        ('log.zones = ["a..b"]', "log.zones[0]: expected"),
        ('log.clients = ["10.0.0.1/8"]', "log.clients[0]: expected"),
        ('dnstap.socket = "tap"', 'dnstap.socket: expected an absolute path, got "tap"'),
        (f'dnstap.socket = "/{"a" * 107}"', "dnstap.socket: expected an absolute path of at most 107 octets"),
        ('dnstap.identity = "a\\nb"', "dnstap.identity: expected 1 to 64 printable ASCII characters"),
    ],
)
def test_wrong_values(text: str, problem: str) -> None:
    """Are named, with what belongs there."""
    with pytest.raises(ConfigError) as found:
        parse(DNS + text)
    assert str(found.value).startswith(problem)
