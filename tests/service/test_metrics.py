"""/metrics, /health and /ready of a running service."""

import http.client
import subprocess

from prometheus_client import parser as exposition
from prometheus_client.openmetrics import parser as openmetrics

from tests.service.service import Service
from tests.service.test_upstreams import ask


def get(service: Service, path: str = "/metrics", accept: str = "") -> tuple[int, str]:
    """Status and body."""
    connection = http.client.HTTPConnection("127.0.0.1", service.scraped, timeout=5)
    connection.request("GET", path, headers={"Accept": accept})
    reply = connection.getresponse()
    return reply.status, reply.read().decode()


def test_a_scrape(service: Service) -> None:
    """What was asked is counted, promtool finds nothing to say, and Prometheus's own parsers read both formats."""
    for n in range(5):
        ask(service, f"a{n}.test")
        ask(service, f"a{n}.test")
    service.await_(lambda: get(service, "/ready")[0] == 200, "ready by HTTP")
    assert get(service, "/health") == (200, "OK")
    # what workers note once a second
    service.await_(lambda: "nodedns_upstream_rtt_seconds" in get(service)[1], "through with a second")
    status, text = get(service)
    assert status == 200
    checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")
    plain = {family.name for family in exposition.text_string_to_metric_families(text)}
    open_text = get(service, accept="application/openmetrics-text;version=1.0.0;q=0.8,text/plain;q=0.3")[1]
    families = {family.name: family for family in openmetrics.text_string_to_metric_families(open_text)}
    assert plain == set(families)
    row = f'server="dns://127.0.0.1:{service.port}",zone=".",view=""'
    assert f'coredns_dns_responses_total{{{row},rcode="NOERROR",plugin="cache"}} 10\n' in text
