"""The counters of one server and zone, and of one upstream, as CoreDNS names them."""

from collections.abc import Iterator, Sequence

from nodedns import native
from nodedns.core.figures import Figures
from nodedns.core.rows import DROPPED
from nodedns.monitor.text import DURATIONS, SIZES, Histogram, Page, labelled, series

_PROTOS = ("udp", "tcp")
_WAYS = ("udp", "tcp", "tcp-tls")
_REPLIES = ("NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "OTHER")
RCODES = (*_REPLIES[:6], "YXDOMAIN", "YXRRSET", "NXRRSET", "NOTAUTH", "NOTZONE",
          *(f"RCODE{number}" for number in range(11, 16)), "BADVERS")  # fmt: skip
"""As CoreDNS writes them (miekg/dns), by number; the last one is what we count as number 16."""
NS = 1e9

Sparse = tuple[str, list[str], str]
"""Family, what stands before each value, and which values."""


class RowSeries:
    """What one of our servers did for one zone."""

    def __init__(self, server: str, zone: str, page: Page) -> None:
        labels = labelled({"server": server, "zone": zone, "view": ""})
        self._sparse = [one for one in _sparse(server, zone, labels) if page.has(one[0])]
        self._shown = page.has("coredns_dns_request_duration_seconds")
        name, openmetrics = "coredns_dns_request_duration_seconds", page.openmetrics
        self._duration = Histogram(name, labels, DURATIONS, NS, openmetrics)
        self._sizes = [
            (kind, Histogram(f"coredns_dns_{kind}_size_bytes", f'{labels},proto="{proto}"', SIZES, 0, openmetrics), way)
            for way, proto in enumerate(_PROTOS)
            for kind in ("request", "response")
        ]

    def write(self, row: Figures, page: Page) -> None:
        """Its samples; of what never happened, none."""
        types = len(native.TYPE_NAMES)
        udp, tcp = row["requests"][:types], row["requests"][types:]
        success, denial, failure, miss = row["hows"]
        values = row | {
            "protos": (sum(udp), sum(tcp)),
            "types": tuple(map(int.__add__, udp, tcp)),
            "hits": (success, denial + failure),
            "misses": (miss,),
            "asked": (success + denial + failure + miss,),
        }
        if not (self._shown and any(values["protos"])):
            return
        for name, prefixes, key in self._sparse:
            page.lines[name] += [before + str(n) for before, n in zip(prefixes, values[key], strict=True) if n]
        page.lines["coredns_dns_request_duration_seconds"].append(
            self._duration.text(row["durations"], row["duration_ns"][0])
        )
        for kind, histogram, way in self._sizes:
            if values["protos"][way]:
                buckets = _part(row[f"{kind}_sizes"], way, len(SIZES) + 1)
                page.lines[f"coredns_dns_{kind}_size_bytes"].append(histogram.text(buckets, row[f"{kind}_octets"][way]))


def _sparse(server: str, zone: str, dns: str) -> Iterator[Sparse]:
    """What has a line only where it is not 0."""
    family = "2" if server.startswith("dns://[") else "1"
    # The cache plugin writes hits, and misses on their way out; what no zone took nobody has written.
    plugin = "" if zone == DROPPED else "cache"
    cache = labelled({"server": server, "zones": zone, "view": ""})
    old = labelled({"server": server, "zone": zone})
    both = [f'proto="{proto}",family="{family}"' for proto in _PROTOS]
    types = [f'type="{kind}"' for kind in native.TYPE_NAMES]
    rcodes = [f'rcode="{rcode}"' for rcode in RCODES]
    written = [f'{rcode},plugin="{plugin}"' for rcode in rcodes]
    for name, key, base, more in (
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
        yield name, [series(name, f"{base},{one}") for one in more] or [series(name, base)], key


class UpstreamSeries:
    """What one upstream did for us."""

    def __init__(self, to: str, page: Page) -> None:
        self._to = labelled({"to": to})
        self._proxied = f'proxy_name="forward",{self._to}'
        self._durations = [
            [
                (name, Histogram(name, f'{labels},rcode="{rcode}"', DURATIONS, NS, page.openmetrics))
                for name, labels in (
                    ("coredns_forward_request_duration_seconds", self._to),
                    ("coredns_proxy_request_duration_seconds", self._proxied),
                )
                if page.has(name)
            ]
            for rcode in _REPLIES
        ]

    def write(self, row: Figures, page: Page) -> None:
        """Its samples."""
        length = len(DURATIONS) + 1
        replies = [sum(_part(row["replies"], number, length)) for number in range(len(_REPLIES))]
        for name in ("coredns_forward_requests_total", "coredns_forward_request_count_total"):
            page.add(name, sum(replies), self._to)
        for number, count in enumerate(replies):
            if count:
                labels = f'{self._to},rcode="{_REPLIES[number]}"'
                page.add("coredns_forward_responses_total", count, labels)
                page.add("coredns_forward_response_rcode_count_total", count, labels)
                for name, histogram in self._durations[number]:
                    buckets = _part(row["replies"], number, length)
                    page.lines[name].append(histogram.text(buckets, row["reply_ns"][number]))
        for name in ("coredns_forward_healthcheck_failures_total", "coredns_forward_healthcheck_failure_count_total"):
            page.add(name, row["probe_failures"][0], self._to)
        page.add("coredns_proxy_healthcheck_failures_total", row["probe_failures"][0], self._proxied)
        page.add("nodedns_upstream_timeouts_total", row["timeouts"][0], self._to)
        page.add("nodedns_upstream_errors_total", row["errors"][0], self._to)
        for way, proto in enumerate(_WAYS):
            for what, field in (("hits", "reused"), ("misses", "opened")):
                if row[field][way]:
                    name = f"conn_cache_{what}_total"
                    page.add(f"coredns_forward_{name}", row[field][way], f'{self._to},proto="{proto}"')
                    page.add(f"coredns_proxy_{name}", row[field][way], f'{self._proxied},proto="{proto}"')
            if row["sent"][way]:
                page.add("nodedns_upstream_queries_total", row["sent"][way], f'{self._to},proto="{proto}"')

    def write_gauges(self, gauges: Sequence[tuple[int, int, int]], page: Page) -> None:
        """As its workers see it: (state, usual time in ns, open sockets) of each."""
        page.add("coredns_forward_sockets_open", sum(sockets for _, _, sockets in gauges), self._to)
        page.add("nodedns_upstream_up", int(all(state < 2 for state, _, _ in gauges)), self._to)
        known = [rtt for _, rtt, _ in gauges if rtt]
        if known:
            page.add("nodedns_upstream_rtt_seconds", sum(known) / len(known) / NS, self._to)


def _part(values: Sequence[int], number: int, length: int) -> Sequence[int]:
    return values[number * length : (number + 1) * length]
