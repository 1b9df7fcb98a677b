"""Each alert's logic: promtool evaluates it over an hour of made-up samples. It fires for the bad node alone, and for
nobody where the same thing stays within bounds or passes soon enough.
"""

import json
import re
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

RULES = Path(__file__).resolve().parents[2] / "packaging/monitoring/nodedns.rules.yml"
RESPONSES, DURATION = "coredns_dns_responses_total", "coredns_dns_request_duration_seconds_bucket"
PROXY = "coredns_proxy_request_duration_seconds"
MOST = "0+1000x70"

Samples = dict[str, str]
"""Series -> what it is from minute to minute, in promtool's notation."""


def of(name: str, node: str, **labels: str) -> str:
    """A series of a node."""
    return (
        name + "{" + ",".join(f'{key}="{value}"' for key, value in {**NODE, "instance": node, **labels}.items()) + "}"
    )


NODE = {"job": "node-local-dns"}


class Case(NamedTuple):
    """An alert, both nodes' samples, and what labels it has for the bad one."""

    alert: str
    severity: str
    bad: Samples
    well: Samples
    labels: dict[str, str]


def case(alert: str, severity: str, name: str, bad: str, well: str, **labels: str) -> Case:
    """One series a node decides; the alert keeps all its labels."""
    nodes = {node: {of(name, node, **labels): samples} for node, samples in (("bad", bad), ("well", well))}
    return Case(alert, severity, nodes["bad"], nodes["well"], {**NODE, "instance": "bad", **labels})


def summed(alert: str, severity: str, name: str, bad: str, well: str, **labels: str) -> Case:
    """As above; the alert is of the node and of `labels`."""
    whole = case(alert, severity, name, bad, well, **labels)
    return whole._replace(labels={"instance": "bad", **labels})


def share(alert: str, severity: str, part: str, whole: str, *, bad: int, well: int) -> Case:
    """So many of a thousand are of a part."""
    nodes = {n: {of(part, n): f"0+{count}x70", of(whole, n): MOST} for n, count in (("bad", bad), ("well", well))}
    return Case(alert, severity, nodes["bad"], nodes["well"], {"instance": "bad"})


def errors(alert: str, severity: str, name: str, by: str, *, bad: int, well: int) -> Case:
    """So many answers of a thousand are SERVFAIL, of a node or, with `by` "to", of an upstream."""

    def answers(who: str, count: int) -> Samples:
        labels = {"instance": "node"} | {by: who}
        failed, good = (of(name, labels["instance"], **{by: who, "rcode": code}) for code in ("SERVFAIL", "NOERROR"))
        return {failed: f"0+{count}x70", good: f"0+{1000 - count}x70"}

    return Case(alert, severity, answers("bad", bad), answers("well", well), {by: "bad"})


def late(alert: str, severity: str, name: str, at: tuple[str, str, str], by: str, **labels: str) -> Case:
    """Two of a hundred are in the last of three buckets; or, where all is well, one of two hundred."""

    def buckets(who: str, count: int) -> Samples:
        counts = zip((*at, "+Inf"), (count, count, 1000, 1000), strict=True)
        return {of(name, "node", **{by: who, **labels, "le": le}): f"0+{n}x70" for le, n in counts}

    return Case(alert, severity, buckets("bad", 980), buckets("well", 995), {by: "bad", **labels})


CASES = [
    case("NodeLocalDNSDown", "critical", "up", "0x70", "0x3 1 0x3 1 0x3 1x60"),
    case("NodeLocalDNSProbeFailing", "critical", "nodedns_probe_up", "0x70", "1x59 0"),
    case("NodeLocalDNSFailOpen", "warning", "nodedns_failopen_active", "1x70", "0x58 1 1"),
    case("NodeLocalDNSNoFallback", "warning", "nodedns_fallback_servers", "0x70", "2x50 0x14 1x9"),
    summed("NodeLocalDNSCrashLooping", "critical", "nodedns_starts_total", "1x50 2+1x3 5x9", "1x50 2 3x18"),
    summed("NodeLocalDNSWorkersCrashing", "warning", "nodedns_worker_restarts_total", "0x50 1+1x5 6x9", "0x50 4x19"),
    case("NodeLocalDNSWorkerMissing", "critical", "nodedns_worker_serving", "0x70", "0 1 0 1 0 1x54 0", worker="1"),
    late(
        "NodeLocalDNSLatencyHigh", "critical", DURATION, ("2.048", "4.096", "8.192"), "instance", server="s", zone="."
    ),
    errors("NodeLocalDNSErrorsHigh", "critical", RESPONSES, "instance", bad=40, well=20),
    errors("NodeLocalDNSErrorsHigh", "warning", RESPONSES, "instance", bad=20, well=9),
    share(
        "NodeLocalDNSServingStale",
        "warning",
        "coredns_cache_served_stale_total",
        "nodedns_answers_total",
        bad=20,
        well=9,
    ),
    share(
        "NodeLocalDNSCacheThrashing",
        "warning",
        "nodedns_cache_evictions_total",
        "coredns_cache_misses_total",
        bad=600,
        well=400,
    ),
    case("NodeLocalDNSUpstreamDown", "warning", "nodedns_upstream_up", "0x70", "1x58 0 0", to="u"),
    Case(
        "NodeLocalDNSUpstreamsAllDown",
        "critical",
        {of("nodedns_upstream_up", "bad", to=to): "0x70" for to in ("u", "v")},
        {of("nodedns_upstream_up", "well", to=to): samples for to, samples in (("u", "0x70"), ("v", "1x70"))},
        {"instance": "bad"},
    ),
    late("NodeLocalDNSForwardLatencyHigh", "warning", f"{PROXY}_bucket", ("0.512", "1.024", "2.048"), "to"),
    errors("NodeLocalDNSForwardErrorsHigh", "critical", f"{PROXY}_count", "to", bad=40, well=20),
    errors("NodeLocalDNSForwardErrorsHigh", "warning", f"{PROXY}_count", "to", bad=20, well=9),
    case("NodeLocalDNSReloadFailed", "warning", "nodedns_reload_last_ok", "0x70", "0x57 1 0x3"),
    case("NodeLocalDNSConfigMapFailed", "warning", "nodedns_config_map_ok", "0x70", "1x57 0 0 0 1 0x3"),
    summed(
        "NodeLocalDNSSetupErrors",
        "warning",
        "coredns_nodecache_setup_errors_total",
        "0x50 1x20",
        "1x70",
        errortype="iptables",
    ),
    summed("NodeLocalDNSRepairing", "warning", "nodedns_repairs_total", "0x50 6x20", "0x50 4x20"),
    Case("NodeLocalDNSAbsent", "critical", {}, {of("up", "well"): "0x70"}, NODE),
]


def hour(samples: Samples, query: str, labels: dict[str, str] | None) -> dict[str, object]:
    """A test for promtool: after an hour the query finds one series with those labels, or none."""
    found = [{"labels": "ALERTS" + json.dumps(labels), "value": 1}] if labels else []
    found = [{**one, "labels": re.sub(r'"(\w+)": ', r"\1=", str(one["labels"]))} for one in found]
    return {
        "interval": "1m",
        "input_series": [{"series": series, "values": values} for series, values in samples.items()],
        "promql_expr_test": [{"expr": query, "eval_time": "60m", "exp_samples": found}],
    }


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.alert}-{case.severity}")
def test_fires_for_the_bad_one_alone(case: Case, tmp_path: Path) -> None:
    named = {"alertname": case.alert, "alertstate": "firing", "severity": case.severity}
    query = "ALERTS{" + ",".join(f'{key}="{value}"' for key, value in named.items()) + "}"
    both = case.bad | case.well if case.bad else {}
    tests = [hour(both, query, {**named, **case.labels}), hour(case.well, query, None)]
    file = tmp_path / "test.yml"  # JSON is YAML, too
    file.write_text(json.dumps({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": tests}))
    done = subprocess.run(["promtool", "test", "rules", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_case() -> None:
    there = re.findall(r"- alert: (\w+)(?:.*\n)+?\s+severity: (\w+)", RULES.read_text())
    assert sorted((case.alert, case.severity) for case in CASES) == sorted(there)


def test_no_alert_is_rash() -> None:
    """Each waits a minute or longer, or looks at what happened within a quarter of an hour."""
    for alert in RULES.read_text().split("- alert: ")[1:]:
        assert ("for: " in alert) != ("increase(" in alert), alert
        assert re.search(r"for: [1-9]\d*m\n|increase\(.*\[15m\]\)\)", alert), alert
