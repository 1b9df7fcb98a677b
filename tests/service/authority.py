"""An authoritative server whose every answer follows from the name, so that anyone can check any answer octet by octet.

python -m tests.service.authority PORT [ADDRESS]     prints one line when it listens; "count\\n" on stdin prints what it
was asked

A name has one A record, the CRC-32 of the lower-case name; names that begin with "x" do not exist (SOA, negative TTL
60), with "kube-dns-endpoints" have the one address at which tests/node has its kube-dns (until "no endpoints" comes on
stdin), with "slow" are answered when "go" comes there, with "silent" never.
"""

import selectors
import socket
import sys
from collections import Counter
from zlib import crc32

from tests.ports import free_port, with_room

TTL = 600
ENDPOINTS = b"\x12kube-dns-endpoints"
KUBE_DNS = "10.244.2.10"


def lower_name(message: bytes) -> tuple[bytes, int]:
    """The question's name in lower case and where its type begins; queries of nodedns have no compression there."""
    at = 12
    while message[at]:
        at += 1 + message[at]
    return message[12 : at + 1].lower(), at + 1


def record(name: bytes) -> bytes:
    """The answer section of a name."""
    return b"\xc0\x0c\0\1\0\1" + TTL.to_bytes(4) + b"\0\4" + crc32(name).to_bytes(4)


def soa() -> bytes:
    """The authority section of a denial: SOA of the root, TTL 600, minimum 60."""
    data = b"\1a\0\1b\0" + b"".join(n.to_bytes(4) for n in (1, 2, 3, 4, 60))
    return b"\0\0\6\0\1" + TTL.to_bytes(4) + len(data).to_bytes(2) + data


def answer(message: bytes, endpoints: bool = True) -> bytes:
    """The reply to a query: AA, RA, no EDNS."""
    name, at = lower_name(message)
    question = message[12 : at + 4]
    if endpoints and name.startswith(ENDPOINTS):
        if message[at : at + 2] == b"\0\1":
            address = b"\xc0\x0c\0\1\0\1\0\0\0\5\0\4" + socket.inet_aton(KUBE_DNS)
            return message[:2] + b"\x85\x80\0\1\0\1\0\0\0\0" + question + address
        return message[:2] + b"\x85\x80\0\1\0\0\0\1\0\0" + question + soa()
    if name[1:2] == b"x" or name.startswith(ENDPOINTS):
        return message[:2] + b"\x85\x83\0\1\0\0\0\1\0\0" + question + soa()
    return message[:2] + b"\x85\x80\0\1\0\1\0\0\0\0" + question + record(name)


class Authority:
    """The server's state."""

    def __init__(self, port: int, address: str = "127.0.0.1") -> None:
        self.udp = with_room(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        # free_port: a port the kernel picks for UDP may be a TCP client's of another test.
        self.udp.bind((address, port or free_port()))
        self.tcp = socket.socket()
        self.tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.tcp.bind((address, self.udp.getsockname()[1]))
        self.tcp.listen(64)
        self.asked: Counter[bytes] = Counter()
        self.endpoints = True
        self.held: list[tuple[bytes, object]] = []
        self.buffers: dict[socket.socket, bytes] = {}
        self.select = selectors.DefaultSelector()
        self.select.register(self.udp, selectors.EVENT_READ, self.datagram)
        self.select.register(self.tcp, selectors.EVENT_READ, self.accept)
        self.select.register(sys.stdin, selectors.EVENT_READ, self.command)

    def reply(self, message: bytes, send: object) -> None:
        """Answers now, later or never."""
        name, _ = lower_name(message)
        self.asked[name] += 1
        if name[1:7] == b"silent":
            return
        if name[1:5] == b"slow":
            self.held.append((message, send))
            return
        send(answer(message, self.endpoints))

    def datagram(self, _: object) -> None:
        """A UDP query."""
        message, peer = self.udp.recvfrom(4096)
        self.reply(message, lambda reply: self.udp.sendto(reply, peer))

    def accept(self, _: object) -> None:
        """A TCP connection."""
        stream, _ = self.tcp.accept()
        self.buffers[stream] = b""
        self.select.register(stream, selectors.EVENT_READ, self.stream)

    def stream(self, stream: socket.socket) -> None:
        """Some TCP queries."""
        try:
            data = stream.recv(65536)
        except ConnectionResetError:  # by a client that was killed
            data = b""
        if not data:
            self.select.unregister(stream)
            del self.buffers[stream]
            stream.close()
            return
        buffer = self.buffers[stream] + data
        while len(buffer) >= 2 and len(buffer) >= 2 + int.from_bytes(buffer[:2]):
            size = int.from_bytes(buffer[:2])
            self.reply(buffer[2 : 2 + size], lambda reply: stream.sendall(len(reply).to_bytes(2) + reply))
            buffer = buffer[2 + size :]
        self.buffers[stream] = buffer

    def command(self, _: object) -> None:
        """A line on stdin; its end is ours."""
        line = sys.stdin.readline()
        if not line:
            sys.exit(0)
        if line == "go\n":
            for message, send in self.held:
                send(answer(message))
            self.held.clear()
        elif line in ("endpoints\n", "no endpoints\n"):
            self.endpoints = not line.startswith("no")
        print(" ".join(f"{name.hex()}={n}" for name, n in self.asked.items()), flush=True)

    def run(self) -> None:
        """For ever."""
        print(self.udp.getsockname()[1], flush=True)
        while True:
            for key, _ in self.select.select():
                key.data(key.fileobj)


if __name__ == "__main__":
    Authority(int(sys.argv[1]), *sys.argv[2:]).run()
