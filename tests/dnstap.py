"""A dnstap receiver for tests, after fstrm's control.h and dnstap.proto: no code of ours is in it."""

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

CONTENT = b"protobuf:dnstap.Dnstap"
ACCEPT, START, STOP, READY, FINISH = range(1, 6)
# dnstap.proto's field numbers
DNSTAP = {1: "identity", 2: "version", 3: "extra", 14: "message", 15: "type"}
MESSAGE = {
    1: "type", 2: "socket_family", 3: "socket_protocol", 4: "query_address", 5: "response_address", 6: "query_port",
    7: "response_port", 8: "query_time_sec", 9: "query_time_nsec", 10: "query_message", 11: "query_zone",
    12: "response_time_sec", 13: "response_time_nsec", 14: "response_message",
}  # fmt: skip


def fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """A protobuf message's fields: number and value."""
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            octet = data[at]
            at += 1
            value |= (octet & 0x7F) << shift
            shift += 7
            if octet < 0x80:
                return value

    while at < len(data):
        tag = varint()
        kind = tag & 7
        if kind == 0:
            yield tag >> 3, varint()
        elif kind == 5:
            yield tag >> 3, struct.unpack("<I", data[at : at + 4])[0]
            at += 4
        else:
            assert kind == 2, kind
            size = varint()
            assert at + size <= len(data)
            yield tag >> 3, data[at : at + size]
            at += size


def decoded(frame: bytes) -> dict[str, Any]:
    """A Dnstap message, its own message's fields among them; every field known."""
    outer = {DNSTAP[number]: value for number, value in fields(frame)}
    assert outer.pop("type") == 1
    inner = {MESSAGE[number]: value for number, value in fields(outer.pop("message"))}
    return {**outer, **inner}


def control(kind: int, content: bytes | None = CONTENT) -> bytes:
    """A control frame."""
    body = struct.pack("!I", kind) + (struct.pack("!II", 1, len(content)) + content if content else b"")
    return struct.pack("!II", 0, len(body)) + body


class Frame(NamedTuple):
    control: bool
    body: bytes


class Receiver:
    """Listens on a Unix socket. `frames` is what came; `answer` is said to READY; without `reading` it stands still
    after START."""

    def __init__(self, path: Path, *, answer: bytes | None = None, reading: bool = True) -> None:
        self.path, self.answer, self.reading = path, answer or control(ACCEPT), reading
        self.frames: list[Frame] = []
        self.connections = 0
        self.ended = threading.Event()
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(str(path))
        path.chmod(0o777)
        self.listener.listen(4)
        self.streams: list[socket.socket] = []
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    def _serve(self) -> None:
        while True:
            try:
                stream, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            self.streams.append(stream)
            with contextlib.suppress(OSError):
                self._hear(stream)
            self.ended.set()

    def _hear(self, stream: socket.socket) -> None:
        file = stream.makefile("rb")
        while head := file.read(4):
            size = struct.unpack("!I", head)[0]
            is_control = size == 0
            if is_control:
                size = struct.unpack("!I", file.read(4))[0]
            frame = Frame(is_control, file.read(size))
            if len(frame.body) < size:
                return
            self.frames.append(frame)
            kind = struct.unpack("!I", frame.body[:4])[0] if is_control else 0
            if kind == READY:
                stream.sendall(self.answer)
            elif kind == START and not self.reading:
                return
            elif kind == STOP:
                stream.sendall(control(FINISH, None))

    def messages(self) -> list[dict[str, Any]]:
        """The data so far."""
        return [decoded(frame.body) for frame in list(self.frames) if not frame.control]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for stream in self.streams:
            with contextlib.suppress(OSError):
                stream.shutdown(socket.SHUT_RDWR)
            stream.close()
        self.path.unlink()
        self.thread.join()
