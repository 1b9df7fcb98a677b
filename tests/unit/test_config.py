"""nodedns.config: what a user may write, what comes of it, and every word said about what is wrong."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nodedns import config
from nodedns.config import Cache, Config, ConfigError, Endpoint, Metrics, Node, Problem, Ttl, Zone

DOCS = Path(__file__).parents[2] / "docs" / "configuration.md"
DNS = '[cluster]\ndns = "10.96.0.10"\n'
KUBE_DNS = (Endpoint("10.96.0.10", 53),)
LONG = Ttl(30, 5)

SEED = Config(
    domain="cluster.local.",
    node=Node(
        listen=(Endpoint("169.254.20.10", 53),),
        allow=(),
        workers=0,
        run_dir="/run/nodedns",
        interface="nodelocaldns",
        netfilter="auto",
        fallback=None,
        fail_open_after=3,
        on_stop="auto",
    ),
    cache=Cache(32 * 2**20),
    zones=(
        Zone(".", (), "/etc/resolv.conf", "random", "udp", LONG, LONG),
        Zone("cluster.local.", KUBE_DNS, None, "random", "tcp", LONG, Ttl(5, 5)),
        Zone("in-addr.arpa.", KUBE_DNS, None, "random", "tcp", LONG, LONG),
        Zone("ip6.arpa.", KUBE_DNS, None, "random", "tcp", LONG, LONG),
    ),
    metrics=Metrics(Endpoint("127.0.0.1", 9253), ("1.6", "1.7", "1.11"), 0),
)


def zone(found: Config, name: str) -> Zone:
    return next(zone for zone in found.zones if zone.name == name)


def problems(text: str, *dropins: tuple[str, str]) -> list[str]:
    """The lines said about `text`; fails where nothing is said."""
    with pytest.raises(ConfigError) as caught:
        config.parse(text, dropins)
    assert str(caught.value) == "\n".join(map(str, caught.value.problems))
    return str(caught.value).split("\n")


def test_two_lines_are_a_config() -> None:
    """The shortest file gives the seed's Corefile: its address, zones, transports and TTLs."""
    assert config.parse(DNS) == SEED


NODE = [
    ("listen = '10.96.0.10:5300'", "listen", (Endpoint("10.96.0.10", 5300),)),
    ("listen = ['fd00::A', '[::1]:5353']", "listen", (Endpoint("fd00::a", 53), Endpoint("::1", 5353))),
    ("listen = ['10.0.0.1:1', '10.0.0.1:65535']", "listen", (Endpoint("10.0.0.1", 1), Endpoint("10.0.0.1", 65535))),
    ("listen = ['::ffff:127.0.0.1']", "listen", (Endpoint("127.0.0.1", 53),)),
    ("listen = '8.8.8.8'\nallow = '0.0.0.0/0'", "allow", ("0.0.0.0/0",)),
    ("allow = ['10.0.0.0/8', '10.1.2.3', 'FD00::/8']", "allow", ("10.0.0.0/8", "10.1.2.3/32", "fd00::/8")),
    ("workers = 'auto'", "workers", 0),
    ("workers = 64", "workers", 64),
    ("run_dir = '/var/tmp/n'", "run_dir", "/var/tmp/n"),
    ("netfilter = 'none'", "netfilter", "none"),
    ("netfilter = 'iptables-legacy'", "netfilter", "iptables-legacy"),
    ("fallback = 'none'", "fallback", ()),
    ("fallback = 'auto'", "fallback", None),
    ("fallback = ['10.0.0.1', 'fd00::1']", "fallback", (Endpoint("10.0.0.1", 53), Endpoint("fd00::1", 53))),
    ("fallback = '10.0.0.1:5353'", "fallback", (Endpoint("10.0.0.1", 5353),)),
    ("fail_open_after = '1m'", "fail_open_after", 60),
    ("on_stop = 'clean'", "on_stop", "clean"),
    ("interface = 'none'", "interface", "none"),
    ("interface = 'dns0'", "interface", "dns0"),
]


@pytest.mark.parametrize(("text", "field", "value"), NODE)
def test_node(text: str, field: str, value: object) -> None:
    """Each key of [node] reaches its field in canonical form, and no other field moves."""
    found = config.parse(f"{DNS}[node]\n{text}").node
    assert getattr(found, field) == value
    untouched = {name for name in ("listen", "allow", "workers", "run_dir") if name not in text}
    assert all(getattr(found, name) == getattr(SEED.node, name) for name in untouched)


@pytest.mark.parametrize(
    ("text", "size"),
    [("'1MiB'", 2**20), ("'1024KiB'", 2**20), ("'16GiB'", 2**34), ("1048576", 2**20), ("'1048577'", 2**20 + 1)],
)
def test_size(text: str, size: int) -> None:
    """A size is bytes, in binary units or none."""
    assert config.parse(f"{DNS}[cache]\nsize = {text}").cache == Cache(size)


FORWARD = [
    ("'10.1.1.53'", (Endpoint("10.1.1.53", 53),), None),
    ("['10.1.1.53:5353', '[FD00::1]:53', 'fd00::2']",
     (Endpoint("10.1.1.53", 5353), Endpoint("fd00::1", 53), Endpoint("fd00::2", 53)), None),
    ("'/run/systemd/resolve/resolv.conf'", (), "/run/systemd/resolve/resolv.conf"),
    ("['/etc/resolv.conf', '10.1.1.53']", (Endpoint("10.1.1.53", 53),), "/etc/resolv.conf"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "servers", "resolv_conf"), FORWARD)
def test_forward(text: str, servers: tuple[Endpoint, ...], resolv_conf: str | None) -> None:
    """A new zone has the servers it names and the defaults of a plain `cache 30` over UDP."""
    found = zone(config.parse(f"{DNS}[[zone]]\nname = 'corp.example'\nforward = {text}"), "corp.example.")
    assert found == Zone("corp.example.", servers, resolv_conf, "random", "udp", LONG, LONG)


OVERRIDES = [
    ("forward = '10.1.1.1'", {"forward": (Endpoint("10.1.1.1", 53),)}),
    ("policy = 'sequential'", {"policy": "sequential"}),
    ("transport = 'udp'", {"transport": "udp"}),
    ("success = { max_ttl = 3600 }", {"success": Ttl(3600, 5)}),
    ("success = { max_ttl = 3 }", {"success": Ttl(3, 3)}),
    ("denial.min_ttl = 0", {"denial": Ttl(5, 0)}),
    ("success = { max_ttl = '90s', min_ttl = 0 }", {"success": Ttl(90, 0)}),
    ("success = { max_ttl = 1, min_ttl = 1 }", {"success": Ttl(1, 1)}),
    ("success = { max_ttl = '1.5m', min_ttl = '7000ms' }", {"success": Ttl(90, 7)}),
    ("success.max_ttl = '168h'", {"success": Ttl(604_800, 5)}),
]


@pytest.mark.parametrize(("text", "changed"), OVERRIDES)
@pytest.mark.parametrize("name", ["cluster.local", "Cluster.LOCAL."])
def test_override(text: str, changed: dict[str, Any], name: str) -> None:
    """A block for a zone that exists changes what it names and keeps the rest."""
    found = config.parse(f'{DNS}[[zone]]\nname = "{name}"\n{text}')
    assert zone(found, "cluster.local.") == replace(zone(SEED, "cluster.local."), **changed)
    assert len(found.zones) == 4


NAMES = [
    (".", "."),
    ("a" * 63, "a" * 63 + "."),
    (".".join(["a" * 61] * 4) + ".abcde", ".".join(["a" * 61] * 4) + ".abcde."),  # 253 characters: 255 octets
    ("_tcp.Corp.example.", "_tcp.corp.example."),
    ("0/25.2.0.192.in-addr.arpa", "0/25.2.0.192.in-addr.arpa."),
]


@pytest.mark.parametrize(("text", "name"), NAMES)
def test_zone_name(text: str, name: str) -> None:
    """A zone's name is kept absolute and in lower case, up to the sizes of RFC 1035 section 2.3.4."""
    assert name in {z.name for z in config.parse(f'{DNS}[[zone]]\nname = "{text}"\nforward = "10.1.1.1"').zones}


def test_domain_renames_the_cluster_zone() -> None:
    """cluster.domain moves cluster.local's servers and TTLs to another name."""
    found = config.parse(f'{DNS}domain = "K8s.example"')
    assert zone(found, "k8s.example.") == replace(zone(SEED, "cluster.local."), name="k8s.example.")
    assert [z.name for z in found.zones] == [".", "in-addr.arpa.", "ip6.arpa.", "k8s.example."]


def test_except() -> None:
    """Each name is a zone that does what the next zone above the excepting one does; a block of its own goes before."""
    text = """
    [cluster]
    dns = "10.96.0.10"
    [[zone]]
    name = "example"
    forward = "10.0.0.1"
    transport = "tcp"
    [[zone]]
    name = "corp.example"
    forward = "10.0.0.2"
    except = ["A.corp.example", "b.corp.example."]
    [[zone]]
    name = "b.corp.example"
    forward = "10.0.0.3"
    [[zone]]
    name = "cluster.local"
    except = "out.cluster.local"
    """
    zones = {zone.name: zone for zone in config.parse(text).zones}
    assert zones["a.corp.example."] == replace(zones["example."], name="a.corp.example.")
    assert zones["b.corp.example."].forward == (Endpoint("10.0.0.3", 53),)
    assert zones["out.cluster.local."] == replace(zones["."], name="out.cluster.local.")


def test_except_of_the_root() -> None:
    """Refused with what to do instead: nothing is above it."""
    with pytest.raises(ConfigError, match="no other zone to go to"):
        config.parse('cluster.dns = "10.96.0.10"\nzone = [{ name = ".", forward = "10.0.0.1", except = "a.example" }]')


def test_zones_are_sorted() -> None:
    """The order of blocks in a file does not reach the program."""
    blocks = "".join(f'[[zone]]\nname = "{name}"\nforward = "10.1.1.1"\n' for name in ("zz", "aa", "mm"))
    names = [z.name for z in config.parse(DNS + blocks).zones]
    assert names == sorted(names)
    assert len(names) == 7


def test_every_problem_at_once() -> None:
    """All the problems of a file come together, values first, then what they say about each other."""
    text = """
        cluster.domain = 5
        cash.size = 1
        node = { listen = ["8.8.8.8", "::", 5], workers = 99, run_dir = "x" }
        [[zone]]
        name = "corp.example"
        success = { max_ttl = 1, min_ttl = 2 }
        [[zone]]
        name = "a..b"
        forward = ["tls:1.1.1.1", "1.1.1.1:99999"]
        """
    with pytest.raises(ConfigError) as caught:
        config.parse(text)
    assert [problem.path for problem in caught.value.problems] == [
        "cluster.domain", "cash", "node.listen[1]", "node.listen[2]", "node.workers", "node.run_dir",
        "zone[1].name", "zone[1].forward[0]", "zone[1].forward[1]",
        "cluster.dns", "zone[0].forward", "zone[0].success.min_ttl",
    ]  # fmt: skip


def test_problem_is_one_line() -> None:
    """A problem reads as one sentence, with its hint in brackets where it has one."""
    assert str(Problem("a", "b", "c")) == "a: expected b, got c"
    assert str(Problem("a", "b", "c", "d")) == "a: expected b, got c (d)"


def test_limits_can_be_reached() -> None:
    """The largest config that is promised is taken: 64 zones, 16 addresses, 64 networks, 15 servers, all the bytes."""
    servers, listen, allow = ([f"10.{net}.0.{i}" for i in range(count)] for net, count in ((1, 15), (2, 16), (3, 64)))
    names = [".", "cluster.local", "in-addr.arpa", "ip6.arpa", *(f"z{i}" for i in range(60))]
    text = f"{DNS}[node]\nlisten = {listen}\nallow = {allow}\n"
    text += "".join(f"[[zone]]\nname = '{name}'\nforward = {servers}\n" for name in names)
    text += "#" * 4096 + "\n"
    text += "\n" * (128 * 1024 - len(text))
    found = config.parse(text)
    assert (len(found.zones), len(found.node.listen), len(found.node.allow)) == (64, 16, 64)
    assert {len(z.forward) for z in found.zones} == {15}
    with pytest.raises(ConfigError):
        config.parse(text + "\n")


RESOLV_CONF = [
    ("", ()),
    ("search a b\nnameserver 10.0.0.1\noptions ndots:5\nnameserver\tfd00::1  # x\n", ("10.0.0.1:53", "[fd00::1]:53")),
    ("nameserver 10.0.0.2\nnameserver 10.0.0.1\nnameserver 10.0.0.2", ("10.0.0.2:53", "10.0.0.1:53")),
    (" nameserver 10.0.0.1\nnameservers 10.0.0.1\nnameserver\nNameserver 10.0.0.1\n#nameserver 10.0.0.1", ()),
    ("nameserver 10.0.0.1:53\nnameserver x\nnameserver fe80::1%eth0\nnameserver 0.0.0.0\nnameserver ]:1", ()),
    ("nameserver 10.0.0.1\r\nnameserver ::1\r\n", ("10.0.0.1:53", "[::1]:53")),
    ("".join(f"nameserver 10.0.0.{i}\n" for i in range(1, 99)), tuple(f"10.0.0.{i}:53" for i in range(1, 16))),
]


@pytest.mark.parametrize(("text", "servers"), RESOLV_CONF)
def test_nameservers(text: str, servers: tuple[str, ...]) -> None:
    """A resolv.conf gives its servers in order, each once, and its junk is passed over as glibc does."""
    assert tuple(map(str, config.nameservers(text))) == servers


def test_example() -> None:
    """`run --example` serves loopback only, from the example's own authoritative server."""
    found = config.example()
    authority = (Endpoint("127.0.0.1", 5354),)
    assert found.node == Node((Endpoint("127.0.0.1", 5353),), (), 2, "")
    assert found.cache == Cache(8 * 2**20)
    assert [(z.name, z.forward, z.resolv_conf, z.transport) for z in found.zones] == [
        (".", authority, None, "udp"),
        ("cluster.local.", authority, None, "tcp"),
        ("in-addr.arpa.", authority, None, "tcp"),
        ("ip6.arpa.", authority, None, "tcp"),
    ]


CHANGES = [
    ("", ()),
    ("node.allow = '10.0.0.0/8'\nzone = [{ name = '.', forward = '10.1.1.1' }]", ()),
    ("node.workers = 3", ("node.workers",)),
    ("node = { fallback = '10.0.0.1', fail_open_after = 5, on_stop = 'clean' }", ()),
    ("node.netfilter = 'none'", ("node.netfilter",)),
    ("metrics.listen = 'none'", ("metrics.listen",)),
    ("metrics = { coredns = 'none', lameduck = 5 }", ()),
    ("node = { beside = 'node-cache', interface = 'nodedns' }", ("node.beside", "node.interface")),
    ("node = { listen = '127.0.0.1', run_dir = '/x', workers = 1 }\ncache.size = '1MiB'",
     ("cache.size", "node.listen", "node.run_dir", "node.workers")),
]  # fmt: skip


@pytest.mark.parametrize(("text", "paths"), CHANGES)
def test_restart_needed(text: str, paths: tuple[str, ...]) -> None:
    """Only what is made before the first fork needs a restart, and each such key is named."""
    assert config.restart_needed(SEED, config.parse(f"cluster.dns = '10.96.0.10'\n{text}")) == paths
    assert set(paths) <= config.RESTART_KEYS
