"""The pure parts of the benchmark: what it asks, what it reads, what it computes."""

from pathlib import Path

import pytest

from nodedns import config
from tests.bench import authority, figures, measure, mixes, peers, processes, report, targets

DNSPERF = """\
DNS Performance Testing Tool
Version 2.10.0

[Status] Command line: dnsperf -s 127.0.0.1 -p 15353 -d seed-queries.txt -l 2 -c 16 -T 1 -q 300
[Timeout] Query timed out: msg id 25648

Statistics:

  Queries sent:         259904
  Queries completed:    259869 (99.99%)
  Queries lost:         35 (0.01%)

  Response codes:       NOERROR 181908 (70.00%), NXDOMAIN 77951 (30.00%), SERVFAIL 10 (0.00%)
  Average packet size:  request 35, response 35
  Run time (s):         2.000171
  Queries per second:   129923.391550
"""
FIGURES: figures.Figures = {
    ("echo", "seed.cpu"): [4.0, 8.0, 4.0],
    ("nodedns", "seed.cpu"): [4.4, 8.8, 5.0],
    ("unbound", "seed.cpu"): [5.5, 11.0, 5.5],
    ("nodedns", "storm.added"): [700.0, 100.0, 200.0],
    ("echo", "idle.cpu"): [0.0],
    ("nodedns", "idle.cpu"): [1.0],
}


def test_dnsperf_report_is_read() -> None:
    """Counts, run time and every response code come out of dnsperf's own words."""
    load = measure.parse_dnsperf(DNSPERF)
    assert load == measure.Load(259904, 259869, 2.000171, {"NOERROR": 181908, "NXDOMAIN": 77951, "SERVFAIL": 10})
    assert (load.lost, load.failed) == (35, 10)


def test_dnsperf_without_an_answer_is_read() -> None:
    """A server that answers nothing leaves the line of response codes empty."""
    text = "Queries sent: 300\nQueries completed: 0 (0.00%)\nResponse codes:\nRun time (s): 1.5\n"
    assert measure.parse_dnsperf(text) == measure.Load(300, 0, 1.5, {})


def test_prober_line_is_read() -> None:
    """The prober's one line becomes counts and microseconds."""
    line = "sent 5000 answered 4999 p50_us 12.7 p99_us 29.2 max_us 1027.4\n"
    assert measure.parse_prober(line) == measure.Latency(5000, 4999, 12.7, 29.2)


@pytest.mark.parametrize("parse", [measure.parse_dnsperf, measure.parse_prober])
@pytest.mark.parametrize("text", ["", "Error: unable to open file\n", DNSPERF[:150]])
def test_other_text_is_refused_with_its_end(parse: object, text: str) -> None:
    """What is no report raises BenchError that shows what came instead."""
    assert callable(parse)
    with pytest.raises(processes.BenchError, match=r"expected .* got") as error:
        parse(text)
    assert repr(text[-20:])[1:-1] in str(error.value)


def test_seed_names_are_the_twelve() -> None:
    """The seed's file is read whole, in its order, and one of its names does not exist."""
    names = mixes.seed_names()
    assert (len(set(names)), names[0], names[-1]) == (12, "baidu.com", "kubernetes")


def test_cluster_names_are_distinct_and_three_in_ten_absent() -> None:
    """20,000 names, 30 % of them absent from the authority's zone and the others in it."""
    names = mixes.cluster_names()
    missing = [name for rank, name in enumerate(names, 1) if mixes.absent(rank)]
    assert (len(set(names)), len(missing)) == (mixes.CLUSTER_NAMES, mixes.CLUSTER_NAMES * 3 // 10)
    zone = authority.zones()["cluster.zone"]
    served = {line.split(". A ")[0] for line in zone.splitlines() if ". A " in line}
    assert served >= set(names) - set(missing)
    assert not served & set(missing)


def test_zipf_is_zipf_and_asks_for_absent_names_in_three_of_ten() -> None:
    """Rank 1 is asked ten times as often as rank 10, and 30 % of the queries end in NXDOMAIN, within a twentieth."""
    names = mixes.cluster_names()
    drawn = mixes.zipf(names, mixes.ZIPF_QUERIES)
    assert drawn.count(names[0]) / drawn.count(names[9]) == pytest.approx(10, rel=0.05)
    absent = {name for rank, name in enumerate(names, 1) if mixes.absent(rank)}
    assert sum(name in absent for name in drawn) / len(drawn) == pytest.approx(0.30, rel=0.05)


def test_zipf_repeats_itself() -> None:
    """The same names and seed give the same queries, another seed others."""
    names = mixes.cluster_names()[:100]
    assert mixes.zipf(names, 50) == mixes.zipf(names, 50) != mixes.zipf(names, 50, seed=1)


def test_unique_names_never_meet() -> None:
    """Neither within a tag nor across tags does a name come twice."""
    names = [*mixes.unique("a", 1000), *mixes.unique("b", 1000)]
    assert len(set(names)) == 2000
    assert all(name.endswith(".miss.test") for name in names)


@pytest.mark.parametrize(
    ("server", "figure", "expected"),
    [("nodedns", "seed.cpu", 5.0), ("nodedns", "storm.added", 200.0), ("nodedns", "zipf.cpu", None)],
)
def test_median_is_the_middle_round(server: str, figure: str, expected: float | None) -> None:
    """The middle of the rounds, and None without any."""
    assert figures.median(FIGURES, server, figure) == expected


@pytest.mark.parametrize(
    ("base", "figure", "expected"),
    [
        ("echo", "seed.cpu", 1.1),
        ("unbound", "seed.cpu", 0.8),
        ("dnsmasq", "seed.cpu", None),
        ("echo", "idle.cpu", None),
    ],
)
def test_ratio_pairs_the_rounds(base: str, figure: str, expected: float | None) -> None:
    """A round that was twice as slow for all moves no ratio; a missing or zero base gives none."""
    assert figures.ratio(FIGURES, "nodedns", base, figure) == (expected and pytest.approx(expected))


def test_servers_come_least_first() -> None:
    """The order of a table is the order of its medians."""
    assert figures.servers(FIGURES, "seed.cpu") == ["echo", "nodedns", "unbound"]


def test_mix_table_shows_medians_and_ratios() -> None:
    """One row: the median, the ratios to the bases that were measured, dashes for what was not."""
    lines = report.mix_table(FIGURES, "seed").splitlines()
    assert lines[0].startswith("| server | CPU us/query | / echo | / unbound | q/s |")
    assert lines[3] == "| **nodedns** | 5.0 | 1.10 x | 0.80 x | - | - | - | - | - | - |"


@pytest.mark.parametrize(
    ("what", "verdict"),
    [
        ("hit, twelve names: CPU / echo", "yes"),
        ("hit, twelve names: CPU / cheapest peer", "yes"),
        ("storm: added to hit p99, us", "yes"),
        ("hit, Zipf: CPU / echo", "not measured"),
    ],
)
def test_targets_are_judged(what: str, verdict: str) -> None:
    """A promise is kept, broken or not measured, never silently left out."""
    row = next(line for line in report.targets_table(FIGURES).splitlines() if line.startswith(f"| {what} |"))
    assert row.endswith(f"| {verdict} |")


@pytest.mark.parametrize(
    ("at_most", "value", "met"), [(True, 40.0, True), (True, 40.1, False), (False, 40.0, True), (False, 39.9, False)]
)
def test_target_knows_its_good_side(at_most: bool, value: float, met: bool) -> None:
    """The limit itself is good, and only one side of it."""
    assert targets.Target("any", 40.0, at_most, lambda _: value).met(value) is met


@pytest.mark.parametrize("peer", peers.PEERS, ids=lambda peer: peer.name)
def test_peers_render_without_gaps(peer: peers.Peer, tmp_path: Path) -> None:
    """Every template is filled from what the harness offers, ports included, over each transport a peer knows."""
    for transport in peer.transports or ("udp",):
        home = tmp_path / transport
        command = peer.render(home, 5301, 5302, transport, {"echo": "/bin/echo", "nodedns": "python -m nodedns"})
        config = (home / peer.file).read_text()
        assert "$" not in config + " ".join(command)
        assert "5301" in config + " ".join(command)
        assert not peer.caches or ("5302" in config and peer.transports[transport] in config)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_nodedns_is_measured_on_a_config_it_accepts(transport: str, tmp_path: Path) -> None:
    """The bench's own file parses, listens where the load goes, and keeps the authority's hour."""
    ours = next(peer for peer in peers.PEERS if peer.name == figures.OURS)
    ours.render(tmp_path / "home", 5301, 5302, transport, {"nodedns": "nodedns"})
    parsed = config.parse((tmp_path / "home" / ours.file).read_text())
    assert [str(endpoint) for endpoint in parsed.node.listen] == ["127.0.0.1:5301"]
    zones = {zone.name: zone for zone in parsed.zones}
    for zone in (zones["cluster.local."], zones["."]):
        assert (zone.transport, zone.success.max_ttl, zone.denial.max_ttl) == (transport, mixes.TTL, mixes.TTL)
        assert [str(endpoint) for endpoint in zone.forward] == ["127.0.0.1:5302"]
