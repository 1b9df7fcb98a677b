"""`nodedns query NAME [TYPE]`: ask one server one question and print what it says.

Types that c-ares knows go through aiodns, as an application would ask; everything else, and --raw, through query_wire,
because c-ares hides the flags, the negative answer's SOA and every type it does not know.
"""

import asyncio
import sys
from collections.abc import Iterator
from typing import Any

import aiodns
import pycares
from dnslib import QTYPE

from nodedns.core.spelling import printable, spelled
from nodedns.query_wire import (
    Endpoint,
    Failed,
    dig_lines,
    exchange,
    labels_of,
    parse,
    quoted,
    rcode_name,
    rcode_of,
    record_line,
    where,
)

FIELDS = {
    "A": ("addr host",),
    "AAAA": ("addr host",),
    "CAA": ("critical", "tag property", '"value'),
    "CNAME": (".cname",),
    "MX": ("priority", ".exchange host"),
    "NAPTR": ("order", "preference", '"flags', '"service', '"regexp regex', ".replacement"),
    "NS": (".nsdname host",),
    "PTR": (".dname name",),
    "SOA": (".mname nsname", ".rname hostmaster", "serial", "refresh", "retry", "expire expires", "minimum minttl"),
    "SRV": ("priority", "weight", "port", ".target host"),
    "TXT": ('"data text',),
}
"""RDATA of the types asked through aiodns, in zone file order. Each field: a mark ("." a name, '"' a character-string),
its attribute in pycares 5, and the one pycares 4 had where it differs."""

PYCARES_4_ADDRESSES = 256
"""Where pycares 4 cuts addresses short without a word (PYCARES_ADDRTTL_SIZE): such an answer is asked for anew."""

NOT_ASKED = frozenset({"OPT", "TKEY", "TSIG", "IXFR", "AXFR"})
"""Parts of a message, transactions and zone transfers: no questions for a resolver."""

TYPES = {name: number for name, number in QTYPE.reverse.items() if name not in NOT_ASKED}

VERDICTS = {
    "NXDOMAIN": "the name does not exist; check its spelling (a Service is NAME.NAMESPACE.svc.cluster.local)",
    "NODATA": "the name exists but has no record of this type; ask for another",
    "SERVFAIL": "the server could not find the answer; --raw shows its Extended DNS Error, its upstreams may know more",
    "REFUSED": "the server does not answer this client or this question; check its access rules",
    "FORMERR": "the server could not read the query; its log may say why",
    "NOTIMP": "the server does not implement this kind of query",
    "TIMEOUT": "no reply in time; check that the service runs and listens on this address",
    "UNREACHABLE": "nothing listens there or no route leads there; check the address, the port and the service",
    "BADREPLY": "the reply is not an answer to this query; check what listens on this address",
}

ARES_WORDS = {
    pycares.errno.ARES_ENODATA: "NODATA",
    pycares.errno.ARES_EFORMERR: "FORMERR",
    pycares.errno.ARES_ESERVFAIL: "SERVFAIL",
    pycares.errno.ARES_ENOTFOUND: "NXDOMAIN",
    pycares.errno.ARES_ENOTIMP: "NOTIMP",
    pycares.errno.ARES_EREFUSED: "REFUSED",
    pycares.errno.ARES_EBADRESP: "BADREPLY",
    pycares.errno.ARES_ECONNREFUSED: "UNREACHABLE",
    pycares.errno.ARES_ETIMEOUT: "TIMEOUT",
}


def type_number(text: str) -> int | None:
    """The number of a type's name in any case, or of TYPEnnn (RFC 3597 section 5); None when it is neither."""
    name = text.upper()
    digits = name.removeprefix("TYPE")
    if name != digits and digits.isascii() and digits.isdigit() and 0 < int(digits) <= 0xFFFF:
        return int(digits)
    return TYPES.get(name)


async def _ask_ares(name: str, qtype: str, server: Endpoint, tcp: bool, seconds: float) -> Any:
    """A pycares DNSResult, or with aiodns 3 (Debian 12 and 13) its older result or list of results."""
    # NOCHECKRESP: without it an older c-ares reports SERVFAIL and REFUSED as a server it could not reach.
    # EDNS is on by default but not once flags are given; pycares 4 has no name for it and lives without.
    flags = pycares.ARES_FLAG_NOCHECKRESP | getattr(pycares, "ARES_FLAG_EDNS", 0)
    resolver = aiodns.DNSResolver(
        nameservers=[server.address],
        udp_port=server.port,
        tcp_port=server.port,
        timeout=seconds,
        tries=1,
        flags=flags | (pycares.ARES_FLAG_USEVC if tcp else 0),
    )
    try:
        ask = resolver.query_dns if hasattr(resolver, "query_dns") else resolver.query
        # c-ares's own timer starts again after a truncated reply, and in aiodns 3 ticks once a second.
        return await asyncio.wait_for(ask(name, qtype), seconds)
    except aiodns.error.DNSError as error:
        word = ARES_WORDS.get(error.args[0])
        raise (Failed(word) if word else Failed("BADREPLY", printable(str(error.args[-1])))) from error
    except TimeoutError as error:
        raise Failed("TIMEOUT") from error
    finally:
        if hasattr(resolver, "close"):
            await resolver.close()


def _field(data: Any, field: str) -> str:
    attributes = field.lstrip('."').split()
    value = next(getattr(data, attribute) for attribute in attributes if hasattr(data, attribute))
    if field.startswith('"'):
        return quoted(value)
    text = printable(value if isinstance(value, bytes) else str(value))
    return text.rstrip(".") + "." if field.startswith(".") else text


def _ares_lines(result: Any, name: str, qtype: str) -> Iterator[tuple[str, str]]:
    """(type, line) of each record. aiodns 3 gives no owner, a TTL only for addresses: there the question's and "-"."""
    if hasattr(result, "answer"):
        rows = [(printable(row.name).rstrip(".") + ".", row.ttl, QTYPE[row.type], row.data) for row in result.answer]
    else:
        results = result if isinstance(result, list) else [result]
        rows = [(name, row.ttl if row.ttl >= 0 else "-", qtype, row) for row in results]
    for owner, ttl, rtype, data in rows:
        fields = " ".join(_field(data, field) for field in FIELDS[rtype]) if rtype in FIELDS else printable(str(data))
        yield rtype, f"{owner}\t{ttl}\tIN\t{rtype}\t{fields}"


def _through_ares(labels: tuple[bytes, ...], number: int, server: Endpoint, *, tcp: bool, timeout: float) -> None:
    name, qtype = spelled(labels), QTYPE[number]
    result = asyncio.run(_ask_ares(name, qtype, server, tcp, timeout))
    if isinstance(result, list) and len(result) >= PYCARES_4_ADDRESSES:
        _through_wire(labels, number, server, tcp=tcp, timeout=timeout, raw=False)
        return
    found = False
    for rtype, line in _ares_lines(result, name, qtype):
        print(line)
        found = found or rtype == qtype
    if not found:
        raise Failed("NODATA")


def _through_wire(
    labels: tuple[bytes, ...], number: int, server: Endpoint, *, tcp: bool, timeout: float, raw: bool
) -> None:
    reply = exchange(labels, number, server, tcp, timeout)
    message = parse(reply.wire)
    for line in dig_lines(message, reply, server) if raw else map(record_line, message.rr):
        print(line)
    rcode = rcode_of(message)
    if rcode:
        raise Failed(rcode_name(rcode))
    if not any(number in (record.rtype, QTYPE.ANY) for record in message.rr):
        raise Failed("NODATA")


def run(name: str, qtype: str, server: Endpoint, tcp: bool, timeout: float, *, raw: bool = False) -> int:
    """Ask `server` for `name` and `qtype`; print the answer's records, or with `raw` the whole reply as dig does.

    `timeout` in seconds bounds everything. Exit code: 0 the records are on stdout; 1 there are none, and stderr has one
    line that starts with the verdict's word; 2 the name or the type cannot be asked.
    """
    number = type_number(qtype)
    if number is None:
        print(f"query: '{printable(qtype)}' is no type; TYPEnnn or one of {' '.join(sorted(TYPES))}", file=sys.stderr)
        return 2
    try:
        labels = labels_of(name)
    except ValueError as error:
        print(f"query: '{printable(name)}' is no domain name: {error}", file=sys.stderr)
        return 2
    kind, spelling = QTYPE[number], spelled(labels)
    try:
        if raw or kind not in FIELDS or "\\" in spelling:
            _through_wire(labels, number, server, tcp=tcp, timeout=timeout, raw=raw)
        else:
            _through_ares(labels, number, server, tcp=tcp, timeout=timeout)
    except Failed as failed:
        seen = f" ({failed.detail})" if failed.detail else ""
        meaning = VERDICTS.get(failed.word, "the server answered with an error")
        print(f"{failed.word}: {spelling} {kind} at {where(server)}: {meaning}{seen}", file=sys.stderr)
        return 1
    return 0
