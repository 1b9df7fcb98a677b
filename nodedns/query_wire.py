"""`nodedns query` on the wire: one question over UDP or TCP, and a reply shown as dig shows it.

dnslib reads the reply, so this serves an operator's terminal and never a serving process: a hostile reply can cost it
seconds. Whatever a reply holds is made printable first: a name or a TXT may carry terminal escape sequences.
"""

import re
import secrets
import socket
import struct
import time
from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

from dnslib import EDNS0, OPCODE, QTYPE, RCODE, TXT, DNSBuffer, DNSHeader, DNSLabel, DNSQuestion, DNSRecord

from nodedns.core.spelling import printable, spelled

UDP_SIZE = 1232
"""Bytes, the EDNS size we ask with: DNS Flag Day 2020's, which passes any link unfragmented."""

EDE_NAMES = (
    "Other Error", "Unsupported DNSKEY Algorithm", "Unsupported DS Digest Type", "Stale Answer", "Forged Answer",
    "DNSSEC Indeterminate", "DNSSEC Bogus", "Signature Expired", "Signature Not Yet Valid", "DNSKEY Missing",
    "RRSIGs Missing", "No Zone Key Bit Set", "NSEC Missing", "Cached Error", "Not Ready", "Blocked", "Censored",
    "Filtered", "Prohibited", "Stale NXDOMAIN Answer", "Not Authoritative", "Not Supported", "No Reachable Authority",
    "Network Error", "Invalid Data",
)  # fmt: skip
"""Extended DNS Errors by INFO-CODE (RFC 8914 section 4)."""

TOKEN = re.compile(r"\\[0-9]{3}|\\.?|\.|[^.\\]+", re.DOTALL)
"""A name as typed, in pieces: an escaped byte, an escaped character, a dot, a run of anything else."""

FLAGS = (("qr", 0x8000), ("aa", 0x400), ("tc", 0x200), ("rd", 0x100), ("ra", 0x80), ("ad", 0x20), ("cd", 0x10))


class Endpoint(Protocol):
    """Where a server listens: an IP address as text and a port."""

    @property
    def address(self) -> str: ...
    @property
    def port(self) -> int: ...


class Failed(Exception):
    """No answer. `word` is the verdict in one word (NXDOMAIN, TIMEOUT, ...), `detail` what was seen, if anything."""

    def __init__(self, word: str, detail: str = "") -> None:
        super().__init__(word, detail)
        self.word = word
        self.detail = detail


class Reply(NamedTuple):
    """A reply that belongs to its query: its bytes, how it came ("udp" or "tcp") and how long it took, in seconds."""

    wire: bytes
    proto: str
    seconds: float


def where(server: Endpoint) -> str:
    """ "127.0.0.1:53" or "[::1]:53"."""
    return f"[{server.address}]:{server.port}" if ":" in server.address else f"{server.address}:{server.port}"


def quoted(text: str | bytes) -> str:
    """A character-string in quotes, as a zone file has it."""
    data = text.encode(errors="surrogateescape") if isinstance(text, str) else text
    return '"' + printable(data.replace(b"\\", b"\\\\").replace(b'"', b'\\"')) + '"'


def labels_of(text: str) -> tuple[bytes, ...]:
    r"""The labels of a name as typed: \DDD and \. are escapes, a label beyond ASCII becomes its IDNA form (RFC 3490).

    ValueError says what is wrong with the name.
    """
    if text == ".":
        return ()
    labels = [b""]
    for token in TOKEN.findall(text if text.isascii() else text.encode("idna").decode()):
        if token == ".":
            labels.append(b"")
        elif token == "\\":
            raise ValueError("its last backslash escapes nothing")
        elif token.startswith("\\"):
            labels[-1] += bytes([int(token[1:])]) if len(token) == 4 else token[1:].encode()
        else:
            labels[-1] += token.encode()
    if not labels[-1]:
        labels.pop()
    if not labels or not all(labels):
        raise ValueError("it has an empty label")
    if max(map(len, labels)) > 63 or sum(map(len, labels)) + len(labels) + 1 > 255:
        raise ValueError("a label has at most 63 bytes and a name 255 (RFC 1035 section 2.3.4)")
    return tuple(labels)


def exchange(labels: tuple[bytes, ...], qtype: int, server: Endpoint, tcp: bool, timeout: float) -> Reply:
    """Ask once, with RD and EDNS; over TCP at once, or after a truncated reply. `timeout` in seconds bounds it all.

    Failed: TIMEOUT, UNREACHABLE, BADREPLY.
    """
    question = DNSQuestion(DNSLabel(labels), qtype)
    header = DNSHeader(id=secrets.randbelow(0x10000), rd=1)
    query = bytes(DNSRecord(header, q=question, ar=[EDNS0(udp_len=UDP_SIZE)]).pack())
    started = time.monotonic()
    deadline = started + timeout
    try:
        wire, proto = (b"", "udp") if tcp else (_ask_udp(query, server, deadline), "udp")
        if tcp or wire[2] & 0x02:
            wire, proto = _ask_tcp(query, server, deadline), "tcp"
    except TimeoutError as error:
        raise Failed("TIMEOUT") from error
    except OSError as error:
        raise Failed("UNREACHABLE", error.strerror or str(error)) from error
    return Reply(wire, proto, time.monotonic() - started)


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _belongs(query: bytes, reply: bytes) -> bool:
    """Same id and question (RFC 5452 section 9.1); only an error may leave the question out."""
    if len(reply) < 12 or reply[:2] != query[:2] or not reply[2] & 0x80:
        return False
    asked = query[12:-11]  # our OPT, without options, is the last 11 bytes (RFC 6891 section 6.1.2)
    return reply[12 : 12 + len(asked)] == asked or (reply[4:6] == b"\0\0" and reply[3] & 0x0F != 0)


def _ask_udp(query: bytes, server: Endpoint, deadline: float) -> bytes:
    family = socket.AF_INET6 if ":" in server.address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.connect((server.address, server.port))
        sock.send(query)
        while True:
            sock.settimeout(_left(deadline))
            reply = sock.recv(65535)
            if _belongs(query, reply):
                return reply


def _ask_tcp(query: bytes, server: Endpoint, deadline: float) -> bytes:
    with socket.create_connection((server.address, server.port), timeout=_left(deadline)) as sock:
        sock.sendall(struct.pack("!H", len(query)) + query)
        (length,) = struct.unpack("!H", _read_exactly(sock, 2, deadline))
        reply = _read_exactly(sock, length, deadline)
    if not _belongs(query, reply):
        raise Failed("BADREPLY", "its id or question is not the query's")
    return reply


def _read_exactly(sock: socket.socket, size: int, deadline: float) -> bytes:
    data = bytearray()
    while len(data) < size:
        sock.settimeout(_left(deadline))
        chunk = sock.recv(size - len(data))
        if not chunk:
            raise Failed("BADREPLY", f"the connection closed after {len(data)} of {size} bytes")
        data += chunk
    return bytes(data)


def parse(wire: bytes) -> Any:
    """The reply as a dnslib.DNSRecord. Failed(BADREPLY) when dnslib cannot read it."""
    try:
        return DNSRecord.parse(wire)
    except Exception as error:  # dnslib raises far more than its own DNSError: IndexError, RecursionError, ...
        raise Failed("BADREPLY", f"{len(wire)} bytes that dnslib cannot read: {printable(str(error))}") from error


def rcode_of(message: Any) -> int:
    """The 12-bit response code: the header's four bits and the OPT's eight (RFC 6891 section 6.1.3)."""
    extended = sum(record.edns_rcode for record in message.ar if record.rtype == QTYPE.OPT)
    return int(extended << 4 | message.header.rcode)


def rcode_name(rcode: int) -> str:
    return "BADVERS" if rcode == 16 else str(RCODE.get(rcode, f"RCODE{rcode}"))


def _rdata(record: Any) -> str:
    if isinstance(record.rdata, TXT):
        return " ".join(map(quoted, record.rdata.data))
    try:
        return printable(record.rdata.toZone())
    except Exception:  # a field that is not UTF-8: shown as RFC 3597 section 5 shows what has no text of its own
        buffer = DNSBuffer()
        record.rdata.pack(buffer)
        return f"\\# {len(buffer.data)} {buffer.data.hex()}"


def record_line(record: Any) -> str:
    """One resource record as a zone file has it, tabs between the fields."""
    rclass = "IN" if record.rclass == 1 else f"CLASS{record.rclass}"
    return f"{spelled(record.rname.label)}\t{record.ttl}\t{rclass}\t{QTYPE[record.rtype]}\t{_rdata(record)}"


def _opt_lines(opt: Any) -> Iterator[str]:
    yield ";; OPT PSEUDOSECTION:"
    yield f"; EDNS: version: {opt.edns_ver}, flags:{' do' if opt.edns_do else ''}; udp: {opt.edns_len}"
    for option in opt.rdata:
        if option.code != 15 or len(option.data) < 2:
            yield f"; OPT={option.code}: {option.data.hex()}"
            continue
        (code,) = struct.unpack_from("!H", option.data)
        name = EDE_NAMES[code] if code < len(EDE_NAMES) else "Unknown"
        yield f"; EDE: {code} ({name}): {quoted(option.data[2:])}"


def dig_lines(message: Any, reply: Reply, server: Endpoint) -> Iterator[str]:
    """The whole reply in dig's form: header, OPT with its Extended DNS Errors, every section, time, server, size."""
    header = message.header
    flags = " ".join(name for name, bit in FLAGS if header.bitmap & bit)
    yield f";; opcode: {OPCODE.get(header.opcode)}, status: {rcode_name(rcode_of(message))}, id: {header.id}"
    yield f";; flags: {flags}; QUERY: {header.q}, ANSWER: {header.a}, AUTHORITY: {header.auth}, ADDITIONAL: {header.ar}"
    for opt in message.ar:
        if opt.rtype == QTYPE.OPT:
            yield from _opt_lines(opt)
    yield ";; QUESTION SECTION:"
    for question in message.questions:
        rclass = "IN" if question.qclass == 1 else f"CLASS{question.qclass}"
        yield f";{spelled(question.qname.label)}\t{rclass}\t{QTYPE[question.qtype]}"
    for title, records in (("ANSWER", message.rr), ("AUTHORITY", message.auth), ("ADDITIONAL", message.ar)):
        shown = [record for record in records if record.rtype != QTYPE.OPT]
        if shown:
            yield f";; {title} SECTION:"
            yield from map(record_line, shown)
    yield f";; Query time: {reply.seconds * 1000:.0f} msec"
    yield f";; SERVER: {where(server)} ({reply.proto.upper()})"
    yield f";; MSG SIZE  rcvd: {len(reply.wire)}"
