"""Questions to one upstream over TLS (RFC 7858): TCP's streams, the server's name checked, sessions resumed, queries
padded (RFC 8467).
"""

import ssl
from typing import TYPE_CHECKING

from nodedns.config import Endpoint, Tls
from nodedns.journal import log
from nodedns.worker.meter import TLS
from nodedns.worker.tcp import CONNECT, Stream, TcpUpstream

if TYPE_CHECKING:
    from nodedns.worker.forward import Forwarder

BLOCK = 128  # octets a query's length is a multiple of: RFC 8467 4.1
PADDING = 12  # option code, RFC 7830


class Context(ssl.SSLContext):
    """A client's context that takes up its last session again: asyncio has no word for that."""

    session: ssl.SSLSession | None = None

    def wrap_bio(self, *args: object, **named: object) -> ssl.SSLObject:
        """As SSLContext's."""
        return super().wrap_bio(*args, **{**named, "session": self.session})  # type: ignore[arg-type]


def context(server: Endpoint, tls: Tls) -> Context:
    """Verified against the system's authorities, or those of `tls.ca` alone. OSError when that is no file of them."""
    made = Context(ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.set_alpn_protocols(["dot"])
    if tls.ca:
        made.load_verify_locations(tls.ca)
    else:
        made.load_default_certs(ssl.Purpose.SERVER_AUTH)
    return made


def padded(packet: bytes) -> bytes:
    """A query of ours with its OPT record, which is its end, filled up to whole blocks."""
    fill = -(len(packet) + 4) % BLOCK
    option = PADDING.to_bytes(2) + fill.to_bytes(2) + bytes(fill)
    return packet[:-2] + len(option).to_bytes(2) + option


class TlsStream(Stream):
    """A connection whose handshake asyncio makes."""

    def wire(self, packet: bytes) -> bytes:
        """As it is sent."""
        return padded(packet)

    def data_received(self, data: bytes) -> None:
        """A server's ticket has come by the time of its first reply (RFC 8446 4.6.1)."""
        assert isinstance(self.upstream, TlsUpstream)
        if self.transport is not None:
            self.upstream.context.session = self.transport.get_extra_info("ssl_object").session
        super().data_received(data)


class TlsUpstream(TcpUpstream):
    """The transport to one endpoint."""

    stream = TlsStream
    way = TLS

    def __init__(self, forwarder: "Forwarder", server: Endpoint, row: int | None, tls: Tls) -> None:
        super().__init__(forwarder, server.address, server.port, row)
        self.name = server.server_name or tls.server_name or server.address
        self.context = context(server, tls)
        self.complained = ""

    async def handshake(self, stream: Stream) -> None:
        """Connects, and says once why it cannot."""
        loop = self.forwarder.loop
        try:
            await loop.create_connection(
                lambda: stream, *self.peer, ssl=self.context, server_hostname=self.name, ssl_handshake_timeout=CONNECT
            )
            self.complained = ""
        except ssl.SSLError as error:
            self.forwarder.server.add("tls_errors")
            if self.complained != str(error):
                self.complained = str(error)
                server = f"{self.peer[0]}:{self.peer[1]}"
                log("upstream_tls", f"{server} as {self.name}: {error}", upstream=server)
            raise
