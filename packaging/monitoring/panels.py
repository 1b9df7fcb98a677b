"""The dashboard as a table: what each panel is called, how wide it is, what it asks and in which unit. make.py turns
it into Grafana's JSON.

A query is (PromQL, legend). $instance is the dashboard's variable, $__rate_interval is Grafana's: four scrapes, or a
pixel's time if that is longer.
"""

from typing import NamedTuple

Query = tuple[str, str]


class Panel(NamedTuple):
    """A curve over time, or with `alarm` a number that turns red from there on; `width` of 24."""

    title: str
    width: int
    unit: str
    queries: list[Query]
    about: str
    alarm: float | None = None
    stacked: bool = False


def of(name: str, labels: str = "") -> str:
    """The series of the chosen nodes."""
    return f'{name}{{job="node-local-dns",instance=~"$instance"{labels}}}'


def rate(name: str, by: str = "", labels: str = "") -> str:
    """Per second, summed over the nodes, or over all but `by`."""
    return f"sum {f'by ({by}) ' if by else ''}(rate({of(name, labels)}[$__rate_interval]))"


def grown(name: str, by: str) -> str:
    """How much a counter of rare events grew."""
    return f"sum by ({by}) (increase({of(name)}[$__rate_interval]))"


def quantile(q: str, name: str, by: str = "") -> str:
    """The value that q of what a histogram counted stays below."""
    return f"histogram_quantile({q}, {rate(name + '_bucket', 'le' + (by and f', {by}'))})"


def quantiles(name: str) -> list[Query]:
    """Three curves of a histogram."""
    return [(quantile(q, name), f"{float(q):.0%}") for q in ("0.5", "0.9", "0.99")]


REQUESTS, RESPONSES = "coredns_dns_requests_total", "coredns_dns_responses_total"
DURATION, PROXY = "coredns_dns_request_duration_seconds", "coredns_proxy_request_duration_seconds"
HITS, MISSES = rate("coredns_cache_hits_total"), rate("coredns_cache_misses_total")
SERVFAIL = rate(RESPONSES, labels=',rcode="SERVFAIL"')
UNUSED = ',state!="unused"'
OTHERS = ',reason!~"invalid|any"'
"""Those two reasons get an answer of our own; our self-probe is the first."""
NEVER = 1e9
"""An alarm that no value reaches: the number stays green."""

ROWS: dict[str, list[Panel]] = {
    "Health": [
        Panel("Nodes scraped", 3, "short", [(f"sum({of('up')})", "")], "Nodes whose /metrics answers.", NEVER),
        Panel("Queries", 3, "reqps", [(rate(REQUESTS), "")], "Per second, all chosen nodes.", NEVER),
        Panel(
            "From the cache", 3, "percentunit", [(f"{HITS} / ({HITS} + {MISSES})", "")], "Hits of all look-ups.", NEVER
        ),
        Panel("99 % answered within", 3, "s", [(quantile("0.99", DURATION), "")], "Hits and misses together.", 1),
        Panel(
            "SERVFAIL",
            3,
            "percentunit",
            [(f"({SERVFAIL} or vector(0)) / {rate(RESPONSES)}", "")],
            "Of all answers.",
            0.01,
        ),
        Panel("Workers not serving", 3, "short", [(f"sum(1 - {of('nodedns_worker_serving')})", "")], "0 is well.", 1),
        Panel(
            "Nodes on fallback", 3, "short", [(f"sum({of('nodedns_failopen_active')})", "")], "Queries pass us by.", 1
        ),
        Panel("Upstreams down", 3, "short", [(f"sum(1 - {of('nodedns_upstream_up')})", "")], "Seen from any node.", 1),
        Panel(
            "Workers serving",
            8,
            "short",
            [(f"sum by (instance) ({of('nodedns_worker_serving')})", "{{instance}}")],
            "A dip is a worker that died, or that a reload replaces: its queries wait in the kernel for the next one.",
        ),
        Panel(
            "Deaths",
            8,
            "short",
            [
                (grown("nodedns_worker_restarts_total", "instance"), "workers {{instance}}"),
                (grown("nodedns_starts_total", "instance"), "service {{instance}}"),
            ],
            "Workers replaced and starts of the whole service.",
        ),
        Panel(
            "Self-probe",
            8,
            "short",
            [
                (f"min by (instance) ({of('nodedns_probe_up')})", "answers {{instance}}"),
                (f"max by (instance) ({of('nodedns_failopen_active')})", "on fallback {{instance}}"),
            ],
            "1: every listen address answers over UDP and TCP. On fallback: kube-dns answers in our place.",
        ),
    ],
    "Traffic": [
        Panel("Queries by protocol", 8, "reqps", [(rate(REQUESTS, "proto"), "{{proto}}")], "Per second.", stacked=True),
        Panel("Queries by type", 8, "reqps", [(rate(REQUESTS, "type"), "{{type}}")], "Per second.", stacked=True),
        Panel("Queries by zone", 8, "reqps", [(rate(REQUESTS, "zone"), "{{zone}}")], "Per second.", stacked=True),
        Panel("Answers by code", 8, "reqps", [(rate(RESPONSES, "rcode"), "{{rcode}}")], "Per second.", stacked=True),
        Panel(
            "Not answered",
            8,
            "reqps",
            [
                (rate("nodedns_refused_total", "reason", OTHERS), "refused: {{reason}}"),
                (rate("nodedns_ring_drops_total"), "no room for a miss"),
            ],
            "Refused or dropped, and why.",
        ),
        Panel(
            "Batch",
            8,
            "short",
            quantiles("nodedns_batch_queries"),
            "Queries that one wake-up of a worker took, 64 at most: at 64 it is behind.",
        ),
    ],
    "Latency": [
        Panel("Answered within", 8, "s", quantiles(DURATION), "From query to answer inside nodedns, all zones."),
        Panel("99 % by zone", 8, "s", [(quantile("0.99", DURATION, "zone"), "{{zone}}")], "Hits and misses together."),
        Panel("Size of answers", 8, "bytes", quantiles("coredns_dns_response_size_bytes"), "UDP and TCP."),
    ],
    "Cache": [
        Panel(
            "Hits and misses",
            6,
            "reqps",
            [(rate("coredns_cache_hits_total", "type"), "{{type}}"), (MISSES, "miss")],
            "Per second.",
            stacked=True,
        ),
        Panel(
            "Entries",
            6,
            "short",
            [(f"sum by (state) ({of('nodedns_cache_slots', UNUSED)})", "{{state}}")],
            "What the shared table holds.",
            stacked=True,
        ),
        Panel("Evictions", 6, "reqps", [(rate("nodedns_cache_evictions_total"), "live entries")], "It is too small."),
        Panel(
            "Saved and stretched",
            6,
            "reqps",
            [
                (rate("nodedns_joined_questions_total", "where"), "joined, {{where}}"),
                (rate("coredns_cache_served_stale_total"), "stale"),
                (rate("nodedns_prefetches_total"), "prefetched"),
            ],
            "Questions that waited for another's answer, old answers given, popular ones fetched again.",
        ),
    ],
    "Upstreams": [
        Panel("Up", 6, "short", [(f"min by (to) ({of('nodedns_upstream_up')})", "{{to}}")], "0: down for some node."),
        Panel("Questions", 6, "reqps", [(rate(PROXY + "_count", "to"), "{{to}}")], "Answered by each.", stacked=True),
        Panel(
            "Answer time",
            6,
            "s",
            [
                (quantile("0.99", PROXY, "to"), "99 % {{to}}"),
                (f"avg by (to) ({of('nodedns_upstream_rtt_seconds')})", "mean {{to}}"),
            ],
            "As the forwarder saw it; the mean is a moving one.",
        ),
        Panel(
            "No answer",
            6,
            "reqps",
            [
                (rate("nodedns_upstream_timeouts_total", "to"), "attempt {{to}}"),
                (rate("coredns_proxy_healthcheck_failures_total", "to"), "probe {{to}}"),
            ],
            "Attempts and probes that nothing came back to.",
        ),
    ],
    "Node": [
        Panel(
            "Repairs",
            6,
            "short",
            [
                (grown("nodedns_repairs_total", "instance"), "{{instance}}"),
                (grown("coredns_nodecache_setup_errors_total", "errortype"), "failed: {{errortype}}"),
            ],
            "Link or rules that somebody had changed and we put right, or could not.",
        ),
        Panel(
            "Reloads",
            6,
            "short",
            [(grown("nodedns_reloads_total", "verdict"), "{{verdict}}")],
            "A refused one leaves the old config in force.",
        ),
        Panel(
            "Memory",
            6,
            "bytes",
            [(of("process_resident_memory_bytes"), "{{instance}}")],
            "All processes of the service together.",
        ),
        Panel(
            "CPU",
            6,
            "short",
            [(f"sum by (instance) (rate({of('process_cpu_seconds_total')}[$__rate_interval]))", "{{instance}}")],
            "CPUs in use, all processes of the service together.",
        ),
    ],
}
