"""Where DNS is spoken, as a config file writes it: servers asked, addresses served, the fallback's. Pure."""

import ipaddress
import re
from contextlib import suppress
from dataclasses import dataclass, replace

from nodedns.config_values import ConfigError, each, name, path, refuse


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where DNS is spoken: canonical IP text (RFC 5952 for IPv6) and a port, 1 to 65535.

    A server asked may also be an absolute name ("dns.example."), and may speak TLS; `server_name` is then what its
    certificate must say, where it is not the address or name itself.
    """

    address: str
    port: int
    tls: bool = False
    server_name: str = ""

    @property
    def is_name(self) -> bool:
        """Must its address be asked for?"""
        return self.address.endswith(".")

    @property
    def tls_name(self) -> str:
        """What its certificate must say, "" for its address."""
        return self.server_name or (self.address.rstrip(".") if self.tls and self.is_name else "")

    def __str__(self) -> str:
        plain = f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address.rstrip('.')}:{self.port}"
        name = f"#{self.server_name}" if self.server_name else ""
        return f"tls://{plain}{name}" if self.tls else plain


@dataclass(frozen=True, slots=True)
class Forward:
    """The servers of a zone: written addresses, and the path of at most one resolv.conf(5) with more of them."""

    servers: tuple[Endpoint, ...]
    resolv_conf: str | None = None


DNS_PORT = 53
IP = 'an IP, "IP:port" or "[IPv6]:port"'


def endpoint(value: object) -> Endpoint:
    """An IP with or without a port; 53 where none is written.

    An IPv4 address in IPv6 clothes (RFC 4291 section 2.5.5.2) becomes IPv4, so that each host has one spelling.
    """
    if not isinstance(value, str):
        refuse(value, IP)
    host, port = value, "53"
    if value.startswith("["):
        host, _, port = value[1:].partition("]:")
    elif value.count(":") == 1:
        host, _, port = value.partition(":")
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        refuse(value, IP)
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.is_link_local:
            refuse(value, IP, "an IPv6 link-local address needs a scope, which is not supported")
        ip = ip.ipv4_mapped or ip
    if ip.is_unspecified:
        refuse(value, IP, "one exact address: a reply must come from the address that was asked")
    if ip.is_multicast or str(ip) == "255.255.255.255" or "%" in str(ip):
        refuse(value, IP, "not the address of one host")
    if not re.fullmatch(r"[0-9]{1,5}", port) or not 1 <= int(port) <= 65535:
        refuse(value, IP, "a port is 1 to 65535")
    return Endpoint(str(ip), int(port))


SERVER = f"{IP}, a name or tls://SERVER"
DOT_PORT = 853


def server(value: object) -> Endpoint:
    """A server to be asked: an endpoint, a host's name with or without a port, either over TLS as "tls://SERVER", with
    "#NAME" behind it where the certificate says another name."""
    if not isinstance(value, str) or not value.startswith("tls://"):
        return _host(value)
    bare, _, certified = value.removeprefix("tls://").partition("#")
    at = _host(bare)
    if certified and not re.fullmatch(r"[A-Za-z0-9._-]{1,253}", certified):
        refuse(value, SERVER, "the name behind # is a host's")
    has_port = re.search(r"(\]|^[^:]*):[0-9]+$", bare)
    return replace(at, tls=True, port=at.port if has_port else DOT_PORT, server_name=certified.rstrip("."))


def _host(value: object) -> Endpoint:
    found = re.fullmatch(r"([A-Za-z0-9._-]{1,253}?)(:[0-9]{1,5})?", value) if isinstance(value, str) else None
    if not found or not re.search(r"[A-Za-z]", found[1].rstrip(".").rpartition(".")[2]):
        return endpoint(value)  # RFC 3696 section 2: no top-level domain is all digits
    try:
        return Endpoint(name(found[1]), endpoint(f"192.0.2.1{found[2] or ''}").port)
    except ConfigError as error:
        refuse(value, SERVER, error.problems[0].hint)


def over_tls(at: Endpoint) -> Endpoint:
    """A server of a zone whose transport is TLS."""
    return at if at.tls else replace(at, tls=True, port=DOT_PORT if at.port == DNS_PORT else at.port)


# As many as CoreDNS takes in one `forward`.
MAX_SERVERS = 15


def cluster_dns(value: object) -> Forward:
    """The servers of the cluster's own zones: addresses only, the node's resolv.conf knows nothing of a cluster."""
    return Forward(each(value, IP, MAX_SERVERS, endpoint))


def forward(value: object) -> Forward:
    """The servers of a zone: addresses, and at most one path of a resolv.conf."""
    found = each(value, f"{SERVER}, or the path of a resolv.conf", MAX_SERVERS, _server)
    files = [item for item in found if isinstance(item, str)]
    if len(files) > 1:
        refuse(value, "at most one resolv.conf", f"it names {len(files)}")
    return Forward(tuple(item for item in found if isinstance(item, Endpoint)), files[0] if files else None)


def _server(value: object) -> Endpoint | str:
    return path(value) if isinstance(value, str) and value.startswith("/") else server(value)


def listen(value: object) -> tuple[Endpoint, ...]:
    """The addresses served: 16, because each costs two sockets for each of up to 64 workers, 2,048 descriptors."""
    return each(value, IP, 16, endpoint)


METRICS_PORT = 9253
"""node-cache's."""


def scraped(value: object) -> Endpoint | None:
    """Where HTTP is served: one address, or all of the host's (TCP answers from the one that was asked); None for
    "none"."""
    if value == "none":
        return None
    host, port = value, ""
    if isinstance(value, str) and (found := re.fullmatch(r"(\[.*\]|[^:]*):([0-9]+)", value)):
        host, port = found[1], found[2]
    wildcard = host in ("0.0.0.0", "::", "[::]")
    try:
        if not wildcard:
            at = endpoint(value)
        else:
            at = replace(endpoint(f"127.0.0.1:{port or METRICS_PORT}"), address=str(host).strip("[]"))
    except ConfigError as error:
        refuse(value, f'"none", {IP}', error.problems[0].hint)
    return at if port else replace(at, port=METRICS_PORT)


# One packet's choice among them is a draw in the kernel; kube-dns has two replicas, rarely eight.
MAX_FALLBACK = 32


def fallback(value: object) -> tuple[Endpoint, ...] | None:
    """Where the dead-man switch sends queries: None for "auto", else the addresses; none at all for "none"."""
    if value in ("auto", "none"):
        return None if value == "auto" else ()
    return each(value, f'"auto", "none", {IP}', MAX_FALLBACK, endpoint)


def certified(value: object) -> str:
    """A host's name as a certificate says it."""
    return name(value).rstrip(".")


def nameservers(resolv_conf_text: str) -> tuple[Endpoint, ...]:
    """The servers of a resolv.conf(5), port 53, each once, at most 15 (config_values.MAX_SERVERS).

    As in glibc the keyword starts its line, and a line that makes no sense is passed over. So is an IPv6 link-local
    server: its scope ("fe80::1%eth0") cannot be kept in an Endpoint.
    """
    found: dict[Endpoint, None] = {}
    for line in resolv_conf_text.split("\n"):
        words = line.split()
        if len(words) > 1 and words[0] == "nameserver" and line.startswith("nameserver"):
            with suppress(ConfigError):
                found[endpoint(f"[{words[1]}]:53")] = None  # in brackets only an IP will do, and no port
    return tuple(found)[:MAX_SERVERS]
