"""What operators have already: the expressions of other people's dashboards and rules, re-typed, with job and variables
filled in as Grafana does.

seed_*: lework's NodeLocalDNS PrometheusRule and dashboard 12007, which ask for CoreDNS 1.6's names. stack:
kube-prometheus-stack's k8s-coredns dashboard, which takes 1.6's or 1.7's. mixin_*: povilasv's coredns-mixin, which
needs 1.7's to 1.10's. NOT_OURS: what of it no nodedns can have.
"""

from collections.abc import Iterator
from itertools import product

JOB = 'job="node-local-dns"'
SEED_NODE = 'instance=~".*"'
STACK_NODE = 'job=~".*",cluster=~".*",instance=~".*"'
MIXIN_NODE = f'{JOB},instance=~".*"'

NOT_OURS = {
    "go_goroutines": "nodedns is not written in Go",
    "coredns_kubernetes_dns_programming_duration_seconds_bucket": "CoreDNS's kubernetes plugin, which node-cache has "
    "not either; the mixin asks only with kubernetesPlugin set",
}

OLD_REQUESTS, OLD_TYPES = "coredns_dns_request_count_total", "coredns_dns_request_type_count_total"
OLD_DO, OLD_RCODES = "coredns_dns_request_do_count_total", "coredns_dns_response_rcode_count_total"
DURATION, REQUEST_SIZE = "coredns_dns_request_duration_seconds", "coredns_dns_request_size_bytes"
RESPONSE_SIZE, HITS, MISSES = (
    "coredns_dns_response_size_bytes",
    "coredns_cache_hits_total",
    "coredns_cache_misses_total",
)


def seed_dashboard() -> Iterator[str]:
    """Fourteen panels. The variable `pod` is in no expression."""

    def rate(name: str) -> str:
        return f"sum(rate({name}{{{SEED_NODE}}}[5m]))"

    yield from (rate(OLD_REQUESTS), rate(OLD_DO))
    yield from (f"{rate(OLD_REQUESTS)} by ({by})" for by in ("proto", "zone", "pod"))
    yield from (f"{rate(OLD_TYPES)} by ({by})" for by in ("type", "type, zone"))
    yield f"{rate(OLD_RCODES)} by (rcode)"
    for q, by in (("0.99", "le, job"), ("0.90", "le"), ("0.50", "le")):
        yield f"histogram_quantile({q}, {rate(DURATION + '_bucket')} by ({by}))"
    for name in (REQUEST_SIZE, RESPONSE_SIZE):
        for proto in ("udp", "tcp"):
            for q in ("0.99", "0.90", "0.50"):
                one = f'{name}_bucket{{{SEED_NODE},proto="{proto}"}}'
                yield f"histogram_quantile({q}, sum(rate({one}[5m])) by (le,proto))"
    yield f"sum(coredns_cache_size{{{SEED_NODE}}}) by (type)"
    yield from (f"{rate(name)} by (type)" for name in (HITS, MISSES))


def share(name: str, rcode: str = "SERVFAIL") -> str:
    """The seed's and the mixin's word for a share of errors, without its limit."""
    return f'sum(rate({name}{{{JOB},rcode="{rcode}"}}[5m])) / sum(rate({name}{{{JOB}}}[5m]))'


def seed_rules() -> Iterator[str]:
    """Seven alerts, without their limits: with them they are empty while all is well."""
    yield f"up{{{JOB}}} == 1"
    for name in (DURATION, "coredns_forward_request_duration_seconds"):
        yield f"histogram_quantile(0.99, sum(rate({name}_bucket{{{JOB}}}[5m])) without(instance, pod))"
    yield from (share(OLD_RCODES), share("coredns_forward_response_rcode_count_total"))


def stack() -> Iterator[str]:
    """Fourteen panels; most ask for two generations (here also one by one), or native and classic histograms."""

    def rate(name: str, by: str = "", labels: str = "") -> str:
        return f"sum(rate({name}{{{STACK_NODE}{labels}}}[5m]))" + (f" by ({by})" if by else "")

    for old, new, by in (
        (OLD_REQUESTS, "coredns_dns_requests_total", "proto"),
        (OLD_TYPES, "coredns_dns_requests_total", "type"),
        (OLD_REQUESTS, "coredns_dns_requests_total", "zone"),
        (OLD_DO, "coredns_dns_do_requests_total", ""),
        (OLD_REQUESTS, "coredns_dns_requests_total", ""),
        (OLD_RCODES, "coredns_dns_responses_total", "rcode"),
    ):
        yield from (rate(old, by), rate(new, by), f"{rate(old, by)} or {rate(new, by)}")
    for name, proto in product((REQUEST_SIZE, RESPONSE_SIZE), ("udp", "tcp")):
        native = rate(name, "proto", f',proto="{proto}"')
        classic = rate(f"{name}_bucket", "le,proto", f',proto="{proto}"')
        yield from (f"histogram_quantile({q}, ({native}) or ({classic}))" for q in ("0.99", "0.90", "0.50"))
    for q, by in (("0.99", ("job",)), ("0.90", ()), ("0.50", ())):
        native = f"sum(rate({DURATION}{{{STACK_NODE}}}[5m])) by ({', '.join(by)})"
        yield f"histogram_quantile({q}, ({native}) or ({rate(DURATION + '_bucket', ', '.join(('le', *by)))}))"
    old, new = (f"sum({name}{{{STACK_NODE}}}) by (type)" for name in ("coredns_cache_size", "coredns_cache_entries"))
    yield from (old, new, f"{old} or {new}", rate(HITS, "type"), rate(MISSES, "type"))
    yield f"coredns_dns_requests_total{{{STACK_NODE}}}"  # fills its variables; the label `cluster` is the server's


def mixin_dashboard() -> Iterator[str]:
    """Eighteen panels."""

    def rate(name: str, by: str = "") -> str:
        return f"sum(rate({name}{{{MIXIN_NODE}}}[1m]))" + (f" by ({by})" if by else "")

    yield from (f"sum(up{{{JOB}}})", f"sum(coredns_panics_total{{{JOB}}})")
    yield from (rate(f"coredns_{what}_responses_total", "rcode") for what in ("dns", "forward"))
    for name, by in ((DURATION, "server, zone, le"), ("coredns_forward_request_duration_seconds", "to, le")):
        yield f"histogram_quantile(0.99, {rate(name + '_bucket', by)})"
    yield from (rate("coredns_dns_requests_total", by) for by in ("type", "zone"))
    yield rate("coredns_forward_requests_total", "to")
    yield f"count(sum(coredns_plugin_enabled{{{MIXIN_NODE}}}) by (name))"
    for name in (REQUEST_SIZE, RESPONSE_SIZE):
        for q in ("0.99", "0.50"):
            yield f"histogram_quantile({q}, {rate(name + '_bucket', 'server, zone, proto, le')})"
    hits, misses = (f"sum({name}{{{MIXIN_NODE}}})" for name in (HITS, MISSES))
    yield f"{hits} / ({misses} + {hits})"
    yield from (rate(HITS, "type"), rate(MISSES))
    yield f"sum(coredns_cache_entries{{{MIXIN_NODE}}}) by (type)"
    yield from (
        f"process_resident_memory_bytes{{{MIXIN_NODE}}}",
        f"rate(process_cpu_seconds_total{{{MIXIN_NODE}}}[1m])",
    )
    yield f"coredns_build_info{{{JOB}}}"  # fills its variable
    yield from (f"{name}{{{MIXIN_NODE}}}" for name in NOT_OURS)


def mixin_rules() -> Iterator[str]:
    """Nine alerts, without their limits."""
    yield f"up{{{JOB}}} == 1"
    for name, by in ((DURATION, "server, zone, le"), ("coredns_forward_request_duration_seconds", "to, le")):
        yield f"histogram_quantile(0.99, sum(rate({name}_bucket{{{JOB}}}[5m])) by({by}))"
    yield from (share("coredns_dns_responses_total"), share("coredns_forward_responses_total"))
    yield f"sum(rate(coredns_forward_healthcheck_failures_total{{{JOB}}}[5m])) by (to)"
    yield f"sum(rate(coredns_forward_healthcheck_broken_total{{{JOB}}}[5m]))"


EXPRESSIONS = {
    "seed's dashboard": [*seed_dashboard()],
    "seed's rules": [*seed_rules()],
    "kube-prometheus-stack's dashboard": [*stack()],
    "coredns-mixin's dashboard": [*mixin_dashboard()],
    "coredns-mixin's rules": [*mixin_rules()],
}
