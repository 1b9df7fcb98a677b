"""What a real Prometheus has of a nodedns under load: something for every expression of the dashboards and rules that
people have, and counts that are exact.
"""

import json
import re
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from tests.bench.measure import Dnsperf
from tests.monitoring.nodes import Watched
from tests.monitoring.prometheus import FILES, Prometheus
from tests.monitoring.theirs import EXPRESSIONS, NOT_OURS
from tests.service.scripted import Scripted
from tests.service.service import Authority, Load, TcpLoad
from tests.service.test_drills import kill_one

DASHBOARD = json.loads((FILES / "nodedns.grafana.json").read_text())
OURS = {
    "our dashboard": [
        target["expr"].replace("$instance", ".*").replace("$__rate_interval", "1m")
        for panel in DASHBOARD["panels"]
        for target in panel.get("targets", ())
    ],
}
ALL = [(whose, expr) for whose, exprs in (EXPRESSIONS | OURS).items() for expr in exprs]
OF_A_NODE = "nodedns_fallback_servers"  # there where rules are wanted: tests/node/test_alerts.py
SECONDS = 4
PATIENCE = 20  # seconds: longer than any answer takes, also where a machine has no time for a new worker
COUNTED = (
    "coredns_dns_requests_total",
    "coredns_dns_request_count_total",
    "coredns_dns_responses_total",
    "coredns_dns_request_duration_seconds_count",
    "coredns_dns_response_size_bytes_count",
)


def text_of(service: Watched) -> str:
    """/metrics, as curl would get it."""
    with urllib.request.urlopen(f"http://{service.at}/metrics") as reply:
        return str(reply.read().decode())


def total(text: str, name: str, labels: str = "") -> float:
    """The sum of a family's samples that have such a label."""
    lines = re.findall(rf"^{name}(\{{.*\}})? (\S+)$", text, re.MULTILINE)
    return sum(float(value) for its, value in lines if labels in its)


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory, prometheus: Prometheus) -> Iterator[Watched]:
    """Under load over UDP and TCP, hits and misses, in two zones, with DO and without, answered in every way."""
    home = tmp_path_factory.mktemp("busy")
    with ExitStack() as stack:
        authority, failing = stack.enter_context(Authority()), stack.enter_context(Scripted())
        (home / "kube-dns").mkdir()
        zone = f'cluster.config_map = "{home}/kube-dns"\n'
        zone += f'[[zone]]\nname = "test"\nforward = ["127.0.0.1:{failing.port}"]\n'
        zone += 'success = { max_ttl = 1, min_ttl = 1 }\nserve_stale = { max = "1h", mode = "immediate" }\n'
        service = stack.enter_context(Watched(home, authority.port, prometheus, zone))
        stack.enter_context(Load(service.port, 1000, unique=20))
        stack.enter_context(TcpLoad(service.port, 100, address="127.0.0.1"))
        questions = home / "questions"
        questions.write_text("a.test A\nnone.test AAAA\nservfail.test A\nxnone.load.test MX\n")
        dnsperf = stack.enter_context(Dnsperf(service.port, questions, "-D", "-Q", "200", "-l", "600"))
        for seen in (
            "increase(coredns_dns_do_requests_total{}[1m]) > 100",
            'rate(coredns_forward_responses_total{rcode="SERVFAIL"}[1m])',
            "rate(coredns_cache_served_stale_total{}[1m])",
        ):
            prometheus.await_(partial(service.query, seen), "full")
        assert dnsperf.process.poll() is None
        yield service


def test_promtool_is_content_with_the_metrics(busy: Watched) -> None:
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=text_of(busy), capture_output=True, text=True, check=False
    )
    assert done.stdout + done.stderr == ""
    assert done.returncode == 0


@pytest.mark.parametrize(("whose", "expr"), ALL, ids=[f"{whose}-{n}" for n, (whose, _) in enumerate(ALL)])
def test_expression_has_data(busy: Watched, whose: str, expr: str) -> None:
    """A number for every expression, in the window of the person who wrote it; nothing for what is not ours to have."""
    if any(name in expr for name in NOT_OURS):
        assert not busy.query(expr)
    else:  # a scrape that came too late leaves a gap until the next one
        busy.prometheus.await_(lambda: busy.query(expr), f"aware of {expr}")


def test_rules_have_data(busy: Watched) -> None:
    """Without its limit, each of our alerts' expressions sees the service: none is empty for want of a metric."""
    rules = busy.prometheus.get("rules")["groups"]
    expressions = [rule["query"] for group in rules for rule in group["rules"] if OF_A_NODE not in rule["query"]]
    assert len(expressions) > 15
    for expr in expressions:
        seen = re.sub(r"^absent\((.*)\)$|\s*[><=]+ [\d.]+$", lambda m: m[1] or "", expr)
        busy.prometheus.await_(partial(busy.query, seen), f"aware of {seen}")


def test_counts_are_exact(tmp_path: Path, authority: Authority, prometheus: Prometheus) -> None:
    """dnsperf's own count of a run in which workers are killed, and /metrics of its zone: the same number."""
    zone = f'[[zone]]\nname = "load.test"\nforward = ["127.0.0.1:{authority.port}"]\nsuccess = {{ max_ttl = 600 }}\n'
    questions = tmp_path / "questions"
    questions.write_text("".join(f"n{n}.load.test A\nx{n}.load.test AAAA\n" for n in range(200)))
    (tmp_path / "service").mkdir()
    with Watched(tmp_path / "service", authority.port, prometheus, zone) as service:
        with Dnsperf(service.port, questions, "-Q", "10000", "-l", str(SECONDS), "-t", str(PATIENCE)) as dnsperf:
            kills = 0
            while dnsperf.process.poll() is None:
                kill_one(service)
                kills += 1
            load = dnsperf.result()
        made = total(text_of(service), "nodedns_scrapes_total")
        service.await_(lambda: total(text_of(service), "nodedns_scrapes_total") > made, "done with a new page")
        page = text_of(service)
        counted = {name: total(page, name, 'zone="load.test."') for name in COUNTED}
    print(f"sent {load.sent} answered {load.completed} kills {kills} counted {counted}")
    assert load.lost == 0
    assert kills >= 1
    assert set(counted.values()) == {float(load.completed)}
