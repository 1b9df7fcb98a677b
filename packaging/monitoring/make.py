"""Writes nodedns.PrometheusRule.yaml from nodedns.rules.yml, and nodedns.grafana.json from panels.py.

python packaging/monitoring/make.py [FOLDER]

FOLDER is where they go, this one if none is given. tests/monitoring/test_files.py compares what is committed with what
this writes.
"""

import json
import sys
import textwrap
from pathlib import Path
from typing import Any

from panels import ROWS, Panel

HERE = Path(__file__).parent
WIDTH, STAT_HEIGHT, SERIES_HEIGHT, ROW_HEIGHT = 24, 4, 8, 1
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
HEAD = """\
# Made by make.py from nodedns.rules.yml. `prometheus` and `role` are what kube-prometheus selects rules by.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: nodedns-rules
  namespace: monitoring
  labels:
    prometheus: k8s
    role: alert-rules
spec:
"""


def rule() -> str:
    """nodedns.PrometheusRule.yaml: the rule file is its spec."""
    rules = (HERE / "nodedns.rules.yml").read_text()
    return HEAD + textwrap.indent(rules[rules.index("groups:") :], "  ")


def variables() -> list[dict[str, Any]]:
    """What a user chooses at the top of the dashboard."""
    query = 'label_values(up{job="node-local-dns"}, instance)'
    instance = {
        "name": "instance",
        "label": "Node",
        "type": "query",
        "datasource": SOURCE,
        "definition": query,
        "query": {"query": query, "refId": "instance"},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": ["All"], "value": ["$__all"]},
    }
    source = {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "refresh": 1}
    return [source, instance]


def look(panel: Panel) -> dict[str, Any]:
    """A panel's type and how it is drawn."""
    defaults: dict[str, Any] = {"unit": panel.unit, "min": 0}
    if panel.alarm is not None:
        steps = [{"color": "green", "value": None}, {"color": "red", "value": panel.alarm}]
        defaults |= {"thresholds": {"mode": "absolute", "steps": steps}, "color": {"mode": "thresholds"}}
        options: dict[str, Any] = {
            "reduceOptions": {"calcs": ["lastNotNull"]},
            "colorMode": "value",
            "graphMode": "area",
        }
        return {"type": "stat", "fieldConfig": {"defaults": defaults, "overrides": []}, "options": options}
    stacking = {"mode": "normal" if panel.stacked else "none", "group": "A"}
    defaults["custom"] = {"lineWidth": 1, "fillOpacity": 25 if panel.stacked else 5, "stacking": stacking}
    options = {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi", "sort": "desc"}}
    return {"type": "timeseries", "fieldConfig": {"defaults": defaults, "overrides": []}, "options": options}


def targets(panel: Panel) -> list[dict[str, Any]]:
    """A panel's queries."""
    return [
        {"refId": chr(ord("A") + number), "expr": expr, "legendFormat": legend, "datasource": SOURCE}
        for number, (expr, legend) in enumerate(panel.queries)
    ]


def panels() -> list[dict[str, Any]]:
    """All panels, laid out from left to right and from top to bottom."""
    made: list[dict[str, Any]] = []
    y = 0

    def place(what: dict[str, Any], x: int, width: int, height: int) -> None:
        made.append({"id": len(made) + 1, "gridPos": {"x": x, "y": y, "w": width, "h": height}, **what})

    for title, row in ROWS.items():
        place({"type": "row", "title": title, "collapsed": False, "panels": []}, 0, WIDTH, ROW_HEIGHT)
        y, x = y + ROW_HEIGHT, 0
        for panel in row:
            height = SERIES_HEIGHT if panel.alarm is None else STAT_HEIGHT
            words = {"title": panel.title, "description": panel.about, "datasource": SOURCE, "targets": targets(panel)}
            place({**words, **look(panel)}, x, panel.width, height)
            x += panel.width
            if x >= WIDTH:
                y, x = y + height, 0
    return made


def dashboard() -> str:
    """nodedns.grafana.json, for Grafana 9 and later."""
    content = {
        "title": "nodedns",
        "uid": "nodedns",
        "description": "The DNS cache of every node.",
        "tags": ["dns"],
        "schemaVersion": 36,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "timezone": "browser",
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": variables()},
        "panels": panels(),
        "annotations": {"list": []},
        "links": [],
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def main(folder: Path) -> None:
    """Writes both."""
    (folder / "nodedns.PrometheusRule.yaml").write_text(rule())
    (folder / "nodedns.grafana.json").write_text(dashboard())


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else HERE)
