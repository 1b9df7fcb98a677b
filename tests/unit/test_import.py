"""`nodedns import`: what node-cache runs on, in our words; golden inputs are re-typed from its own manifests."""

import json
from pathlib import Path

import pytest
from node_cache import ADDON, KUBESPRAY, SEED
from service_files import Verb

from nodedns.config import Config, Endpoint, Prefetch, Stale, Tls, Ttl, parse
from nodedns.verbs.importer.corefile import SyntaxProblem
from nodedns.verbs.importer.corefile import parse as parse_corefile


def zones(config: Config) -> dict[str, tuple[list[str], str, Ttl, Ttl]]:
    return {zone.name: ([*map(str, zone.forward)], zone.transport, zone.success, zone.denial) for zone in config.zones}


def imported(verb: Verb, path: Path, *words: str, code: int = 0) -> tuple[Config, str]:
    """The config it prints, parsed, and what it says was lost."""
    got, out, err = verb("import", str(path), *words)
    assert got == code, err
    return parse(out), err


def lost(err: str) -> list[str]:
    """The directives that were not carried over."""
    return [line.split(": ")[3] for line in err.splitlines()]


THIRTY = Ttl(30, 5)


def test_the_seed(tmp_path: Path, verb: Verb) -> None:
    """The Corefile of the seed's log: the same zones, servers, transports and TTLs; metrics where they were; of health,
    where it is."""
    (tmp_path / "Corefile").write_text(SEED)
    config, err = imported(verb, tmp_path / "Corefile")
    cluster = (["10.96.0.10:53"], "tcp")
    assert zones(config) == {
        "cluster.local.": (*cluster, THIRTY, Ttl(5, 5)),
        "in-addr.arpa.": (*cluster, THIRTY, THIRTY),
        "ip6.arpa.": (*cluster, THIRTY, THIRTY),
        ".": ([], "udp", THIRTY, THIRTY),
    }
    root = next(zone for zone in config.zones if zone.name == ".")
    assert (root.resolv_conf, config.domain) == ("/etc/resolv.conf", "cluster.local.")
    assert config.node.listen == (Endpoint("169.254.20.10", 53),)
    assert [what.split()[0] for what in lost(err)] == ["health"]
    assert config.metrics.listen == Endpoint("0.0.0.0", 9253)


@pytest.mark.parametrize(
    ("words", "listen"),
    [
        (["--pillar", "CLUSTER__DNS=10.96.0.11"], ["169.254.20.10"]),
        (
            ["--pillar", "CLUSTER__DNS=10.96.0.11", "--pillar", "DNS__SERVER=10.96.0.10"],
            ["169.254.20.10", "10.96.0.10"],
        ),
        (["--pillar", "__PILLAR__CLUSTER__DNS__=10.96.0.11", "--pillar", "LOCAL__DNS=169.254.1.1"], ["169.254.1.1"]),
    ],
)
def test_the_addon(words: list[str], listen: list[str], tmp_path: Path, verb: Verb) -> None:
    """Out of the manifest, with its variables; one that has no value is asked for by name."""
    (tmp_path / "nodelocaldns.yaml").write_text(ADDON)
    code, _, err = verb("import", str(tmp_path / "nodelocaldns.yaml"))
    assert (code, "__PILLAR__CLUSTER__DNS__; give it: --pillar CLUSTER__DNS=VALUE" in err) == (1, True)
    config, _ = imported(verb, tmp_path / "nodelocaldns.yaml", *words)
    assert [at.address for at in config.node.listen] == listen
    assert zones(config)["cluster.local."] == (["10.96.0.11:53"], "tcp", THIRTY, Ttl(5, 5))


def test_the_addons_domain(tmp_path: Path, verb: Verb) -> None:
    """Another domain becomes cluster.domain."""
    (tmp_path / "nodelocaldns.yaml").write_text(ADDON)
    words = ["--pillar", "CLUSTER__DNS=10.96.0.11", "--pillar", "DNS__DOMAIN=k8s.example"]
    assert imported(verb, tmp_path / "nodelocaldns.yaml", *words)[0].domain == "k8s.example."


def test_kubespray(tmp_path: Path, verb: Verb) -> None:
    """Its external zone keeps both servers and stays on UDP."""
    (tmp_path / "cm.yaml").write_text(KUBESPRAY)
    config, err = imported(verb, tmp_path / "cm.yaml", "--strict", code=1)
    assert zones(config)["corp.example."] == (["192.0.2.1:53", "192.0.2.2:53"], "udp", THIRTY, THIRTY)
    assert [at.address for at in config.node.listen] == ["169.254.25.10"]
    assert all("prometheus" in line or "health" in line for line in err.splitlines())


HEAD = "cluster.local { forward . 10.96.0.10\n }\n".replace("{ ", "{\n")


@pytest.mark.parametrize(
    ("block", "line"),
    [
        (". {\n forward . 192.0.2.1 {\n except b.a.example\n }\n}", "except b.a.example: CoreDNS refuses it"),
        ("a.example {\n forward . https://192.0.2.1/q\n forward . 192.0.2.2\n}", "https://192.0.2.1/q: no such server"),
        (
            "a.example {\n forward . tls://192.0.2.1 {\n tls a.pem b.pem\n }\n}",
            "tls a.pem b.pem: a client's certificate",
        ),
        (
            "a.example {\n forward . tls://192.0.2.1 {\n tls_servername a..b\n }\n}",
            "forward . tls://192.0.2.1: expected",
        ),
        ("a.example {\n forward . 192.0.2.1\n template IN A {\n rcode NXDOMAIN\n}\n}", "template IN A: only NXDOMAIN"),
        (". {\n forward . 192.0.2.1\n rewrite name exact a b\n}", "rewrite name exact a b: only"),
        ("a.example {\n forward . 192.0.2.1\n rewrite name suffix a b\n}", "rewrite name suffix a b: only"),
        ("a.example {\n forward b.a.example 192.0.2.1\n}", "forward b.a.example 192.0.2.1: only the whole zone"),
        ("a.example:5353 {\n forward . 192.0.2.1\n}", "block: only plain DNS on port 53"),
        ("tls://a.example {\n forward . 192.0.2.1\n}", "block: only plain DNS on port 53"),
        ("a.example {\n whoami\n}", "block: it forwards to nobody"),
        ("a.example {\n forward . 192.0.2.1\n hosts {\n 192.0.2.1 a\n}\n}", "hosts: only one whole file"),
        ("a.example {\n forward . 192.0.2.1\n hosts /a\n hosts /b\n}", "hosts /b: only one whole file"),
        (
            "a.example {\n forward . 192.0.2.1\n cache {\n serve_stale 1y\n}\n}",
            "serve_stale 1y: expected whole seconds",
        ),
        ("a.example {\n forward . 192.0.2.1\n cache {\n prefetch 2 1m\n}\n}", "1m: the time between hits"),
        ("a.example {\n forward . 192.0.2.1\n}\na.example {\n forward . 192.0.2.2\n}", "the zone stands in the file"),
        ("a..example {\n forward . 192.0.2.1\n}", "a..example: no name of a zone"),
        ("(x) {\n forward . 192.0.2.1\n import y\n}\na.example {\n import x\n}", "import y: there is nothing like it"),
    ],
)
def test_what_is_lost(block: str, line: str, tmp_path: Path, verb: Verb) -> None:
    """Each loss has its line, on stderr and at the head of the config, and --strict makes it a failure."""
    (tmp_path / "Corefile").write_text(HEAD + block)
    code, out, err = verb("import", str(tmp_path / "Corefile"), "--strict")
    assert (code, line in err, line in out) == (1, True, True)
    parse(out)


@pytest.mark.parametrize(
    ("cache", "success", "denial"),
    [
        ("cache", Ttl(3600, 5), Ttl(1800, 5)),
        ("cache 60", Ttl(60, 5), Ttl(60, 5)),
        ("cache 3", Ttl(3, 3), Ttl(3, 3)),
        ("cache 60 {\n denial 9984\n}", Ttl(60, 5), Ttl(60, 5)),
        ("cache {\n success 9984 100 0\n denial 9984 10 7\n}", Ttl(100, 0), Ttl(10, 7)),
    ],
)
def test_cache(cache: str, success: Ttl, denial: Ttl, tmp_path: Path, verb: Verb) -> None:
    """The cache plugin's numbers and defaults; its capacities mean nothing here."""
    (tmp_path / "Corefile").write_text(f"{HEAD}. {{\n forward . 192.0.2.1 {{\n policy sequential\n}}\n {cache}\n}}\n")
    config, err = imported(verb, tmp_path / "Corefile", "--strict")
    root = next(zone for zone in config.zones if zone.name == ".")
    assert (root.success, root.denial, root.policy, err) == (success, denial, "sequential", "")


@pytest.mark.parametrize(
    ("words", "stale"),
    [
        ("", Stale(3600, True)),
        ("24h", Stale(86400, True)),
        ("30m verify", Stale(1800)),
        ("1h immediate", Stale(3600, True)),
    ],
)
def test_serve_stale(words: str, stale: Stale, tmp_path: Path, verb: Verb) -> None:
    """With CoreDNS's defaults."""
    (tmp_path / "Corefile").write_text(f"{HEAD}. {{\n forward . 192.0.2.1\n cache {{\n serve_stale {words}\n}}\n}}\n")
    config, err = imported(verb, tmp_path / "Corefile", "--strict")
    assert next(zone for zone in config.zones if zone.name == ".").serve_stale == stale
    assert err == ""


def test_hosts(tmp_path: Path, verb: Verb) -> None:
    """A whole file becomes node.hosts; falling through is what it does anyway."""
    block = ". {\n forward . 192.0.2.1\n hosts /etc/coredns/hosts {\n fallthrough\n}\n}\n"
    (tmp_path / "Corefile").write_text(HEAD + block)
    config, err = imported(verb, tmp_path / "Corefile", "--strict")
    assert (config.node.hosts, err) == ("/etc/coredns/hosts", "")


def test_what_would_break_the_text(tmp_path: Path, verb: Verb) -> None:
    """A line's end in what is lost stays in its comment; a character that JSON writes as two surrogates is one."""
    block = '. {\n forward . 192.0.2.1\n hosts /etc/\U0001f600\n bogus "a\ncluster.domain = 1"\n}\n'
    (tmp_path / "Corefile").write_text(HEAD + block)
    config, err = imported(verb, tmp_path / "Corefile")
    assert config.node.hosts == "/etc/\U0001f600"
    assert "bogus" in err


def test_except(tmp_path: Path, verb: Verb) -> None:
    """Names below the zone go to the zone above; a name that never gets there is nothing to carry over."""
    block = "corp.example {\n forward . 192.0.2.1 {\n except a.corp.example other.example\n}\n}\n"
    (tmp_path / "Corefile").write_text(f"{HEAD}{block}. {{\n forward . 192.0.2.9\n}}\n")
    config, err = imported(verb, tmp_path / "Corefile", "--strict")
    assert (zones(config)["a.corp.example."][0], err) == (["192.0.2.9:53"], "")


def test_kube_dns(tmp_path: Path, verb: Verb) -> None:
    """Stub domains become zones and upstreams replace the root's, alone or beside a Corefile."""
    (tmp_path / "stubDomains").write_text(json.dumps({"corp.example": ["192.0.2.1", "192.0.2.2:5353"]}))
    (tmp_path / "upstreamNameservers").write_text(json.dumps(["192.0.2.9"]))
    (tmp_path / "Corefile.seed").write_text(SEED)
    alone, _ = imported(verb, tmp_path, "--pillar", "CLUSTER__DNS=10.96.0.10")
    beside, _ = imported(verb, tmp_path / "Corefile.seed", "--kube-dns", str(tmp_path))
    for config in (alone, beside):
        assert zones(config)["corp.example."] == (["192.0.2.1:53", "192.0.2.2:5353"], "udp", THIRTY, THIRTY)
        assert zones(config)["."][0] == ["192.0.2.9:53"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("stubDomains", "{", "expected JSON"),
        ("stubDomains", "[]", "expected a JSON object, got list"),
        ("stubDomains", '{"a.example": "192.0.2.1"}', "expected a list of servers"),
        ("stubDomains", '{"a.example": ["ns.example"]}', "expected IP or IP:port"),
        ("stubDomains", '{"a..b": ["192.0.2.1"]}', "a..b"),
        ("upstreamNameservers", '["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"]', "at most 3 servers, got 4"),
        ("upstreamNameservers", "[" * 100_000, "expected JSON"),
    ],
)
def test_bad_kube_dns(name: str, text: str, message: str, tmp_path: Path, verb: Verb) -> None:
    """Refused with the file and the reason, as node-cache refuses it."""
    (tmp_path / name).write_text(text)
    code, out, err = verb("import", str(tmp_path), "--pillar", "CLUSTER__DNS=10.96.0.10")
    assert (code, out, name in err, message in err) == (1, "", True, True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (". {\n cache\n", "line 1: expected a } for this block"),
        ("}\n", "line 1: expected a server block, got an unmatched }"),
        ("cache 30\n", "line 1: expected a server block"),
        (". {\n {\n }\n}\n", "line 2: expected a name before the {"),
        ("a {\n" * 9 + "}\n" * 9, "blocks in each other"),
        (". {\n" + " x\n" * 300 + "}\n", "at most 256 lines"),
    ],
)
def test_bad_corefile(text: str, message: str) -> None:
    """The line, what was expected, what is there."""
    with pytest.raises(SyntaxProblem, match=message.replace("{", "\\{").replace("}", "\\}")):
        parse_corefile(text)


def test_words() -> None:
    """Quotes, comments, several keys, snippets."""
    blocks = parse_corefile('(s) {\n errors\n}\na, b:53 { # x\n log "a \\"b\\" #c" d # e\n import s\n}\n')
    assert [block.words for block in blocks] == [("a", "b:53")]
    assert [line.words for line in blocks[0].block] == [("log", 'a "b" #c', "d"), ("errors",)]


def test_nothing_to_import(tmp_path: Path, verb: Verb) -> None:
    """Neither a file that is not there nor a kube-dns that nobody named makes a config."""
    assert verb("import", str(tmp_path / "none"))[0] == 1
    assert "give it: --pillar CLUSTER__DNS=IP" in verb("import", str(tmp_path))[2]
    (tmp_path / "Corefile").write_text(". {\n forward . 192.0.2.1\n}\n")
    code, out, err = verb("import", str(tmp_path / "Corefile"))
    assert (code, out, "cluster.dns" in err) == (1, "", True)


COREDNS = """
. {
    forward . tls://192.0.2.1 tls://192.0.2.2 {
        tls_servername dns.example
        max_concurrent 1000
    }
    cache 30 {
        prefetch 5
        serve_stale 1h immediate
        serve_stale_policy prefer_positive
    }
    rewrite stop name suffix .old.local .cluster.local answer auto
    loadbalance round_robin
}
bad.example {
    template ANY ANY {
        rcode NXDOMAIN
    }
}
"""


def test_what_else_coredns_says(tmp_path: Path, verb: Verb) -> None:
    """TLS, limits, prefetch, stale answers, rewrites, denied zones, rotation."""
    (tmp_path / "Corefile").write_text(HEAD + COREDNS)
    config, err = imported(verb, tmp_path / "Corefile", "--strict")
    assert err == ""
    by_name = {zone.name: zone for zone in config.zones}
    root = by_name["."]
    assert [str(at) for at in root.forward] == ["tls://192.0.2.1:853", "tls://192.0.2.2:853"]
    assert (root.tls, root.max_concurrent, root.prefetch) == (Tls("dns.example"), 1000, Prefetch(5, 10))
    assert (root.serve_stale, root.rotate) == (Stale(3600, True, True), True)
    assert by_name["old.local."].rewrite == "cluster.local."
    assert by_name["bad.example."].nxdomain == ("**",)
