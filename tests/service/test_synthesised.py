"""What is answered without asking, or by way of another name: records, patterns, rewrites, the ConfigMap."""

import json
from collections.abc import Callable
from itertools import groupby
from pathlib import Path

import dnslib
import pytest

from tests.service.scripted import Asked, Scripted
from tests.service.service import Service
from tests.service.test_upstreams import ask, ask_tcp
from tests.service.test_ways import serve


def texts(reply: dnslib.DNSRecord) -> list[str]:
    return [f"{rr.rname} {dnslib.QTYPE[rr.rtype]} {rr.rdata}" for rr in reply.rr]


RECORDS = """
[node]
records = [
  "db.corp.example 60 A 10.1.2.3", "db.corp.example A 10.1.2.4", "db.corp.example AAAA fd00::3",
  "www.corp.example CNAME a.test", "text.corp.example 60 IN TXT \\"two words\\" one",
  "_s._tcp.corp.example SRV 0 5 53 db.corp.example",
  "corp.example MX 10 db.corp.example", "3.2.1.10.in-addr.arpa PTR db.corp.example",
  "far.corp.example CNAME www.corp.example",
]
"""


@pytest.mark.parametrize("asking", [ask, ask_tcp])
@pytest.mark.parametrize(
    ("name", "qtype", "answer"),
    [
        ("DB.corp.example", "A", ["DB.corp.example. A 10.1.2.3", "DB.corp.example. A 10.1.2.4"]),
        ("db.corp.example", "AAAA", ["db.corp.example. AAAA fd00::3"]),
        ("db.corp.example", "MX", []),
        ("text.corp.example", "TXT", ['text.corp.example. TXT "two words","one"']),
        ("_s._tcp.corp.example", "SRV", ["_s._tcp.corp.example. SRV 0 5 53 db.corp.example."]),
        ("corp.example", "MX", ["corp.example. MX 10 db.corp.example."]),
        ("3.2.1.10.in-addr.arpa", "PTR", ["3.2.1.10.in-addr.arpa. PTR db.corp.example."]),
        ("www.corp.example", "CNAME", ["www.corp.example. CNAME a.test."]),
        ("www.corp.example", "A", ["www.corp.example. CNAME a.test.", "a.test. A 192.0.2.1"]),
        (
            "far.corp.example",
            "A",
            ["far.corp.example. CNAME www.corp.example.", "www.corp.example. CNAME a.test.", "a.test. A 192.0.2.1"],
        ),
    ],
)
def test_records(
    tmp_path: Path, asking: Callable[..., dnslib.DNSRecord], name: str, qtype: str, answer: list[str]
) -> None:
    """Answered as written, hit and miss; an alias is followed."""
    with Scripted() as upstream, serve(tmp_path, f'forward = "127.0.0.1:{upstream.port}"\n{RECORDS}') as service:
        for _ in range(2):
            reply = asking(service, name, qtype)
            assert reply.header.rcode == 0
            assert [text.lower() for text in texts(reply)] == [text.lower() for text in answer]
            assert bool(reply.auth) == (not answer)
        again = len(upstream.asked) - ("a.test" in str(answer[-1:]) and qtype == "A")
        assert 0 <= again <= service.late()


def test_the_search_list_goes_nowhere(tmp_path: Path) -> None:
    """200 names at ndots:5 with the seed's search list: what the patterns take is not asked for, the rest is."""
    search = ("default.svc.cluster.local", "svc.cluster.local", "cluster.local")
    patterns = '["**.com", "**.com.svc", "**.com.*.svc"]'
    with Scripted() as upstream:
        text = f'forward = "127.0.0.1:{upstream.port}"\n[[zone]]\nname = "cluster.local"\nnxdomain = {patterns}'
        with serve(tmp_path, text, upstream.port) as service:
            for n in range(50):
                for suffix in search:
                    reply = ask(service, f"h{n}.example.com.{suffix}")
                    assert (reply.header.rcode, len(reply.auth)) == (3, 1)
            assert upstream.asked == []
            for name in ("com.default.svc.cluster.local", "kube-dns.kube-system.svc.cluster.local", "h.example.com"):
                ask(service, name)
            assert [name for name, _ in groupby(asked.name for asked in upstream.asked)][-2:] == [
                "kube-dns.kube-system.svc.cluster.local.",
                "h.example.com.",
            ]
            assert len(upstream.asked) - 3 <= service.late()


def test_rewrite(tmp_path: Path) -> None:
    """Names of an old cluster domain are aliases of the new one's; what the new one denies is denied."""
    with Scripted() as upstream:
        text = f'forward = "127.0.0.1:{upstream.port}"\n[[zone]]\nname = "old.example"\nrewrite = "test"'
        with serve(tmp_path, text) as service:
            for asking in (ask, ask_tcp):
                reply = asking(service, "Chain.OLD.example")
                assert texts(reply) == [
                    "Chain.OLD.example. CNAME chain.test.",
                    "chain.test. CNAME next.test.",
                    "next.test. CNAME a.test.",
                    "a.test. A 192.0.2.1",
                ]
            assert len(ask_tcp(service, "many.old.example").rr) == 501
            gone = ask(service, "gone.old.example")
            assert (gone.header.rcode, texts(gone), len(gone.auth)) == (3, ["gone.old.example. CNAME gone.test."], 1)
            assert ask(service, "servfail.old.example").header.rcode == 2
            srv = ask(service, "_s._tcp.old.example", "SRV")
            assert texts(srv)[-1] == "_s._tcp.test. SRV 0 5 53 a.test."
            assert not any("old" in asked.name for asked in upstream.asked)


@pytest.mark.parametrize("name", ["a.onion", "onion", "B.Alt"])
def test_special_names_stay_here(tmp_path: Path, name: str) -> None:
    """Unless a zone of the config is for them."""
    with Scripted() as upstream, serve(tmp_path, f'forward = "127.0.0.1:{upstream.port}"') as service:
        assert ask(service, name).header.rcode == 3
        assert upstream.asked == []
        top = name.lower().rpartition(".")[2]
        service.config.write_text(
            service.config.read_text() + f'[[zone]]\nname = "{top}"\nforward = "127.0.0.1:{upstream.port}"\n'
        )
        assert service.reload()["ok"]
        ask(service, name)
        assert 0 <= len(upstream.asked) - 1 <= service.late()


def test_the_config_map(tmp_path: Path) -> None:
    """Its stub domains are zones, a change of it is a reload, and what is wrong there leaves the old ones."""
    folder = tmp_path / "kube-dns"
    folder.mkdir()
    (tmp_path / "nodedns.d").mkdir()
    (tmp_path / "nodedns.d/10.toml").write_text(f'cluster.config_map = "{folder}"\n')
    (folder / "stubDomains").write_text("{")
    with Scripted() as stub, Scripted() as root, Service(tmp_path, root.port) as service:
        assert "its zones are not served" in service.tail()
        ask(service, "a.test")
        assert 0 <= len(root.asked) - 1 <= service.late()
        (folder / "stubDomains").write_text(json.dumps({"test": [f"127.0.0.1:{stub.port}"]}))
        service.await_(lambda: ask(service, "next.test") and stub.asked, "reading the ConfigMap")
        (folder / "stubDomains").write_text("[]")
        service.await_(lambda: "expected a JSON object" in service.tail(), "complaining")
        ask(service, "mixed.test", "AAAA")
        again = sum(asked.name == "mixed.test." for asked in stub.asked) - 1
        assert 0 <= again <= service.late()


def two(asked: Asked) -> list[bytes]:
    """Three addresses of an alias, with what a server may add."""
    reply = asked.reply()
    reply.add_answer(*dnslib.RR.fromZone(f"{asked.name} 300 CNAME x.test."))
    reply.add_answer(*dnslib.RR.fromZone("\n".join(f"x.test. 300 A 192.0.2.{n}" for n in (1, 2, 3))))
    reply.add_auth(*dnslib.RR.fromZone("test. 300 NS ns.test."))
    reply.add_ar(*dnslib.RR.fromZone("ns.test. 300 A 192.0.2.9"))
    return [bytes(reply.pack())]


@pytest.mark.parametrize("minimal", [True, False])
def test_minimal_and_rotate(tmp_path: Path, minimal: bool) -> None:
    """Each address comes first in turn, behind the alias, with or without what a server adds."""
    with Scripted(two) as upstream:
        text = f'forward = "127.0.0.1:{upstream.port}"\nrotate = true\nminimal = {str(minimal).lower()}'
        with serve(tmp_path, text) as service:
            firsts = set()
            for _ in range(60):
                reply = ask(service, "y.test")
                assert texts(reply)[0] == "y.test. CNAME x.test."
                assert {str(rr.rdata) for rr in reply.rr[1:]} == {f"192.0.2.{n}" for n in (1, 2, 3)}
                assert (len(reply.auth), len([rr for rr in reply.ar if rr.rtype != 41])) == (
                    (0, 0) if minimal else (1, 1)
                )
                firsts.add(str(reply.rr[1].rdata))
            assert len(firsts) == 3


@pytest.mark.parametrize("asking", [ask, ask_tcp])
def test_localhost_never_leaves(tmp_path: Path, asking: Callable[..., dnslib.DNSRecord]) -> None:
    """It is answered here, over and over, and no upstream hears of it."""
    with Scripted() as upstream, serve(tmp_path, f'forward = "127.0.0.1:{upstream.port}"') as service:
        for name, address in (("localhost", "127.0.0.1"), ("a.localhost", "127.0.0.1"), ("localhost", "127.0.0.1")):
            assert str(asking(service, name).rr[0].rdata) == address
        assert str(asking(service, "1.0.0.127.in-addr.arpa", "PTR").rr[0].rdata) == "localhost."
        assert upstream.asked == []
