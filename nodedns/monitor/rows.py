"""The counters of one server and zone, and of one upstream, as CoreDNS names them: texts with places for the numbers,
which are filled in as they lie in shared memory (native.fill). Nothing here is done once a line and scrape.
"""

import struct
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from nodedns import native
from nodedns.core.rows import DROPPED
from nodedns.monitor.text import DURATIONS, SIZES, SPARSE, VALUE, Page, histogram, labelled, series

_PROTOS = ("udp", "tcp")
_WAYS = ("udp", "tcp", "tcp-tls")
_TYPES = len(native.TYPE_NAMES)
_REPLIES = ("NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "OTHER")
RCODES = (*_REPLIES[:6], "YXDOMAIN", "YXRRSET", "NXRRSET", "NOTAUTH", "NOTZONE",
          *(f"RCODE{number}" for number in range(11, 16)), "BADVERS")  # fmt: skip
"""As CoreDNS writes them (miekg/dns), by number; 16, which it calls BADSIG, is always BADVERS here."""
NS = 1e9
DOWN = 2
"""From this state on an upstream is not asked (native/counters.h)."""
_end = sum(max(native.ROW.values()))
_ROW = native.ROW | {"types": (_end, _TYPES), "protos": (_end := _end + _TYPES, 2), "hits": (_end + 2, 2),
                     "misses": (_end + 4, 1), "asked": (_end + 5, 1)}  # fmt: skip
"""A row, and behind it what is made of it: requests by type and by protocol, hits by CoreDNS's kinds, misses, both."""
_UPSTREAM = native.UPSTREAM | {"by_rcode": (_end := native.UPSTREAM["state"][0], len(_REPLIES)),
                               "answered": (_end + len(_REPLIES), 1)}  # fmt: skip
_NOTHING = slice(0, 0)


class Part(NamedTuple):
    """A family's lines, where their values lie, and which of some numbers must not be 0 for them to be there."""

    family: str
    text: bytes
    first: slice
    then: slice = _NOTHING
    needs: int = 0


def _at(layout: dict[str, tuple[int, int]], field: str, number: int = 0, length: int = 0) -> slice:
    """Octets of a field, or of its part `number` of so many values."""
    begin, whole = layout[field]
    begin += number * length
    return slice(begin * 8, (begin + (length or whole)) * 8)


Made = Callable[[bytes], tuple[Sequence[int], Sequence[int]]]
"""From a row's values: what belongs behind them, and what Part.needs means."""


class Series:
    """The lines of a row or an upstream, kept for as long as its values stay the same."""

    def __init__(self, parts: Iterator[Part], made: Made, page: Page) -> None:
        self._parts, self._made = [part for part in parts if page.has(part.family)], made
        self._octets = b""
        self._filled: list[tuple[str, bytes]] = []

    def write(self, octets: bytes, page: Page) -> None:
        """Its samples, from its values as they lie in shared memory."""
        if octets != self._octets:
            self._octets, self._filled = octets, list(self._fill(octets))
        for family, text in self._filled:
            page.lines[family].append(text)

    def _fill(self, octets: bytes) -> Iterator[tuple[str, bytes]]:
        more, numbers = self._made(octets)
        values = octets + struct.pack(f"={len(more)}Q", *more)
        for family, text, first, then, needs in self._parts:
            if numbers[needs] and (filled := native.fill(text, values[first] + values[then])):
                yield family, filled


def row_series(server: str, zone: str, page: Page) -> Series:
    """What one of our servers did for one zone; of what never happened, nothing."""
    return Series(_row_parts(server, zone, page.openmetrics), _row_made, page)


def _row_made(octets: bytes) -> tuple[Sequence[int], Sequence[int]]:
    requests = struct.unpack(f"={2 * _TYPES}Q", octets[_at(_ROW, "requests")])
    udp, tcp = requests[:_TYPES], requests[_TYPES:]
    success, denial, failure, miss = struct.unpack("=4Q", octets[_at(_ROW, "hows")])
    protos = sum(udp), sum(tcp)
    hits = success, denial + failure
    return (*map(int.__add__, udp, tcp), *protos, *hits, miss, sum(hits) + miss), (sum(protos), *protos)


def _row_parts(server: str, zone: str, openmetrics: bool) -> Iterator[Part]:
    family = "2" if server.startswith("dns://[") else "1"
    # The cache plugin writes hits, and misses on their way out; what no zone took nobody has written.
    plugin = "" if zone == DROPPED else "cache"
    dns = labelled({"server": server, "zone": zone, "view": ""})
    cache = labelled({"server": server, "zones": zone, "view": ""})
    old = labelled({"server": server, "zone": zone})
    both = [f'proto="{proto}",family="{family}"' for proto in _PROTOS]
    types = [f'type="{kind}"' for kind in native.TYPE_NAMES]
    rcodes = [f'rcode="{rcode}"' for rcode in RCODES]
    written = [f'{rcode},plugin="{plugin}"' for rcode in rcodes]
    for name, field, base, more in (
        ("coredns_dns_requests_total", "requests", dns, [f"{a},{b}" for a in both for b in types]),
        ("coredns_dns_request_count_total", "protos", old, both),
        ("coredns_dns_request_type_count_total", "types", old, types),
        ("coredns_dns_do_requests_total", "dnssec_ok", dns, []),
        ("coredns_dns_request_do_count_total", "dnssec_ok", old, []),
        ("coredns_dns_responses_total", "rcodes", dns, written),
        ("coredns_dns_response_rcode_count_total", "rcodes", old, rcodes),
        ("coredns_cache_requests_total", "asked", cache, []),
        ("coredns_cache_hits_total", "hits", cache, ['type="success"', 'type="denial"']),
        ("coredns_cache_misses_total", "misses", cache, []),
        ("coredns_cache_prefetch_total", "prefetched", cache, []),
        ("coredns_cache_served_stale_total", "stale", cache, []),
    ):
        yield Part(name, _sparse(name, base, more), _at(_ROW, field))
    name = "coredns_dns_request_duration_seconds"
    durations, total = _at(_ROW, "durations"), _at(_ROW, "duration_ns")
    yield Part(name, histogram(name, dns, DURATIONS, openmetrics, seconds=True), durations, total)
    for kind in ("request", "response"):
        name = f"coredns_dns_{kind}_size_bytes"
        for way, proto in enumerate(_PROTOS):
            text = histogram(name, f'{dns},proto="{proto}"', SIZES, openmetrics)
            sizes, total = _at(_ROW, f"{kind}_sizes", way, len(SIZES) + 1), _at(_ROW, f"{kind}_octets", way, 1)
            yield Part(name, text, sizes, total, 1 + way)


def _sparse(name: str, base: str, more: Sequence[str]) -> bytes:
    """A line for each of the labels `more`, or one, where its value is not 0."""
    labels = [f"{base},{one}" for one in more] or [base]
    return "".join(f"{series(name, one)}{SPARSE}\n" for one in labels).encode()


def upstream_series(to: str, page: Page) -> Series:
    """What one upstream did for us."""
    return Series(_upstream_parts(labelled({"to": to}), page.openmetrics), _upstream_made, page)


def _upstream_made(octets: bytes) -> tuple[Sequence[int], Sequence[int]]:
    length = len(DURATIONS) + 1
    replies = struct.unpack(f"={len(_REPLIES) * length}Q", octets[_at(_UPSTREAM, "replies")])
    by_rcode = [sum(replies[at : at + length]) for at in range(0, len(replies), length)]
    return (*by_rcode, sum(by_rcode)), (1, *by_rcode)


def write_gauges(to: str, gauges: Sequence[tuple[int, int, int]], page: Page) -> None:
    """An upstream as our workers see it: (state, usual time in ns, open sockets) of each."""
    labels = labelled({"to": to})
    page.add("coredns_forward_sockets_open", sum(sockets for _, _, sockets in gauges), labels)
    page.add("nodedns_upstream_up", int(all(state < DOWN for state, _, _ in gauges)), labels)
    known = [rtt for _, rtt, _ in gauges if rtt]
    if known:
        page.add("nodedns_upstream_rtt_seconds", sum(known) / len(known) / NS, labels)


def _upstream_parts(to: str, openmetrics: bool) -> Iterator[Part]:
    proxied = f'proxy_name="forward",{to}'
    rcodes, protos = [f'rcode="{rcode}"' for rcode in _REPLIES], [f'proto="{way}"' for way in _WAYS]
    for name, field, base in (
        ("coredns_forward_requests_total", "answered", to),
        ("coredns_forward_request_count_total", "answered", to),
        ("coredns_forward_healthcheck_failures_total", "probe_failures", to),
        ("coredns_forward_healthcheck_failure_count_total", "probe_failures", to),
        ("coredns_proxy_healthcheck_failures_total", "probe_failures", proxied),
        ("nodedns_upstream_timeouts_total", "timeouts", to),
        ("nodedns_upstream_errors_total", "errors", to),
    ):
        yield Part(name, f"{series(name, base)}{VALUE}\n".encode(), _at(_UPSTREAM, field))
    for name, field, base, more in (
        ("coredns_forward_responses_total", "by_rcode", to, rcodes),
        ("coredns_forward_response_rcode_count_total", "by_rcode", to, rcodes),
        ("coredns_forward_conn_cache_hits_total", "reused", to, protos),
        ("coredns_forward_conn_cache_misses_total", "opened", to, protos),
        ("coredns_proxy_conn_cache_hits_total", "reused", proxied, protos),
        ("coredns_proxy_conn_cache_misses_total", "opened", proxied, protos),
        ("nodedns_upstream_queries_total", "sent", to, protos),
    ):
        yield Part(name, _sparse(name, base, more), _at(_UPSTREAM, field))
    for name, base in (
        ("coredns_forward_request_duration_seconds", to),
        ("coredns_proxy_request_duration_seconds", proxied),
    ):
        for number, rcode in enumerate(rcodes):
            text = histogram(name, f"{base},{rcode}", DURATIONS, openmetrics, seconds=True)
            buckets = _at(_UPSTREAM, "replies", number, len(DURATIONS) + 1)
            yield Part(name, text, buckets, _at(_UPSTREAM, "reply_ns", number, 1), 1 + number)
