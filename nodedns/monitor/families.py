"""Every metric we serve: name, kind, since which CoreDNS it is called so, and what it says (docs/metrics.md is printed
from this table).

A name that CoreDNS gave up is served as well: dashboards and alerts were written for it. Where a label came later, it
is there in all generations: a query that does not know it sums over it.
"""

from typing import NamedTuple

OLD, MID, NEW = "1.6", "1.7", "1.11"  # config_values.GENERATIONS
C, G, H = "counter", "gauge", "histogram"


class Family(NamedTuple):
    """`since`: the CoreDNS that brought this name, "" for all of them or for what is ours; `until`: the last one."""

    name: str
    kind: str
    help: str
    since: str = ""
    until: str = ""


_DNS = (
    Family("coredns_dns_requests_total", C, "DNS requests by zone, protocol, family and type.", MID),
    Family("coredns_dns_request_count_total", C, "DNS requests by zone, protocol and family.", OLD, OLD),
    Family("coredns_dns_request_type_count_total", C, "DNS requests by zone and type.", OLD, OLD),
    Family("coredns_dns_do_requests_total", C, "DNS requests with the DO bit.", MID),
    Family("coredns_dns_request_do_count_total", C, "DNS requests with the DO bit.", OLD, OLD),
    Family("coredns_dns_request_duration_seconds", H, "Time that a request took, from our socket to the kernel."),
    Family("coredns_dns_request_size_bytes", H, "Size of the request."),
    Family("coredns_dns_response_size_bytes", H, "Size of the response."),
    Family("coredns_dns_responses_total", C, "Responses by zone, rcode and who wrote them.", MID),
    Family("coredns_dns_response_rcode_count_total", C, "Responses by zone and rcode.", OLD, OLD),
)
_CACHE = (
    Family("coredns_cache_entries", G, "Live entries; one cache for all servers and zones.", MID),
    Family("coredns_cache_size", G, "Live entries; one cache for all servers and zones.", OLD, OLD),
    Family("coredns_cache_requests_total", C, "Requests that were looked for in the cache.", MID),
    Family("coredns_cache_hits_total", C, "Requests that the cache answered; failures are denials."),
    Family("coredns_cache_misses_total", C, "Requests that had to be asked for, or joined one that was."),
    Family("coredns_cache_prefetch_total", C, "Entries that were asked for again before their end."),
    Family("coredns_cache_served_stale_total", C, "Requests that were answered after the end of an entry."),
    Family("coredns_cache_evictions_total", C, "Live entries that had to go.", MID),
    Family("coredns_cache_drops_total", C, "Replies that were not cached, since they do not parse."),
)
_FORWARD = (
    Family("coredns_forward_requests_total", C, "Questions that an upstream has answered.", MID, MID),
    Family("coredns_forward_request_count_total", C, "Questions that an upstream has answered.", OLD, OLD),
    Family("coredns_forward_responses_total", C, "Replies of an upstream by rcode.", MID, MID),
    Family("coredns_forward_response_rcode_count_total", C, "Replies of an upstream by rcode.", OLD, OLD),
    Family("coredns_forward_request_duration_seconds", H, "Time until an upstream's reply.", OLD, MID),
    Family("coredns_forward_healthcheck_failures_total", C, "Probes of an upstream without an answer.", MID, MID),
    Family("coredns_forward_healthcheck_failure_count_total", C, "Probes of an upstream without an answer.", OLD, OLD),
    Family("coredns_forward_healthcheck_broken_total", C, "Questions that found all upstreams of a zone down.", MID),
    Family(
        "coredns_forward_healthcheck_broken_count_total", C,
        "Questions that found all upstreams of a zone down.", OLD, OLD,
    ),
    Family("coredns_forward_max_concurrent_rejects_total", C, "Questions beyond max_concurrent.", MID),
    Family("coredns_forward_max_concurrent_reject_count_total", C, "Questions beyond max_concurrent.", OLD, OLD),
    Family("coredns_forward_sockets_open", G, "Open sockets to an upstream.", OLD, MID),
    Family("coredns_forward_conn_cache_hits_total", C, "Questions that left by a socket that was open.", MID, MID),
    Family("coredns_forward_conn_cache_misses_total", C, "Sockets opened for a question.", MID, MID),
    Family("coredns_proxy_request_duration_seconds", H, "Time until an upstream's reply.", NEW),
    Family("coredns_proxy_healthcheck_failures_total", C, "Probes of an upstream without an answer.", NEW),
    Family("coredns_proxy_conn_cache_hits_total", C, "Questions that left by a socket that was open.", NEW),
    Family("coredns_proxy_conn_cache_misses_total", C, "Sockets opened for a question.", NEW),
)  # fmt: skip
_MISC = (
    Family("coredns_build_info", G, "nodedns's version, under CoreDNS's name; goversion is Python's."),
    Family("coredns_plugin_enabled", G, "CoreDNS's plugins whose work is done here, by server and zone."),
    Family("coredns_panics_total", C, "Workers that died or hung.", MID),
    Family("coredns_panic_count_total", C, "Workers that died or hung.", OLD, OLD),
    Family("coredns_reload_failed_total", C, "Reloads that were refused.", MID),
    Family("coredns_reload_failed_count_total", C, "Reloads that were refused.", OLD, OLD),
    Family("coredns_reload_version_info", G, "A hash of the config in force.", MID),
    Family("coredns_health_request_duration_seconds", H, "Time of our own questions to each address, each second."),
    Family("coredns_health_request_failures_total", C, "Seconds in which an address did not answer them."),
    Family("coredns_hosts_entries", G, "Addresses in node.hosts."),
    Family("coredns_nodecache_setup_errors_total", C, "Link, rules or ConfigMap that could not be read or put right."),
)
_PROCESS = (
    Family("process_cpu_seconds_total", C, "CPU of the service: the parent and all its children, dead ones too."),
    Family("process_resident_memory_bytes", G, "Memory of the service, what its processes share counted once."),
    Family("process_start_time_seconds", G, "When the parent started, since 1970."),
    Family("process_open_fds", G, "Open descriptors of the parent, which holds all listening sockets."),
    Family("process_max_fds", G, "Descriptors that it may have."),
)
_OWN = (
    Family("nodedns_build_info", G, "The version."),
    Family("nodedns_state", G, "1 for the state the service is in (docs/states.md)."),
    Family("nodedns_worker_serving", G, "Does the worker serve?"),
    Family("nodedns_worker_restarts_total", C, "Workers that died or hung and were started again."),
    Family("nodedns_worker_hangs_total", C, "Workers that hung."),
    Family("nodedns_monitor_restarts_total", C, "Monitors that died or hung and were started again."),
    Family("nodedns_starts_total", C, "Starts of the service since the node's boot or a clean stop."),
    Family("nodedns_fdstore_adoptions_total", C, "Listening sockets taken over from systemd's store."),
    Family("nodedns_reloads_total", C, "Reloads by verdict."),
    Family("nodedns_reload_last_ok", G, "Was the last reload taken?"),
    Family("nodedns_config_map_ok", G, "Are its zones served? Where `cluster.config_map` is set."),
    Family("nodedns_repairs_total", C, "Times that link or rules were put right."),
    Family("nodedns_failopen_active", G, "Do queries go to the fallback?"),
    Family("nodedns_fallback_servers", G, "Whom they can go to; where it is wanted (docs/kubernetes.md)."),
    Family("nodedns_failopens_total", C, "Times that they began to."),
    Family("nodedns_probe_up", G, "Did every address answer us over UDP and TCP in the last second?"),
    Family("nodedns_probe_failures_total", C, "Seconds in which one did not."),
    Family("nodedns_pulse_failures_total", C, "Seconds in which one did not answer the parent or the monitor."),
    Family("nodedns_querylog_lines_total", C, "Lines of the query log."),
    Family("nodedns_querylog_dropped_total", C, "Answers that are missing in it."),
    Family("nodedns_dnstap_messages_total", C, "Messages for dnstap's receiver, by whether it took them."),
    Family("nodedns_scrapes_total", C, "Times that this page was made."),
    Family("nodedns_answers_total", C, "Answers given to the kernel, UDP and TCP, to our own questions too."),
    Family("nodedns_batch_queries", H, "Queries found by a wake-up of the hit loop."),
    Family("nodedns_refused_total", C, "Queries that were not looked for, by reason."),
    Family("nodedns_silent_total", C, "Packets that no answer is due to: too short, or answers themselves."),
    Family("nodedns_ring_drops_total", C, "Queries refused because too many were pending."),
    Family("nodedns_send_failures_total", C, "Answers that the kernel did not take."),
    Family("nodedns_replayed_total", C, "Queries taken over from a worker that died."),
    Family("nodedns_given_up_total", C, "Batches dropped after two workers died on them."),
    Family("nodedns_joined_questions_total", C, "Misses that joined an equal question in flight."),
    Family("nodedns_stale_answers_total", C, "Answers given after the end of an entry, since no server answered well."),
    Family("nodedns_prefetches_total", C, "Hits that made us ask again before the end of an entry."),
    Family("nodedns_tcp_connections_total", C, "Clients' TCP connections by what became of them."),
    Family("nodedns_cache_size_bytes", G, "Size of the cache's file."),
    Family("nodedns_cache_slots", G, "Slots of the cache by state."),
    Family("nodedns_cache_stored_total", C, "Entries stored."),
    Family("nodedns_cache_not_stored_total", C, "Entries not stored, by reason."),
    Family("nodedns_cache_evictions_total", C, "Live entries that had to go, by kind."),
    Family("nodedns_upstream_up", G, "0 while a worker takes the upstream for down."),
    Family("nodedns_upstream_rtt_seconds", G, "Its usual time, the mean over workers."),
    Family("nodedns_upstream_timeouts_total", C, "Attempts that ended without a reply."),
    Family("nodedns_upstream_errors_total", C, "Attempts that the network refused."),
    Family("nodedns_upstream_queries_total", C, "Questions sent to it, by way."),
    Family("nodedns_upstream_rejects_total", C, "What upstreams sent or did and we did not take, by reason."),
    Family("nodedns_upstream_hedged_total", C, "Questions asked of a second upstream before the first was late."),
    Family("nodedns_upstream_exhausted_total", C, "Questions given up after the last attempt."),
)  # fmt: skip

GROUPS = {
    "Requests": _DNS, "Cache": _CACHE, "Upstreams": _FORWARD, "The rest of CoreDNS's": _MISC,
    "Processes": _PROCESS, "nodedns's own": _OWN,
}  # fmt: skip
FAMILIES = tuple(family for group in GROUPS.values() for family in group)


def served(generations: tuple[str, ...]) -> tuple[Family, ...]:
    """What is served where these generations of CoreDNS are wanted; without any, what is ours."""
    return tuple(family for family in FAMILIES if _wanted(family, generations))


def _wanted(family: Family, generations: tuple[str, ...]) -> bool:
    if not family.name.startswith("coredns_"):
        return True
    first, last = family.since or OLD, family.until or NEW
    return any(_age(first) <= _age(generation) <= _age(last) for generation in generations)


def _age(version: str) -> int:
    return (OLD, MID, NEW).index(version)


PLAIN: dict[str, dict[str, str]] = {
    "coredns_forward_healthcheck_broken_total": {"": "all_down"},
    "coredns_forward_healthcheck_broken_count_total": {"": "all_down"},
    "coredns_forward_max_concurrent_rejects_total": {"": "rejected"},
    "coredns_forward_max_concurrent_reject_count_total": {"": "rejected"},
    "coredns_panics_total": {"": "restarts"},
    "coredns_panic_count_total": {"": "restarts"},
    "coredns_reload_failed_total": {"": "reloads_refused"},
    "coredns_reload_failed_count_total": {"": "reloads_refused"},
    "coredns_health_request_failures_total": {"": "probes_failed"},
    "coredns_nodecache_setup_errors_total": {
        f'errortype="{kind}"': f"error_{kind}"
        for kind in ("iptables", "iptables_lock", "interface_add", "interface_check", "configmap")
    },
    "nodedns_worker_restarts_total": {"": "restarts"},
    "nodedns_worker_hangs_total": {"": "hangs"},
    "nodedns_monitor_restarts_total": {"": "monitor_restarts"},
    "nodedns_starts_total": {"": "starts"},
    "nodedns_fdstore_adoptions_total": {"": "adoptions"},
    "nodedns_reloads_total": {'verdict="taken"': "reloads_taken", 'verdict="refused"': "reloads_refused"},
    "nodedns_repairs_total": {"": "repairs"},
    "nodedns_failopens_total": {"": "fail_opens"},
    "nodedns_probe_failures_total": {"": "probes_failed"},
    "nodedns_pulse_failures_total": {"": "probe_failures"},
    "nodedns_querylog_lines_total": {"": "querylog_lines"},
    "nodedns_querylog_dropped_total": {"": "querylog_dropped"},
    "nodedns_dnstap_messages_total": {'verdict="sent"': "dnstap_sent", 'verdict="dropped"': "dnstap_dropped"},
    "nodedns_scrapes_total": {"": "scrapes"},
    "nodedns_answers_total": {"": "answers"},
    "nodedns_refused_total": {
        f'reason="{reason}"': reason
        for reason in ("formerr", "notimp", "badvers", "transfer", "any", "invalid", "denied", "limited", "ring_full")
    },
    "nodedns_silent_total": {"": "silent"},
    "nodedns_ring_drops_total": {"": "ring_full"},
    "nodedns_send_failures_total": {"": "send_failed"},
    "nodedns_replayed_total": {"": "replayed"},
    "nodedns_given_up_total": {"": "given_up"},
    "nodedns_joined_questions_total": {'where="worker"': "joined", 'where="node"': "elsewhere"},
    "nodedns_stale_answers_total": {"": "stale"},
    "nodedns_prefetches_total": {"": "prefetched"},
    "nodedns_tcp_connections_total": {
        f'what="{what}"': f"tcp_{what}" for what in ("accepted", "refused", "idle")
    },
    "nodedns_cache_stored_total": {"": "stored"},
    "nodedns_cache_not_stored_total": {'reason="contended"': "put_lost", 'reason="too_big"': "too_big"},
    "nodedns_cache_evictions_total": {'kind="success"': "evicted_success", 'kind="denial"': "evicted_denial"},
    "nodedns_upstream_rejects_total": {
        'reason="stray"': "upstream_strays", 'reason="malformed"': "upstream_malformed",
        'reason="tls"': "tls_errors", 'reason="loop"': "loops",
    },
    "nodedns_upstream_hedged_total": {"": "hedged"},
    "nodedns_upstream_exhausted_total": {"": "exhausted"},
}  # fmt: skip
"""Counters that are served as they are: by label, native.COUNTER_NAMES or PARENT_NAMES."""
