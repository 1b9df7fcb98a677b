"""The ways to an upstream: over TLS, by its name, by the other transport, with mixed case, and back to us."""

import itertools
import socket
import ssl
import threading
import time
from pathlib import Path

import dnslib
import pytest

from tests.ports import free_port
from tests.service.scripted import Asked, Handler, Scripted
from tests.service.service import Service
from tests.service.test_upstreams import ask, ask_tcp, ede

CERTIFICATES = Path(__file__).parent / "certificates"
NETWORK_ERROR, NO_REACHABLE_AUTHORITY = 23, 22


class Tls(Scripted):
    """The same over TLS, and what is known of its connections."""

    def __init__(self, handler: Handler = lambda asked: [asked.answer()]) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(CERTIFICATES / "server.pem", CERTIFICATES / "server.key")
        self.context.set_alpn_protocols(["dot"])
        self.resumed: list[bool | None] = []
        self.limit = 1000  # queries on a connection
        super().__init__(handler)

    def stream(self, stream: socket.socket, peer: tuple[str, int]) -> None:
        """One connection."""
        try:
            with self.context.wrap_socket(stream, server_side=True) as wrapped, wrapped.makefile("rb") as file:
                assert wrapped.selected_alpn_protocol() == "dot"
                self.resumed.append(wrapped.session_reused)
                for _ in range(self.limit):
                    if len(size := file.read(2)) < 2:
                        return
                    for reply in self.take(file.read(int.from_bytes(size)), "tls", peer):
                        wrapped.sendall(len(reply).to_bytes(2) + reply)
        except OSError:
            return


def serve(home: Path, zone: str, upstream: int = 1, workers: int = 1) -> Service:
    """A service with this in its root zone's block."""
    (home / "nodedns.d").mkdir()
    (home / "nodedns.d/10.toml").write_text(f'[[zone]]\nname = "."\n{zone}\n')
    return Service(home, upstream, workers=workers)


@pytest.mark.parametrize(
    "zone",
    [
        'forward = ["tls://127.0.0.1:PORT#dns.test"]\ntls.ca = "CA"',
        'forward = ["127.0.0.1:PORT"]\ntransport = "tls"\ntls = { ca = "CA", server_name = "dns.test" }',
    ],
)
def test_tls(tmp_path: Path, zone: str) -> None:
    """Verified, padded, many questions on a connection, and the next connection takes the session up again."""
    with Tls() as upstream:
        text = zone.replace("PORT", str(upstream.port)).replace("CA", str(CERTIFICATES / "server.pem"))
        with serve(tmp_path, text) as service:
            upstream.limit = 3
            for name in ("a.test", "mixed.test", "text.test"):
                assert ask(service, name).header.rcode == 0
            assert str(ask(service, "next.test").rr[0].rdata) == "a.test."
            assert len(ask_tcp(service, "many.test").rr) == 500
            late = service.late()
        assert {len(asked.packet) % 128 for asked in upstream.asked} == {0}
        assert 0 <= len(upstream.asked) - 5 <= late
        assert {asked.proto for asked in upstream.asked} == {"tls"}
        assert upstream.resumed == [False, True]


@pytest.mark.parametrize(("name", "authority"), [("other.test", "server.pem"), ("dns.test", "other.pem")])
def test_a_stranger_over_tls(tmp_path: Path, name: str, authority: str) -> None:
    """Another name, or an authority that did not sign: not a question is asked, in any way, and the log says why."""
    with Tls() as upstream:
        text = f'forward = ["tls://127.0.0.1:{upstream.port}#{name}"]\ntls.ca = "{CERTIFICATES / authority}"'
        with serve(tmp_path, text) as service:
            reply = ask(service, "a.test")
            assert (reply.header.rcode, ede(reply)) == (2, NETWORK_ERROR)
            assert upstream.asked == []
            counters = service.counters()
            assert (counters["upstream_udp"], counters["upstream_errors"]) == (0, 2)
            assert 1 <= counters["tls_errors"] <= 2  # one that takes longer than 1.5 s is none
            assert service.tail().count("certificate verify failed") == 1


def test_a_server_by_its_name(tmp_path: Path) -> None:
    """Its address is asked for in the zone that has the name, once for as long as that answer lives."""

    def where(asked: Asked) -> list[bytes]:
        reply = asked.reply()
        if asked.message.q.qtype == 1:
            reply.add_answer(dnslib.RR(asked.name, 1, ttl=300, rdata=dnslib.A("127.0.0.1")))
        return [bytes(reply.pack())]

    with Scripted(where) as root, Scripted() as named:
        text = (
            f'forward = ["127.0.0.1:{root.port}"]\n[[zone]]\nname = "test"\nforward = ["ns.lab.example:{named.port}"]\n'
        )
        with serve(tmp_path, text) as service:
            assert str(ask(service, "a.test").rr[0].rdata) == "192.0.2.1"
            assert str(ask_tcp(service, "next.test").rr[0].rdata) == "a.test."
            assert {asked.name for asked in root.asked} == {"ns.lab.example."}
            assert [name for name, _ in itertools.groupby(asked.name for asked in named.asked)] == [
                "a.test.",
                "next.test.",
            ]
            assert len(root.asked) - 1 <= service.late()
            assert len(named.asked) - 2 <= service.late()


def test_a_name_nobody_knows(tmp_path: Path) -> None:
    """SERVFAIL at once."""
    with Scripted() as root:
        text = f'forward = ["127.0.0.1:{root.port}"]\n[[zone]]\nname = "test"\nforward = ["ns.lab.example"]\n'
        with serve(tmp_path, text) as service:
            reply = ask(service, "a.test")
            assert (reply.header.rcode, ede(reply)) == (2, NETWORK_ERROR)
            assert service.counters()["upstream_timeouts"] <= 1  # waited for, all three attempts would be counted


def formerr(asked: Asked) -> list[bytes]:
    """Takes no EDNS over UDP."""
    reply = asked.reply()
    reply.header.rcode = 1
    return [bytes(reply.pack()) if asked.proto == "udp" else asked.answer()]


@pytest.mark.parametrize(
    ("handler", "attempts"),
    [(formerr, 1), (lambda asked: [] if asked.proto == "udp" else [asked.answer()], 2)],
    ids=["FORMERR", "UDP is dropped"],
)
def test_the_other_transport(tmp_path: Path, handler: Handler, attempts: int) -> None:
    """What gets no good answer over UDP is asked over TCP: after a bad one at once, otherwise as the last attempt."""
    with Scripted(handler) as upstream, serve(tmp_path, f'forward = "127.0.0.1:{upstream.port}"') as service:
        assert str(ask(service, "a.test").rr[0].rdata) == "192.0.2.1"
        assert [asked.proto for asked in upstream.asked] == [*["udp"] * attempts, "tcp"]


def test_tcp_is_cut_off(tmp_path: Path) -> None:
    """What gets no answer over TCP is asked over UDP."""
    upstream = Scripted(lambda asked: [] if asked.proto == "tcp" else [asked.answer()])
    with upstream, serve(tmp_path, f'forward = "127.0.0.1:{upstream.port}"\ntransport = "tcp"') as service:
        assert str(ask(service, "a.test").rr[0].rdata) == "192.0.2.1"
        assert [asked.proto for asked in upstream.asked] == ["tcp", "tcp", "udp"]


def test_mixed_case(tmp_path: Path) -> None:
    """Names go out in mixed case; a reply that does not repeat it is no answer, and TCP finds out."""
    spoil = threading.Event()

    def handler(asked: Asked) -> list[bytes]:
        answer = asked.answer()
        return [answer[:12] + answer[12:].lower() if spoil.is_set() and asked.proto == "udp" else answer]

    with (
        Scripted(handler) as upstream,
        serve(tmp_path, f'forward = "127.0.0.1:{upstream.port}"\ndns0x20 = true') as service,
    ):
        long = "abcdefghijklmnopqrstuvwxyz.test"
        assert ask(service, long).header.rcode == 3
        name = upstream.asked[0].packet[12 : 12 + len(long) + 1]
        assert name not in (name.lower(), name.upper())
        spoil.set()
        reply = ask(service, "x" + long)
        assert (reply.header.rcode, str(reply.q.qname)) == (3, f"x{long}.")
        protos = [asked.proto for asked in upstream.asked]
        assert (protos[:2], protos[-1]) == (["udp", "udp"], "tcp")
        assert 0 <= len(protos) - 3 <= 2 * service.late()  # by both ways each time


class Relay(Scripted):
    """Asks another server, each question in a thread of its own."""

    def __init__(self) -> None:
        self.to = 0
        super().__init__()

    def take(self, packet: bytes, proto: str, peer: tuple[str, int]) -> list[bytes]:
        """Answers later."""
        threading.Thread(target=self.relay, args=(packet, peer), daemon=True).start()
        return []

    def relay(self, packet: bytes, peer: tuple[str, int]) -> None:
        """One question."""
        with socket.socket(type=socket.SOCK_DGRAM) as sock:
            sock.settimeout(3)
            sock.connect(("127.0.0.1", self.to))
            sock.send(packet)
            try:
                self.udp.sendto(sock.recv(4096), peer)
            except OSError:
                return


@pytest.mark.parametrize("workers", [1, 2])
def test_an_upstream_that_leads_back(tmp_path: Path, workers: int) -> None:
    """It is found out, said once, and not asked any more; the other zones serve on; when it is honest it is asked."""
    with Relay() as relay, Scripted() as honest:
        text = f'forward = "127.0.0.1:{relay.port}"\n[[zone]]\nname = "test"\nforward = "127.0.0.1:{honest.port}"'
        with serve(tmp_path, text, workers=workers) as service:
            relay.to = service.port
            first = ask(service, "a.example")
            assert (first.header.rcode, ede(first)) == (2, NO_REACHABLE_AUTHORITY)
            service.await_(
                lambda: ask(service, f"{time.monotonic_ns()}.example") and found(service), "aware of the loop"
            )
            began = time.monotonic()
            for n in range(5):
                assert ask(service, f"n{n}.example").header.rcode == 2
            assert time.monotonic() - began < 10.0  # one may find out for the other worker; five take 22 s
            assert ask(service, "a.test").header.rcode == 0
            assert f"127.0.0.1:{relay.port} of zone . leads back to us" in service.tail()
            relay.to = honest.port
            service.await_(lambda: ask(service, f"{time.monotonic_ns()}.example").header.rcode == 3, "asking it again")


def found(service: Service) -> bool:
    """Every worker has found out, or what is left of them has not been asked."""
    return service.counters()["loops"] >= 1


def test_closed_tls_port(tmp_path: Path) -> None:
    """Nobody listens: SERVFAIL at once."""
    with serve(tmp_path, f'forward = "tls://127.0.0.1:{free_port()}"') as service:
        reply = ask(service, "a.test")
        assert (reply.header.rcode, ede(reply)) == (2, NETWORK_ERROR)
        assert service.counters()["upstream_timeouts"] == 0
