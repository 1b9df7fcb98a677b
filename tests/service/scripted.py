"""An upstream that does what a test tells it: right, late, wrong, cut or hostile."""

import contextlib
import socket
import threading
from collections import defaultdict
from collections.abc import Callable
from types import TracebackType
from typing import Self

import dnslib

from tests.ports import free_port, with_room

Handler = Callable[["Asked"], "list[bytes]"]

ZONE = dnslib.RR.fromZone("""
a.test. 300 A 192.0.2.1
mixed.test. 300 AAAA 2001:db8::1
chain.test. 300 CNAME next.test.
next.test. 200 CNAME a.test.
signed.test. 300 A 192.0.2.2
signed.test. 300 RRSIG A 8 2 300 20300101000000 20200101000000 1 test. c2lnbmF0dXJl
signed.test. 300 DS 1 8 2 0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20
_s._tcp.test. 300 SRV 0 5 53 a.test.
text.test. 300 TXT "hello"
""")
UNKNOWN = dnslib.RR("new.test.", 65300, ttl=300, rdata=dnslib.RD(b"\x01\x02\x03"))
HTTPS = dnslib.RR("web.test.", 65, ttl=300, rdata=dnslib.RD(b"\0\1\0\0\1\0\3\2h2"))  # 1 . alpn="h2"
MANY = [dnslib.RR("many.test.", 1, ttl=300, rdata=dnslib.A(f"10.9.{n >> 8}.{n & 255}")) for n in range(500)]
HUGE = [dnslib.RR("huge.test.", 16, ttl=300, rdata=dnslib.TXT([bytes([97 + n % 26]) * 250])) for n in range(120)]
SOA = dnslib.RR.fromZone("test. 600 SOA ns.test. admin.test. 1 3600 600 86400 60")[0]
RECORDS: defaultdict[str, list[dnslib.RR]] = defaultdict(list)  # by lower-case name: a walk through all takes 3 ms
for record in (*ZONE, UNKNOWN, HTTPS, *MANY, *HUGE):
    RECORDS[str(record.rname).lower()].append(record)


class Asked:
    """A query as the upstream got it."""

    def __init__(self, packet: bytes, proto: str, peer: tuple[str, int]) -> None:
        self.packet, self.proto, self.peer = packet, proto, peer
        self.message = dnslib.DNSRecord.parse(packet)
        self.name = str(self.message.q.qname).lower()
        self.id = self.message.header.id

    def reply(self) -> dnslib.DNSRecord:
        """An empty authoritative answer to it."""
        reply = self.message.reply(aa=1, ra=1)
        reply.header.ad = 0
        reply.auth.clear()
        reply.ar.clear()
        return reply

    def answer(self) -> bytes:
        """What ZONE says: an answer, NODATA, NXDOMAIN or, for servfail.test., SERVFAIL."""
        reply = self.reply()
        if self.name == "servfail.test.":
            reply.header.rcode = 2
            return bytes(reply.pack())
        own = RECORDS.get(self.name, [])
        while self.message.q.qtype != 5 and (chain := [r for r in own if r.rtype == 5]):
            reply.add_answer(*chain)
            own = RECORDS.get(str(chain[0].rdata.label).lower(), [])
        wants_signatures = any(r.rtype == 41 and r.edns_do for r in self.message.ar)
        reply.add_answer(*[r for r in own if r.rtype == self.message.q.qtype or (r.rtype == 46 and wants_signatures)])
        if not reply.rr or not own:
            reply.header.rcode = 0 if own else 3
            reply.add_auth(SOA)
        packed = bytes(reply.pack())
        if self.proto == "udp" and len(packed) > 1232:
            reply.rr.clear()
            reply.header.tc = 1
            packed = bytes(reply.pack())
        return packed


class Scripted:
    """UDP and TCP on one port. `handler` gives the replies to send, in order; what it got is in `asked`."""

    def __init__(self, handler: Handler = lambda asked: [asked.answer()], address: str = "127.0.0.1") -> None:
        self.handler = handler
        self.asked: list[Asked] = []
        self.connections: list[socket.socket] = []
        self.port = free_port()
        self.udp = with_room(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        self.udp.bind((address, self.port))
        self.tcp = socket.socket()
        self.tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.tcp.bind((address, self.port))
        self.tcp.listen(16)
        self.threads = [threading.Thread(target=target, daemon=True) for target in (self.datagrams, self.accept)]
        for thread in self.threads:
            thread.start()

    def datagrams(self) -> None:
        """UDP, until the socket is closed."""
        with contextlib.suppress(OSError):  # the end of a test closes the socket
            while True:
                packet, peer = self.udp.recvfrom(4096)
                for reply in self.take(packet, "udp", peer) if packet else ():
                    self.udp.sendto(reply, peer)

    def take(self, packet: bytes, proto: str, peer: tuple[str, int]) -> list[bytes]:
        """Notes a query; what to send for it."""
        try:
            asked = Asked(packet, proto, peer)
        except Exception:  # dnslib has no words for a name that is not UTF-8
            return [packet[:2] + b"\x81\x82" + bytes(8)]
        self.asked.append(asked)
        return self.handler(asked)

    def accept(self) -> None:
        """TCP, until the socket is closed."""
        while True:
            try:
                stream, peer = self.tcp.accept()
            except OSError:
                return
            self.connections.append(stream)
            threading.Thread(target=self.stream, args=(stream, peer), daemon=True).start()

    def stream(self, stream: socket.socket, peer: tuple[str, int]) -> None:
        """One connection."""
        with contextlib.suppress(OSError), stream, stream.makefile("rb") as file:  # the peer may reset it
            while len(size := file.read(2)) == 2:
                for reply in self.take(file.read(int.from_bytes(size)), "tcp", peer):
                    stream.sendall(len(reply).to_bytes(2) + reply)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        self.shut(self.udp, self.tcp)
        for thread in self.threads:  # after them no connection is added
            thread.join(5)
        self.shut(*self.connections)

    def shut(self, *socks: socket.socket) -> None:
        """Wakes whoever reads from them, and closes them."""
        for sock in socks:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
