"""The files of packaging/monitoring: made from what they say they are made from, to the liking of promtool and Grafana,
and every alert explained.
"""

import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nodedns.monitor.families import NEW, served

ROOT = Path(__file__).resolve().parents[2]
HERE = ROOT / "packaging/monitoring"
DASHBOARD = json.loads((HERE / "nodedns.grafana.json").read_text())
COLUMNS = 24
BUILT_IN = {"__rate_interval", "__interval", "__range", "__all"}


def run(*command: str) -> str:
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("name", ["nodedns.PrometheusRule.yaml", "nodedns.grafana.json"])
def test_made_by_the_generator(name: str, tmp_path: Path) -> None:
    """The committed file is what make.py writes today (else run it)."""
    run(sys.executable, "make.py", str(tmp_path))
    assert (HERE / name).read_text() == (tmp_path / name).read_text()


def test_promtool_is_content() -> None:
    """With the rules, the job and what is in the operator's object."""
    count = (HERE / "nodedns.rules.yml").read_text().count("- alert: ")
    assert f"{count} rules found" in run("promtool", "check", "rules", "nodedns.rules.yml")
    assert "SUCCESS" in run("promtool", "check", "config", "prometheus.yml")


def test_the_operators_object_holds_the_rules() -> None:
    """Its spec, taken out, is the rule file without its comment."""
    _, _, spec = (HERE / "nodedns.PrometheusRule.yaml").read_text().partition("spec:\n")
    rules = (HERE / "nodedns.rules.yml").read_text()
    assert re.sub("^  ", "", spec, flags=re.MULTILINE) == rules[rules.index("groups:") :]


def test_every_alert_is_explained() -> None:
    """A heading of docs/alerts.md for each, in the same order; each says what it is and of whom."""
    alerts = re.findall(r"- alert: (\w+)", (HERE / "nodedns.rules.yml").read_text())
    assert re.findall(r"^## (\w+)", (ROOT / "docs/alerts.md").read_text(), re.MULTILINE) == list(dict.fromkeys(alerts))
    for alert in (HERE / "nodedns.rules.yml").read_text().split("- alert: ")[1:]:
        assert re.search(r"severity: (critical|warning)\n.*annotations:\n +summary: \S.*\n +description: ", alert, re.S)


def test_the_newest_generation_is_enough() -> None:
    """Rules and dashboard ask for nothing that `metrics.coredns = ["1.11"]` leaves out."""
    known = {family.name for family in served((NEW,))}
    text = (HERE / "nodedns.rules.yml").read_text() + (HERE / "nodedns.grafana.json").read_text()
    asked = {re.sub("_(bucket|count)$", "", name) for name in re.findall(r"\b(\w+)\{job=", text)}
    assert len(asked) > 30
    assert asked - known == {"up"}


def panels(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    """Without the headings of rows."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def problems(dashboard: dict[str, Any]) -> Iterator[str]:
    """What Grafana would not take, or not show as it is meant."""
    yield from (f"panel id {i} twice" for i, n in Counter(p["id"] for p in dashboard["panels"]).items() if n > 1)
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        if not cells or taken & cells or at["x"] < 0 or at["x"] + at["w"] > COLUMNS:
            yield f"{panel['title']}: lies on another or outside"
        taken |= cells
    known = {variable["name"] for variable in dashboard["templating"]["list"]} | BUILT_IN
    for panel in panels(dashboard):
        if not panel["title"] or not panel["targets"] or "datasource" not in panel:
            yield f"panel {panel['id']}: no title, no target or no data source"
        if len({target["refId"] for target in panel["targets"]}) < len(panel["targets"]):
            yield f"{panel['title']}: a refId twice"
        used = set(re.findall(r"\$\{?(\w+)", json.dumps(panel)))
        yield from (f"{panel['title']}: ${name} is no variable" for name in used - known)
        yield from (f"{panel['title']}: an empty expr" for target in panel["targets"] if not target["expr"].strip())
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query" and not variable["definition"].startswith("label_values("):
            yield f"variable {variable['name']} asks nothing"
    if not isinstance(dashboard["schemaVersion"], int) or not {"from", "to"} <= dashboard["time"].keys():
        yield "no schemaVersion, or no time"


def test_grafana_takes_the_dashboard() -> None:
    assert list(problems(DASHBOARD)) == []


def test_its_data_source_and_its_nodes_can_be_chosen() -> None:
    """No panel asks a fixed data source; each expression asks our job alone, and the chosen nodes."""
    assert [(v["name"], v["type"]) for v in DASHBOARD["templating"]["list"]] == [
        ("datasource", "datasource"),
        ("instance", "query"),
    ]
    for panel in panels(DASHBOARD):
        for target in panel["targets"]:
            assert panel["datasource"]["uid"] == target["datasource"]["uid"] == "${datasource}"
            selectors = re.findall(r"\{(.*?)\}", target["expr"])
            assert selectors
            assert all(one.startswith('job="node-local-dns",instance=~"$instance"') for one in selectors)


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d["panels"][2].update(id=d["panels"][1]["id"]),
        lambda d: d["panels"][2]["gridPos"].update(x=0),
        lambda d: d["panels"][-1]["gridPos"].update(x=20),
        lambda d: d["panels"][-1]["targets"][0].update(expr="up{pod=~'$pod'}"),
        lambda d: d["panels"][-1]["targets"].append(d["panels"][-1]["targets"][0]),
        lambda d: d["panels"][-1].update(title=""),
        lambda d: d["time"].clear(),
    ],
    ids=["id", "overlap", "outside", "variable", "refId", "title", "time"],
)
def test_a_broken_dashboard_is_noticed(change: Any) -> None:
    broken = json.loads(json.dumps(DASHBOARD))
    change(broken)
    assert list(problems(broken))
