"""dnstap as octets: Frame Streams' frames, and the protobuf messages in them (dnstap.info; dnstap.proto, fstrm's
control.h). Pure.

A stream is bidirectional: we say READY, the receiver ACCEPT, we START, then data, STOP at the end, and it says FINISH.
A message here is always a CLIENT_RESPONSE: what we answered to a client, when it asked, and when we did.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv6Address

CONTENT_TYPE = b"protobuf:dnstap.Dnstap"
ACCEPT, START, STOP, READY, FINISH = 1, 2, 3, 4, 5
CONTROL_MAX = 512
"""Octets of a control frame at most (FSTRM_CONTROL_FRAME_LENGTH_MAX)."""
_CONTENT_FIELD = 1
_MESSAGE, _CLIENT_RESPONSE = 1, 6  # Dnstap.Type, Message.Type
_INET, _INET6, _UDP, _TCP = 1, 2, 1, 2  # SocketFamily, SocketProtocol
_SECOND = 1_000_000_000


def control(kind: int) -> bytes:
    """A control frame; those that begin a stream name what is in it."""
    body = kind.to_bytes(4)
    if kind in (READY, ACCEPT, START):
        body += _CONTENT_FIELD.to_bytes(4) + len(CONTENT_TYPE).to_bytes(4) + CONTENT_TYPE
    return bytes(4) + len(body).to_bytes(4) + body


def parse_control(body: bytes) -> tuple[int, list[bytes]]:
    """(type, content types) of a control frame without its escape and length. ValueError when it is none."""
    kind, at, types = int.from_bytes(body[:4]), 4, []
    if len(body) < 4 or not ACCEPT <= kind <= FINISH:
        raise ValueError("no control frame that is known")
    while at < len(body):
        field, size = int.from_bytes(body[at : at + 4]), int.from_bytes(body[at + 4 : at + 8])
        if field != _CONTENT_FIELD or at + 8 + size > len(body):
            raise ValueError("a field of a control frame is cut or unknown")
        types.append(body[at + 8 : at + 8 + size])
        at += 8 + size
    return kind, types


def data(payload: bytes) -> bytes:
    """A data frame."""
    return len(payload).to_bytes(4) + payload


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _fixed(field: int, value: int) -> bytes:
    return _varint(field << 3 | 5) + value.to_bytes(4, "little")


def _octets(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


@dataclass(frozen=True, slots=True)
class Answer:
    """What a message tells. Addresses are 16 octets, v4 mapped, b"" for unknown; times in ns since 1970; `message` is
    b"" when its octets were not kept; it stands for `weight` answers."""

    asked: int
    answered: int
    client: bytes
    client_port: int
    server: bytes
    server_port: int
    tcp: bool
    message: bytes
    weight: int


def _address(mapped: bytes) -> bytes:
    v4 = IPv6Address(mapped).ipv4_mapped
    return v4.packed if v4 else mapped


def _fields(answer: Answer) -> Iterator[bytes]:
    client = _address(answer.client)
    yield _number(1, _CLIENT_RESPONSE)
    yield _number(2, _INET if len(client) == 4 else _INET6)
    yield _number(3, _TCP if answer.tcp else _UDP)
    yield _octets(4, client)
    if answer.server:
        yield _octets(5, _address(answer.server))
    yield _number(6, answer.client_port)
    if answer.server:
        yield _number(7, answer.server_port)
    yield _number(8, answer.asked // _SECOND)
    yield _fixed(9, answer.asked % _SECOND)
    yield _number(12, answer.answered // _SECOND)
    yield _fixed(13, answer.answered % _SECOND)
    if answer.message:
        yield _octets(14, answer.message)


def message(answer: Answer, identity: bytes, version: bytes) -> bytes:
    """A Dnstap message. One that stands for several answers says so in `extra`: "weight 17"."""
    extra = _octets(3, f"weight {answer.weight}".encode()) if answer.weight > 1 else b""
    named = (_octets(field, value) for field, value in ((1, identity), (2, version)) if value)
    return b"".join((*named, extra, _octets(14, b"".join(_fields(answer))), _number(15, _MESSAGE)))
