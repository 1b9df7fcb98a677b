"""nodedns.config: every word said about a file that is wrong, and that no file does more than that."""

import pytest

from nodedns import config, config_schema, config_values
from nodedns.config import ConfigError
from nodedns.config_values import flag

DNS = '[cluster]\ndns = "10.96.0.10"\n'
LATER = "misspelt, or a key of a later version"


def problems(text: str) -> list[str]:
    """The lines said about `text`; fails where nothing is said."""
    with pytest.raises(ConfigError) as caught:
        config.parse(text)
    return str(caught.value).split("\n")


def block(body: str) -> str:
    return f'{DNS}[[zone]]\nname = "corp.example"\n{body}\n'


IP = 'an IP, "IP:port" or "[IPv6]:port"'
HOST = f"{IP}, a name or tls://SERVER"
SERVER = f"{HOST}, or the path of a resolv.conf"
NAME = "a domain name (labels of 1 to 63 letters, digits, - _ /; 255 octets in all)"
SIZE = "1MiB to 16GiB, in KiB, MiB, GiB or plain bytes"
NETWORK = 'a network such as "10.0.0.0/8"'
WEEK = '604800, or a duration such as "30s"'
LIMITS = "at most 131072 bytes, in lines of at most 4096, got more (is it the right file?)"
EXACT = "one exact address: a reply must come from the address that was asked"

LINK = "expected a link name of 1 to 15 letters, digits, '_', '.' or '-', or \"none\""
BAD_NODE = [
    ("listen = '0.0.0.0'", f'node.listen: expected {IP}, got "0.0.0.0" ({EXACT})'),
    ("listen = ['127.0.0.1', '::']", f'node.listen[1]: expected {IP}, got "::" ({EXACT})'),
    ("listen = '::ffff:0.0.0.0'", f'node.listen: expected {IP}, got "::ffff:0.0.0.0" ({EXACT})'),
    ("listen = '224.0.0.1'", f'node.listen: expected {IP}, got "224.0.0.1" (not the address of one host)'),
    ("listen = '255.255.255.255'", f'node.listen: expected {IP}, got "255.255.255.255" (not the address of one host)'),
    ("listen = 'fd00::1%eth0'", f'node.listen: expected {IP}, got "fd00::1%eth0" (not the address of one host)'),
    ("listen = 'fe80::1'",
     f'node.listen: expected {IP}, got "fe80::1" (an IPv6 link-local address needs a scope, which is not supported)'),
    ("listen = '127.0.0.1:0'", f'node.listen: expected {IP}, got "127.0.0.1:0" (a port is 1 to 65535)'),
    ("listen = '127.0.0.1:65536'", f'node.listen: expected {IP}, got "127.0.0.1:65536" (a port is 1 to 65535)'),
    ("listen = '127.0.0.1:'", f'node.listen: expected {IP}, got "127.0.0.1:" (a port is 1 to 65535)'),
    ("listen = '127.0.0.1:\u0661'", f'node.listen: expected {IP}, got "127.0.0.1:\u0661" (a port is 1 to 65535)'),
    ("listen = '[::1]53'", f'node.listen: expected {IP}, got "[::1]53"'),
    ("listen = 'x::1]:53'", f'node.listen: expected {IP}, got "x::1]:53"'),
    ("listen = '1.2.3'", f'node.listen: expected {IP}, got "1.2.3"'),
    ("listen = '/x'", f'node.listen: expected {IP}, got "/x"'),
    ("listen = []", f"node.listen: expected 1 to 16 items, each {IP}, got a list of 0"),
    (f"listen = {[f'127.0.0.{i}' for i in range(1, 18)]}",
     f"node.listen: expected 1 to 16 items, each {IP}, got a list of 17"),
    ("listen = ['127.0.0.1', '127.0.0.1:53']",
     'node.listen[1]: expected each item once, got "127.0.0.1:53" ([0] is the same)'),
    ("listen = ['127.0.0.1', '8.8.8.8']",
     "node.allow: expected the networks of your clients, got nothing"
     " (anyone may reach 8.8.8.8:53: without a list this would be an open resolver)"),
    ("listen = '10.96.0.10'",
     'cluster.dns: expected servers other than this one, got "10.96.0.10:53" (node.listen has it: a loop)'),
    ("allow = []", f"node.allow: expected 1 to 64 items, each {NETWORK}, got a list of 0"),
    ("allow = '10.0.0.5/8'", f'node.allow: expected {NETWORK}, got "10.0.0.5/8" (bits are set after the prefix)'),
    ("allow = '10.0.0.0/33'", f'node.allow: expected {NETWORK}, got "10.0.0.0/33"'),
    ("allow = '10.0.0.0/0.255.255.255'", f'node.allow: expected {NETWORK}, got "10.0.0.0/0.255.255.255"'),
    ("workers = 0", 'node.workers: expected "auto" or 1 to 64, got 0'),
    ("workers = 65", 'node.workers: expected "auto" or 1 to 64, got 65'),
    ("workers = false", 'node.workers: expected "auto" or 1 to 64, got false'),
    ("workers = 07:32:00", 'node.workers: expected "auto" or 1 to 64, got a date or time'),
    (f"workers = 0x{'f' * 4000}",
     'node.workers: expected "auto" or 1 to 64, got an integer of more than 64 bits'),
    ("run_dir = 'run'", 'node.run_dir: expected an absolute path, got "run"'),
    ('run_dir = "/a\\u0000\\u001b[2J"',
     'node.run_dir: expected an absolute path, got "/a\\x00\\x1b[2J"'),
    ("interface = 'a/b'", f'node.interface: {LINK}, got "a/b"'),
    ("interface = 'sixteen-letters-'", f'node.interface: {LINK}, got "sixteen-letters-"'),
    ("interface = '..'", f'node.interface: {LINK}, got ".."'),
    ("interface = ''", f'node.interface: {LINK}, got ""'),
    ("netfilter = 'nft'",
     'node.netfilter: expected "auto" or "nftables" or "iptables-nft" or "iptables-legacy" or "none", got "nft"'),
    ("fallback = 'kubedns'",
     f'node.fallback: expected {IP}, got "kubedns"'),
    ("fallback = []", f'node.fallback: expected 1 to 32 items, each "auto", "none", {IP}, got a list of 0'),
    ("fallback = '169.254.20.10'",
     'node.fallback: expected servers other than this one, got "169.254.20.10:53" (node.listen has it)'),
    ("fail_open_after = '1s'",
     'node.fail_open_after: expected whole seconds from 2 to 604800, or a duration such as "30s", got "1s"'),
    ("beside = 'dnsmasq'", 'node.beside: expected "none" or "node-cache", got "dnsmasq"'),
    ("beside = 'node-cache'",
     'node.interface: expected a link of its own beside node-cache, got "nodelocaldns" '
     '(node-cache takes its link away when it ends; "nodedns" is a name of ours)'),
    ("on_stop = 'open'",
     'node.on_stop: expected "auto" or "failopen" or "clean", got "open" (did you mean "failopen"?)'),
    ("lisen = 1", 'node.lisen: expected a known key, got an unknown one (did you mean "listen"?)'),
    (f"fail_open_after{'x' * 18} = 1",
     f"node.fail_open_after{'x' * 18}: expected a known key, got an unknown one ({LATER})"),
    ("size = 1", "node.size: expected a known key, got an unknown one (it belongs to cache)"),
    ('"a.b\\u202e" = 1', f'node."a.b\\u202e": expected a known key, got an unknown one ({LATER})'),
]  # fmt: skip

BAD_BLOCK = [
    ("", "zone[0].forward: expected the servers of this new zone, got nothing"),
    ("forward = []", f"zone[0].forward: expected 1 to 15 items, each {SERVER}, got a list of 0"),
    ("forward = ['/a', '/b']", "zone[0].forward: expected at most one resolv.conf, got a list of 2 (it names 2)"),
    ("forward = 'tls://9.9.9.9#dns.quad9.net!'",
     f'zone[0].forward: expected {HOST}, got "tls://9.9.9.9#dns.quad9.net!" (the name behind # is a host\'s)'),
    ("forward = 'https://9.9.9.9'", f'zone[0].forward: expected {IP}, got "https://9.9.9.9"'),
    ("forward = 'dns.example:66000'",
     f'zone[0].forward: expected {HOST}, got "dns.example:66000" (a port is 1 to 65535)'),
    ("forward = 'dns..example'", f'zone[0].forward: expected {HOST}, got "dns..example"'),
    ("forward = 'ns.corp.example'",
     'zone[0].forward: expected a server with an address in zone "corp.example.", got "ns.corp.example."'
     " (nobody else could tell where this one is)"),
    ("forward = '169.254.20.10'",
     'zone[0].forward: expected servers other than this one, got "169.254.20.10:53" (node.listen has it: a loop)'),
    ("forward = '10.1.1.1'\npolicy = 'roundrobin'",
     'zone[0].policy: expected "random" or "round_robin" or "sequential", got "roundrobin"'
     ' (did you mean "round_robin"?)'),
    ("forward = '10.1.1.1'\ntransport = 'tpc'",
     'zone[0].transport: expected "udp" or "tcp" or "tls", got "tpc" (did you mean "tcp"?)'),
    ("forward = '10.1.1.1'\npolicy = ''",
     'zone[0].policy: expected "random" or "round_robin" or "sequential", got ""'),
    ("forward = '10.1.1.1'\nserve_stale = { max = -1 }",
     'zone[0].serve_stale.max: expected whole seconds from 0 to 604800, or a duration such as "30s", got -1'),
    ("forward = '10.1.1.1'\nexcept = 'other.example'",
     'zone[0].except: expected names below corp.example., got "other.example."'),
    ("forward = '10.1.1.1'\nexcept = 'corp.example'",
     'zone[0].except: expected names below corp.example., got "corp.example."'),
    ("forward = '10.1.1.1'\nexcept = []",
     "zone[0].except: expected 1 to 32 items, each the name of a zone, got a list of 0"),
    ("forward = '10.1.1.1'\nserve_stale = '1h'", 'zone[0].serve_stale: expected a table, got "1h"'),
    ("forward = '10.1.1.1'\nprefetch.hits = 256", "zone[0].prefetch.hits: expected 0 to 255, got 256"),
    ("forward = '10.1.1.1'\nprefetch.within = '9%'", 'zone[0].prefetch.within: expected "10%" to "90%", got "9%"'),
    ("forward = '10.1.1.1'\nserve_stale.prefer_positive = 'no'",
     'zone[0].serve_stale.prefer_positive: expected true or false, got "no"'),
    ("forward = '10.1.1.1'\nsuccess = 30", "zone[0].success: expected a table, got 30"),
    ("forward = '10.1.1.1'\nsuccess.max_ttl = '1.8s'",
     f'zone[0].success.max_ttl: expected whole seconds from 1 to {WEEK}, got "1.8s"'),
    ("forward = '10.1.1.1'\ndenial = { max_ttl = 0, min_ttl = 5 }",
     f"zone[0].denial.max_ttl: expected whole seconds from 1 to {WEEK}, got 0"),
    ("forward = '10.1.1.1'\ndenial.max_ttl = 604801",
     f"zone[0].denial.max_ttl: expected whole seconds from 1 to {WEEK}, got 604801"),
    ("forward = '10.1.1.1'\nsuccess.min_ttl = -1",
     f"zone[0].success.min_ttl: expected whole seconds from 0 to {WEEK}, got -1"),
    ("forward = '10.1.1.1'\ndenial = { max_ttl = 5, min_ttl = 6 }",
     "zone[0].denial.min_ttl: expected at most max_ttl, which is 5, got 6"),
    ("forward = '10.1.1.1'\nsuccess.ttl = 5",
     'zone[0].success.ttl: expected a known key, got an unknown one (did you mean "min_ttl"?)'),
    ("forward = '10.1.1.1'\n[[zone]]\nname = 'CORP.example.'\nforward = '10.1.1.1'",
     'zone[1].name: expected each zone once in a file, got "CORP.example." (zone[0].name is the same)'),
    ("forward = '10.1.1.1'\n[[zone]]", "zone[1].name: expected the name of the zone, got nothing"),
]  # fmt: skip

BAD_NAMES = [
    *((f'"{name}"', f'"{name}"') for name in ("", "..", ".a", "a..b", "a b", "*.a")),
    ('"a.\\u0000"', '"a.\\x00"'),
    (f'"{"a" * 64}"', f'"{"a" * 57}..."'),
    (f'"{"a." * 126}ab"', f'"{"a." * 28}a..."'),  # 254 characters: 256 octets
    ('"b\u00fccher.example"', '"b\u00fccher.example" (write it in its xn-- form)'),
]

BAD_FILES = [
    ("", 'cluster.dns: expected the address of kube-dns, got nothing'
         ' (a whole config is two lines: [cluster] and dns = "10.96.0.10")'),
    ("[cluster]\ndns = 'kube-dns.kube-system'",
     f'cluster.dns: expected {IP}, got "kube-dns.kube-system"'),
    ("[cluster]\ndns = '/etc/resolv.conf'", f'cluster.dns: expected {IP}, got "/etc/resolv.conf"'),
    (f"{DNS}domain = '.'",
     "cluster.domain: expected the domain of the cluster's own names, got \".\" (that zone exists beside it)"),
    (f"{DNS}domain = 'ip6.arpa'",
     "cluster.domain: expected the domain of the cluster's own names, got \"ip6.arpa\" (that zone exists beside it)"),
    (f"{DNS}[zone]\nname = 'a'", "zone: expected at most 64 [[zone]] blocks, got a table"),
    (f"zone = [1]\n{DNS}", "zone[0]: expected a [[zone]] block, got 1"),
    (f"{DNS}[metrics]\nlisten = 'localhost'", f'metrics.listen: expected "none", {IP}, got "localhost"'),
    (f"{DNS}[metrics]\nlisten = '0.0.0.0:0'",
     f'metrics.listen: expected "none", {IP}, got "0.0.0.0:0" (a port is 1 to 65535)'),
    (f"{DNS}[metrics]\ncoredns = '1.8'",
     'metrics.coredns: expected "1.6" or "1.7" or "1.11", got "1.8" (did you mean "1.7"?)'),
    (f"{DNS}[metrics]\nlameduck = '21s'",
     'metrics.lameduck: expected whole seconds from 0 to 20, or a duration such as "30s", got "21s"'),
    (f"{DNS}[cach]\nsize = 1", 'cach: expected a known key, got an unknown one (did you mean "cache"?)'),
    (f"dns = '10.96.0.1'\n{DNS}", "dns: expected a known key, got an unknown one (it belongs to cluster)"),
    (f"{DNS}'node.listen' = 1", f"cluster.\"node.listen\": expected a known key, got an unknown one ({LATER})"),
    (f"node = 5\n{DNS}", "node: expected a table, got 5"),
    (DNS + "[[zone]]\n" * 65, "zone: expected at most 64 [[zone]] blocks, got a list of 65"),
    (DNS + "".join(f"[[zone]]\nname = 'z{i}'\nforward = '10.1.1.1'\n" for i in range(61)),
     "zone: expected at most 64 zones, the four that always exist and `except` included, got 65"),
    ("[cluster]\ndns 5", "line 2, column 5: expected TOML, got Expected '=' after a key in a key/value pair"),
    ("[cluster", "end of document: expected TOML, got Expected ']' at the end of a table declaration"),
    (f"{DNS}dns = 5\n", "line 3, column 8: expected TOML, got Cannot overwrite a value"),
    (f"{DNS}# \x07", "line 3, column 3: expected TOML, got Found invalid character '\\x07'"),
    (f"{DNS}x = {'[' * 4000}", "file: expected TOML, got brackets nested too deep"),
    (f"{DNS}# {'x' * 4096}", f"file: expected {LIMITS}"),
    ("# \ud800", "file: expected TOML, got 'utf-8' codec can't encode character '\\ud800' in position..."),
    (DNS + "#\n" * 65536, f"file: expected {LIMITS}"),
]  # fmt: skip


BAD_SIZES = ['"1023KiB"', '"17GiB"', '"32MB"', '"32 MiB"', '"-1"', "33554432.0", "1", "17179869185", "true"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        *((f"{DNS}[node]\n{text}", line) for text, line in BAD_NODE),
        *((f"{DNS}[cache]\nsize = {size}", f"cache.size: expected {SIZE}, got {size}") for size in BAD_SIZES),
        *((block(text), line) for text, line in BAD_BLOCK),
        *((f"{DNS}[[zone]]\nname = {name}\nforward = '10.1.1.1'", f"zone[0].name: expected {NAME}, got {got}")
          for name, got in BAD_NAMES),
        *BAD_FILES,
    ],
)  # fmt: skip
def test_one_problem(text: str, line: str) -> None:
    """A file with one thing wrong has exactly one line said about it, and that line names the place and the remedy."""
    assert problems(text) == [line]


NO_FLAG = config_schema.KEYS["cluster.dns"]
WRONG = ["true", "-1", "1.5", "nan", "''", "'\\u0000'", "[]", "[[]]", "[{}]", "[true]", "{}", "{ a.b.c = 1 }",
         "1979-05-27", "07:32:00", "0x" + "f" * 3000, f"'{'a.' * 1000}'", f"['{':' * 1000}']"]  # fmt: skip
GOOD_ZONE = {"name": "'x'", "forward": "'10.1.1.1'"}
# The tables may be empty, and so may the list of blocks.
# Tables may be empty, and so may the list of blocks.
FINE = {("zone", "[]"), *((table, "{}") for table in ("node", "cache", "metrics", "zone.success", "zone.denial"))}


@pytest.mark.parametrize("value", WRONG)
@pytest.mark.parametrize(
    "path", [*config_schema.KEYS, "cluster", "node", "cache", "metrics", "zone", "zone.success", "zone.denial"]
)
def test_wrong_types(path: str, value: str) -> None:
    """Every key refuses every kind of value that is not its own, under its own path; never by a traceback."""
    dns = "" if path.startswith("cluster") else "cluster.dns = '10.96.0.10'\n"
    text, where = f"{dns}{path} = {value}", path
    if path.startswith("zone."):
        key = path.removeprefix("zone.")
        rest = ", ".join(f"{other} = {good}" for other, good in GOOD_ZONE.items() if other != key)
        text, where = f"{dns}zone = [{{ {rest}, {key} = {value} }}]", f"zone[0].{key}"
    text = text.replace("'", '"')
    if (path, value) in FINE or (config_schema.KEYS.get(path, NO_FLAG).parse is flag and value == "true"):
        assert config.parse(text)
        return
    with pytest.raises(ConfigError) as caught:
        config.parse(text)
    assert any(problem.path.startswith(where) for problem in caught.value.problems)
    assert all(len(line) < 300 and line.isprintable() for line in str(caught.value).split("\n"))


HOSTILE = ["a." * 2000 + "a = 1", "[" + "a." * 2000 + "a]", "\ud800 = 1", "\x00", "\ufeff", "=" * 4000, '"' * 4000,
           "x = " + "9" * 4090, "x = 1e999", "[[zone]]\n" * 10_000,
           "[[cluster]]", "[[zone.x]]", "zone.name = 1", "cluster.dns.x = 1"]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_files(text: str) -> None:
    """A file made to hurt gets a few short printable lines."""
    lines = problems(text)
    assert len(lines) <= 2
    assert all(len(line) < 300 and line.isprintable() for line in lines)


def test_problems_end_at_a_hundred() -> None:
    """A file that is wrong in 10,000 places is not answered with 10,000 lines."""
    assert len(problems("".join(f"k{i} = 1\n" for i in range(10_000)))) == config_schema.MAX_PROBLEMS == 100


SHOWN = [
    ("a" * 60, '"' + "a" * 60 + '"'), ("a" * 61, '"' + "a" * 57 + '..."'),
    ("\x1b\n\u202e\ud800", r'"\x1b\n\u202e\ud800"'),
    (2**63 - 1, str(2**63 - 1)), (2**63, "an integer of more than 64 bits"), (-(2**63), str(-(2**63))),
    (-(2**63) - 1, "an integer of more than 64 bits"), (1.5, "1.5"), ([[]], "a list of 1"), ({}, "a table"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "text"), SHOWN)
def test_show(value: object, text: str) -> None:
    """Whatever a file holds is shown short and printable."""
    assert config_values.show(value) == text
