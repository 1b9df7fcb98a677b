"""10,000 questions of mixed types to knotd, directly and through nodedns, cold and warm: the same records (RFC 5625
section 4.1).

The zone is signed, so every other question, with DO, has signatures and denials with proofs among its records.
"""

import random
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import dnslib
import pytest

from tests.ports import free_port
from tests.service.service import DEADLINE, Service

QUERIES = 10_000
WINDOW = 64  # questions in flight
NAMES = 700
KINDS = ("A", "AAAA", "MX", "TXT", "SRV", "CAA", "NAPTR", "CNAME", "HTTPS", "NS", "DS", "SOA", "TYPE65300")
CONFIG = """\
server:
    identity: test
    nsid: test
    version: test
    rundir: "{home}"
    listen: 127.0.0.1@{port}
database:
    storage: "{home}"
log:
  - target: stderr
    any: warning
zone:
  - domain: mixed.test
    storage: "{home}"
    file: zone
    dnssec-signing: on
    zonefile-sync: -1
"""
Outcome = tuple[int, tuple[tuple[tuple[str, int, bytes], ...], ...]]


def zone() -> str:
    """Every name has some of the types; some are aliases, some are delegations, one is a wildcard."""
    lines = ["$ORIGIN mixed.test.", "@ 300 SOA ns admin 1 3600 600 86400 300", "@ 300 NS ns", "ns 300 A 192.0.2.53"]
    lines += ["*.wild 300 A 192.0.2.200", "*.wild 300 TXT wild", "sub 300 NS ns.sub", "ns.sub 300 A 192.0.2.54"]
    for n in range(NAMES):
        own = [
            f"A 192.0.{n >> 8}.{n & 255}", f"AAAA 2001:db8::{n:x}", f"MX {n % 9} mx{n % 5}.mixed.test.",
            f'TXT "text {n}" "{"x" * (n % 200)}"', f"SRV 0 5 {n + 1} n{n // 2}", f'CAA 0 issue "ca{n}.test"',
            f'NAPTR 10 10 "s" "SIP+D2U" "" _sip._udp.n{n // 3}', f"TYPE65300 \\# 3 0{n % 10}0203",
        ]  # fmt: skip
        if n % 11 == 0:
            lines.append(f"n{n} 300 CNAME n{n + 1}")
        else:
            lines += [f"n{n} {60 + n} {one}" for i, one in enumerate(own) if (n >> i % 8) % 2 or i == n % 8]
    return "\n".join(lines) + "\n"


@pytest.fixture
def knot(tmp_path: Path) -> Iterator[int]:
    """knotd's port."""
    if shutil.which("knotd") is None:
        pytest.skip("needs knotd")
    home, port = tmp_path / "knot", free_port()
    home.mkdir()
    (home / "zone").write_text(zone())
    (home / "knot.conf").write_text(CONFIG.format(home=home, port=port))
    with subprocess.Popen(["knotd", "-c", str(home / "knot.conf")], stdin=subprocess.DEVNULL) as process:
        try:
            yield port
        finally:
            process.terminate()
            process.wait(DEADLINE)


def questions() -> list[bytes]:
    """Packets without their ids."""
    chance, packets = random.Random(1), []
    for n in range(QUERIES):
        name = chance.choice(
            [f"n{chance.randrange(NAMES + 50)}", f"n{chance.randrange(NAMES)}", f"w{n % 50}.wild", "gone.deep.sub", "@"]
        )
        query = dnslib.DNSRecord.question("mixed.test" if name == "@" else f"{name}.mixed.test", "A")
        kind = chance.choice(KINDS)
        query.q.qtype = int(kind[4:]) if kind.startswith("TYPE") else dnslib.QTYPE.reverse[kind]
        query.add_ar(dnslib.EDNS0(udp_len=1232, flags="do" if n % 2 else ""))
        packets.append(bytes(query.pack())[2:])
    return packets


def records(section: list[dnslib.RR]) -> tuple[tuple[str, int, bytes], ...]:
    """Owner, type and data, in order of the section's sets; OPT aside."""
    found = []
    for rr in section:
        if rr.rtype != 41:
            data = dnslib.DNSBuffer()
            rr.rdata.pack(data)
            found.append((str(rr.rname).lower(), rr.rtype, bytes(data.data).lower()))
    return tuple(found)


def outcome(reply: bytes) -> Outcome:
    message = dnslib.DNSRecord.parse(reply)
    return message.header.rcode, tuple(map(records, (message.rr, message.auth, message.ar)))


def ask_all(port: int, packets: list[bytes]) -> list[bytes]:
    """Their replies; what is truncated is asked again over TCP."""
    replies: list[bytes] = []
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.connect(("127.0.0.1", port))
        sock.settimeout(DEADLINE)
        for start in range(0, len(packets), WINDOW):
            chunk = packets[start : start + WINDOW]
            for n, packet in enumerate(chunk):
                sock.send(n.to_bytes(2) + packet)
            found = {reply[:2]: reply for reply in (sock.recv(4096) for _ in chunk)}
            replies += [found[n.to_bytes(2)] for n in range(len(chunk))]
    cut = [n for n, reply in enumerate(replies) if reply[2] & 2]
    with socket.create_connection(("127.0.0.1", port), DEADLINE) as stream, stream.makefile("rb") as file:
        for n in cut:
            packet = b"\0\1" + packets[n]
            stream.sendall(len(packet).to_bytes(2) + packet)
            replies[n] = file.read(int.from_bytes(file.read(2)))
    return replies


def test_transparency(tmp_path: Path, knot: int) -> None:
    """Not a record is lost, added or changed, in any section; a hit is what the miss was."""
    packets = questions()
    (tmp_path / "nodedns.d").mkdir()
    (tmp_path / "nodedns.d/10.toml").write_text('[[zone]]\nname = "."\ndenial = { max_ttl = 600 }\n')
    with Service(tmp_path, knot) as service:
        service.await_(lambda: ready(knot), "in front of a server")
        direct, cold, warm = (ask_all(port, packets) for port in (knot, service.port, service.port))
        counters = service.counters()
    meant, got, again = (list(map(outcome, replies)) for replies in (direct, cold, warm))
    kinds = [sum(code == wanted for code, _ in meant) for wanted in (0, 3)]
    different = [n for n, want in enumerate(meant) if got[n] != want]
    print(f"{len(packets)} questions: {kinds[0]} NOERROR, {kinds[1]} NXDOMAIN; {counters['stored']} stored")
    assert not different, (packets[different[0]], meant[different[0]], got[different[0]])
    assert again == got
    assert counters["exhausted"] == 0


def ready(port: int) -> bool:
    """Does it sign already?"""
    query = dnslib.DNSRecord.question("mixed.test", "DNSKEY")
    try:
        with socket.socket(type=socket.SOCK_DGRAM) as sock:
            sock.settimeout(0.2)
            sock.connect(("127.0.0.1", port))
            sock.send(query.pack())
            return bool(dnslib.DNSRecord.parse(sock.recv(4096)).rr)
    except OSError:
        return False
