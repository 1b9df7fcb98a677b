"""RFC 8906 section 8 with dig, over UDP and TCP: the table of docs/rfc8906.md, row by row."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import dnslib
import pytest

from tests.service.scripted import SOA, Asked, Scripted
from tests.service.service import Service

DOCS = Path(__file__).resolve().parents[2] / "docs" / "rfc8906.md"
ROWS = re.findall(r"^\| (8\.[\d.]+) \| `(.*?)`.*? \| (.*?) \|$", DOCS.read_text(encoding="utf-8"), re.MULTILINE)
HAS = {
    "NOERROR": "status: NOERROR",
    "NOTIMP": "status: NOTIMP",
    "BADVERS": "status: BADVERS",
    "the SOA": "\tSOA\t",
    "OPT of version 0": "EDNS: version: 0",
    "opcode copied": "opcode: RESERVED15",
    "CD copied": r"flags: qr[a-z ]* cd[ ;]",
    "RA set": r"flags: qr[a-z ]* ra[ ;]",
    "DO copied": r"; EDNS: version: 0, flags: do;",
    "OPT in it": "EDNS: version: 0",
    "empty": "ANSWER: 0",
}
LACKS = {
    "no OPT": "EDNS:",
    "no SOA": "\tSOA\t",
    "Z clear": "MBZ|; z;| z ",
    "the option not echoed": "OPT=100",
    "the flag not echoed": "MBZ",
    "none of the options echoed": "COOKIE|NSID|EXPIRE|CLIENT-SUBNET",
}


def handler(asked: Asked) -> list[bytes]:
    """test. has a SOA."""
    if asked.name == "test." and asked.message.q.qtype in (6, 1000):
        reply = asked.reply()
        if asked.message.q.qtype == 6:
            reply.add_answer(dnslib.RR("test.", 6, ttl=300, rdata=SOA.rdata))
        else:
            reply.add_auth(SOA)
        return [bytes(reply.pack())]
    return [asked.answer()]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with Scripted(handler) as upstream, Service(tmp_path_factory.mktemp("rfc8906"), upstream.port) as running:
        yield running


def test_the_table_is_whole() -> None:
    """As many rows as the RFC has, each of words that are known here."""
    assert len(ROWS) == 17
    assert {part for _, _, expected in ROWS for part in expected.split(", ")} - {"TC over UDP"} == {*HAS, *LACKS}


@pytest.mark.parametrize("transport", ["+notcp", "+tcp"])
@pytest.mark.parametrize(("section", "probe", "expected"), ROWS)
def test_probe(service: Service, section: str, probe: str, expected: str, transport: str) -> None:
    """What dig prints has what is expected."""
    command = f"dig @127.0.0.1 -p {service.port} +noad +norec +time=5 +tries=1 {transport}"
    words = [*command.split(), *probe.replace("$zone", "test").split()]
    out = subprocess.run(words, capture_output=True, text=True, check=False).stdout
    if section == "8.2.7":
        assert bool(re.search(r"flags: qr tc", out)) == (transport == "+notcp"), out
        expected = expected.replace("TC over UDP, ", "")
    for part in expected.split(", "):
        if part in HAS:
            assert re.search(HAS[part], out), (part, out)
        else:
            assert not re.search(LACKS[part], out.partition("Got answer")[2]), (part, out)
