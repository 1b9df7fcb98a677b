"""Writes the fuzz targets' seed corpus: python -m tests.fuzz.make_corpus. Run it after a change of a target's input.

The seeds are small whole messages, one for each shape the parsers tell apart: mutations of them reach far more than
mutations of nothing.
"""

from collections.abc import Iterator
from pathlib import Path

from dnslib import EDNS0, QTYPE, RR, DNSHeader, DNSQuestion, DNSRecord, EDNSOption

from nodedns.core import message

CORPUS = Path(__file__).parent / "corpus"
NAME = "www.a.b."  # fuzz_reply.c asks this
TYPES = {"A": b"\0", "SOA": b"\1", "ANY": b"\2", "AAAA": b"\3"}  # which of its keys
POLICY = (3600, 0, 1800, 0, 5, 7, 1)
SOA = "b. 60 SOA ns.b. admin.b. 1 7200 1800 86400 30"
EDE = EDNSOption(15, b"\0\x16no one answers")
COOKIE = EDNSOption(10, b"12345678")
REPLIES = {
    "a": ("A", f"{NAME} 300 A 10.0.0.1", "", ""),
    "aaaa": ("AAAA", f"{NAME} 300 AAAA fd00::1", "", ""),
    "chain": ("A", f"{NAME} 300 CNAME x.a.b.\nx.a.b. 20 CNAME y.c.\ny.c. 30 A 10.0.0.2", "", ""),
    "denial": ("A", "", SOA, ""),
    "soa": ("SOA", f"{NAME} 60 SOA ns.b. admin.b. 1 7200 1800 86400 30", "", ""),
    "many": ("A", "\n".join(f"{NAME} 30 A 10.0.0.{n}" for n in range(40)), "", "x.a.b. 9 A 10.0.0.1"),
    "srv": ("ANY", f"{NAME} 9 SRV 0 50 80 p.{NAME}\n{NAME} 9 SRV 0 50 80 q.{NAME}", "", f"p.{NAME} 9 A 1.1.1.1"),
    "naptr": ("ANY", f'{NAME} 9 NAPTR 100 10 "S" "SIP+D2U" "" _sip._udp.{NAME}', "", ""),
    "mixed": (
        "ANY",
        f"{NAME} 9 MX 10 m.{NAME}\n{NAME} 9 TXT x\n{NAME} 9 PTR a.b.\n{NAME} 9 DNAME 016300",
        "b. 9 NS n.b.",
        "",
    ),
    "signed": (
        "ANY",
        f"{NAME} 9 DS 1 8 2 AABBCCDD\n{NAME} 9 RRSIG DS 8 2 60 20300101000000 20200101000000 1 b. AAAA",
        "",
        "",
    ),
    "https": ("ANY", f"{NAME} 9 HTTPS 1 . alpn=h3,h2 port=443", "", ""),
}


def reply(qtype: str, *sections: str, rcode: int = 0) -> DNSRecord:
    found = DNSRecord(DNSHeader(qr=1, rd=1, ra=1, rcode=rcode), q=DNSQuestion(NAME, QTYPE.reverse[qtype]))
    for text, add in zip(sections, (found.add_answer, found.add_auth, found.add_ar), strict=True):
        add(*RR.fromZone(text))
    return found


def replies() -> Iterator[tuple[str, bytes, bytes]]:
    """(label, which key, message): each shape plain and with an OPT in front of the other additional records."""
    for label, (qtype, *sections) in REPLIES.items():
        yield label, TYPES[qtype], bytes(reply(qtype, *sections).pack())
        extended = reply(qtype, *sections)
        extended.ar.insert(0, EDNS0(udp_len=1232, flags="do", opts=[COOKIE, EDE]))
        yield f"{label}-edns", TYPES[qtype], bytes(extended.pack())
    for rcode in (2, 3, 5):
        yield f"rcode-{rcode}", TYPES["A"], bytes(reply("A", "", SOA, "", rcode=rcode).pack())
    yield "formerr-bare", TYPES["A"], bytes.fromhex("000081810000000000000000")


def queries() -> Iterator[tuple[str, bytes]]:
    """(label, packet)"""
    for qtype in ("A", "AAAA", "PTR", "HTTPS", "ANY", "AXFR"):
        yield qtype.lower(), bytes(DNSRecord.question("wWw.eXample.COM", qtype).pack())
    for label, edns in {
        "edns": EDNS0(udp_len=4096, flags="do", opts=[COOKIE]),
        "edns-1": EDNS0(udp_len=512, version=1),
    }.items():
        asked = DNSRecord.question("a.b")
        asked.add_ar(edns)
        yield label, bytes(asked.pack())
    ixfr = DNSRecord.question("b", "IXFR")
    ixfr.add_auth(*RR.fromZone(SOA))
    yield "ixfr", bytes(ixfr.pack())
    yield "notify", bytes(DNSRecord(DNSHeader(opcode=4), q=DNSQuestion("b", QTYPE.SOA)).pack())
    long_name = b"".join(b"\x3f" + b"x" * 63 for _ in range(3)) + b"\x3d" + b"x" * 61 + b"\0"
    yield "long-name", bytes.fromhex("000001000001000000000000") + long_name + b"\0\1\0\1"
    yield "no-question", bytes(12)


def entries() -> Iterator[tuple[str, bytes]]:
    """(label, blob)"""
    for label, which, octets in replies():
        qtype = {number: name for name, number in TYPES.items()}[which]
        key = b"\3www\1a\1b\0" + QTYPE.reverse[qtype].to_bytes(2, "big") + b"\0\1\0"
        made = message.make_entry(key, octets, 1, POLICY, 1000)
        if isinstance(made, bytes):
            yield label, made


def main() -> None:
    for target, seeds in {
        "query": [(label, b"\0" + octets) for label, octets in queries()],
        "reply": [(label, b"\0" + which + octets) for label, which, octets in replies()],
        "entry": [(label, b"\x18\2\0" + blob) for label, blob in entries()],
    }.items():
        room = CORPUS / target
        room.mkdir(parents=True, exist_ok=True)
        for label, octets in seeds:
            (room / label).write_bytes(octets)


if __name__ == "__main__":
    main()
