"""/metrics under the unit's own hardening, and through the death of the parent."""

import sys

from tests.node.node import Node

SOCKETS = 2 * 2 * 2 + 1
"""Of two workers at two addresses over UDP and TCP, and the one that is scraped."""
FETCH = """import urllib.request
print(urllib.request.urlopen("http://127.0.0.1:9253/metrics", timeout=10).read().decode())"""


def scrape(node: Node) -> dict[str, float]:
    """The samples; while there is no monitor, it waits for the next one."""
    lines = node.outside("node", sys.executable, "-c", FETCH).splitlines()
    pairs = [line.rpartition(" ")[::2] for line in lines if line and not line.startswith("#")]
    return {name: float(value) for name, value in pairs}


def fallen(before: dict[str, float], after: dict[str, float]) -> list[str]:
    """Counters that are less than they were, or gone."""
    return [
        name
        for name, value in before.items()
        if name.startswith(("coredns_", "nodedns_")) and "_total" in name and after.get(name, -1) < value
    ]


def test_scraped_through_a_restart(node: Node) -> None:
    """A restart in order is one start more, and no counter falls."""
    node.await_(node.active, "active")
    before = scrape(node)
    node.run("systemctl", "restart", "nodedns", check=True)
    after = scrape(node)
    assert after["nodedns_starts_total"] == before["nodedns_starts_total"] + 1
    assert fallen(before, after) == []


def test_scraped_through_a_death(node: Node) -> None:
    """No scrape fails and no counter falls; the parent's own figures are there, though user nodedns may not see it."""
    node.await_(node.active, "active")
    before, pid = scrape(node), node.main_pid()
    assert before["nodedns_starts_total"] >= 1
    assert 0 < before["process_cpu_seconds_total"] < 3600
    assert 40 << 20 < before["process_resident_memory_bytes"] < 256 << 20
    assert 10 < before["process_open_fds"] < before["process_max_fds"]
    node.run("systemctl", "kill", "-s", "KILL", "--kill-who=main", "nodedns", check=True)
    assert scrape(node)
    node.await_(lambda: node.main_pid() not in (0, pid) and node.active(), "active again")
    after = scrape(node)
    assert after["nodedns_starts_total"] == before["nodedns_starts_total"] + 1
    assert after["nodedns_fdstore_adoptions_total"] == before["nodedns_fdstore_adoptions_total"] + SOCKETS
    assert fallen(before, after) == []
