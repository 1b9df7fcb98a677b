"""docs/metrics.md and the table of metrics: each name is served, explained, and understood by Prometheus's parsers."""

import importlib.util
import re
import struct
from pathlib import Path
from types import ModuleType

import pytest
from prometheus_client import parser as exposition
from prometheus_client.openmetrics import parser as openmetrics

from nodedns import native
from nodedns.config_values import GENERATIONS
from nodedns.monitor import families
from nodedns.monitor.families import FAMILIES, PLAIN, served
from nodedns.monitor.rows import row_series
from nodedns.monitor.text import Page, labelled

DOCS = Path(__file__).parents[2] / "docs"
ELSEWHERE = {
    "late_hits": "of use to who measures the miss loop",
    "received": "nodedns_batch_queries_sum",
    "upstream_udp": "nodedns_upstream_queries_total",
    "upstream_tcp": "nodedns_upstream_queries_total",
    "upstream_replies": "coredns_proxy_request_duration_seconds_count",
    "upstream_timeouts": "nodedns_upstream_timeouts_total",
    "upstream_errors": "nodedns_upstream_errors_total",
    "upstream_connects": "coredns_proxy_conn_cache_misses_total",
    "probes": "coredns_proxy_healthcheck_failures_total has those without an answer",
}
"""Counters of native/counters.h that are not served by themselves, and where they are seen."""


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_metrics", DOCS / "make_metrics.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


make_metrics = generator()


def test_page_is_made_from_the_table() -> None:
    """The committed page is what the generator writes today (else run docs/make_metrics.py)."""
    text = (DOCS / "metrics.md").read_text()
    assert text == make_metrics.page(text)


@pytest.mark.parametrize("open_", [False, True])
def test_every_family_is_served(open_: bool) -> None:
    """Once everything has happened; under its kind and with its help, one block each."""
    text = make_metrics.everything(open_)
    parse = openmetrics.text_string_to_metric_families if open_ else exposition.text_string_to_metric_families
    found = {family.name: family for family in parse(text)}
    names = {family.name.removesuffix("_total") if family.kind == "counter" else family.name for family in FAMILIES}
    assert set(found) == names
    for family in FAMILIES:
        name = family.name.removesuffix("_total") if family.kind == "counter" else family.name
        assert (found[name].type, found[name].documentation) == (family.kind, family.help)
        assert found[name].samples
    lines = [line for line in text.split("\n") if line and not line.startswith("#")]
    series = [line.rpartition(" ")[0] for line in lines]
    assert len(series) == len(set(series))


def test_every_counter_is_seen() -> None:
    """A new one needs a name, or a reason."""
    counted = {source for sources in PLAIN.values() for source in sources.values()}
    counters = {name for name in native.COUNTER_NAMES if not re.match(r"batch_\d+$", name)}
    parents = {name for name in native.PARENT_NAMES if not re.match(r"probe_(\d|us)$", name)}
    assert counters | parents == counted | set(ELSEWHERE)
    assert not counted & set(ELSEWHERE)
    assert set(PLAIN) <= {family.name for family in FAMILIES}


def test_generations() -> None:
    """Each has its own names, all together every name, none at all what is ours."""
    assert GENERATIONS == (families.OLD, families.MID, families.NEW)
    assert served(GENERATIONS) == FAMILIES
    names = {text: {family.name for family in served((text,))} for text in GENERATIONS}
    old, mid, new = (names[text] for text in GENERATIONS)
    assert "coredns_dns_request_count_total" in old - mid
    assert "coredns_forward_requests_total" in mid - old - new
    assert "coredns_proxy_request_duration_seconds" in new - mid
    assert {
        "coredns_cache_hits_total",
        "coredns_dns_request_duration_seconds",
        "nodedns_answers_total",
    } <= old & mid & new
    assert not {name for family in served(()) if (name := family.name).startswith("coredns_")}


def test_labels_are_escaped() -> None:
    """A quote, a backslash or a line's end in a value ends nothing."""
    assert labelled({"a": 'x"y\\z\n', "b": ""}) == 'a="x\\"y\\\\z\\n",b=""'


def test_an_address_of_ipv6() -> None:
    """Its family is 2."""
    page = Page(FAMILIES, openmetrics=False)
    length = sum(max(native.ROW.values()))
    row_series("dns://[fd00::1]:53", "a.example.", page).write(struct.pack("=Q", 7) * length, page)
    label = 'server="dns://[fd00::1]:53",zone="a.example."'
    assert f'coredns_dns_request_count_total{{{label},proto="tcp",family="2"}} 133\n'.encode() in page.text()
    assert f'coredns_dns_request_type_count_total{{{label},type="other"}} 14\n'.encode() in page.text()
    assert f'coredns_dns_response_rcode_count_total{{{label},rcode="BADVERS"}} 7\n'.encode() in page.text()
