"""Alerts for faults that need a real node: a firewall in front of us, a crash loop, rules that somebody undoes or that
cannot be put right. Prometheus runs in the node's network.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.monitoring.prometheus import Prometheus
from tests.node.node import Node

NFT = "/usr/sbin/nft"
FIREWALL = """table inet drill {
  chain early { type filter hook prerouting priority 0; udp dport 53 drop; tcp dport 53 drop; }
}
"""
AT = "127.0.0.1:9253"


@pytest.fixture(scope="module")
def prometheus(node: Node, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    home = tmp_path_factory.mktemp("prometheus")
    node.await_(node.steered, "active, with a fallback")
    with Prometheus(home, [AT], inside=node.network.inside("node")) as running:
        running.await_(running.up, "scraping")
        yield running


def firing(prometheus: Prometheus) -> set[str]:
    return {alert.labels["alertname"].removeprefix("NodeLocalDNS") for alert in prometheus.firing()}


def await_alerts(node: Node, prometheus: Prometheus, *names: str) -> None:
    """Until all have fired, not necessarily at once."""
    seen: set[str] = set()

    def there() -> bool:
        seen.update(firing(prometheus))
        return seen >= set(names)

    node.await_(there, f"firing {names}")


def test_a_firewall_in_front_of_us(node: Node, prometheus: Prometheus) -> None:
    """We run, and do not answer ourselves: the node's queries go to the fallback; until the rule has gone."""
    node.await_(lambda: not firing(prometheus), "at rest")  # Absent fires before the first scrape
    node.feed(FIREWALL, "nft", "-f", "-")
    await_alerts(node, prometheus, "ProbeFailing", "FailOpen")
    node.run("nft", "delete", "table", "inet", "drill", check=True)
    node.await_(lambda: not {"ProbeFailing", "FailOpen", "Down"} & firing(prometheus), "well again")


def kill(node: Node) -> None:
    """SIGKILL of the parent; systemd starts it again."""
    before = node.main_pid()
    node.run("systemctl", "kill", "-s", "KILL", "--kill-who=main", "nodedns", check=True)
    node.await_(lambda: node.main_pid() not in (0, before) and node.active(), "active again")


def undo(node: Node) -> None:
    """Our table is deleted; we put it back."""
    node.run("nft", "delete", "table", "inet", "nodedns", check=True)
    node.await_(lambda: "alive4" in node.run("nft", "list", "table", "inet", "nodedns"), "put right")


@pytest.mark.parametrize(("fault", "times", "alert"), [(undo, 7, "Repairing"), (kill, 5, "CrashLooping")])
def test_what_keeps_happening(
    node: Node, prometheus: Prometheus, fault: Callable[[Node], None], times: int, alert: str
) -> None:
    node.await_(node.steered, "steered")
    assert alert not in firing(prometheus)
    for _ in range(times):
        fault(node)
    await_alerts(node, prometheus, alert)


def test_no_fallback(node: Node, prometheus: Prometheus) -> None:
    """Nobody applied the Service kube-dns-endpoints, or somebody took it away."""
    node.await_(node.steered, "steered")
    try:
        node.authority.asked("no endpoints")
        node.run("systemctl", "restart", "nodedns", check=True)
        await_alerts(node, prometheus, "NoFallback")
        assert "kube-dns-endpoints.kube-system.svc names nobody" in node.journal()
    finally:
        node.authority.asked("endpoints")
    node.await_(node.steered, "steered again")


def test_rules_that_cannot_be_put_right(node: Node, prometheus: Prometheus) -> None:
    """The command for them is gone."""
    node.await_(node.steered, "steered")
    away = Path(NFT).with_suffix(".away")
    node.run("mv", NFT, str(away), check=True)
    try:
        node.run(str(away), "delete", "table", "inet", "nodedns", check=True)
        await_alerts(node, prometheus, "SetupErrors")
    finally:
        node.run("mv", str(away), NFT, check=True)
    assert {a.labels["errortype"] for a in prometheus.firing() if "errortype" in a.labels} == {"iptables"}
    node.await_(node.steered, "steered again")
