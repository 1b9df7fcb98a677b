"""A dashboard's JSON and a Prometheus -> a PNG: each panel where Grafana would put it, with the data that Grafana would
ask for. Needs matplotlib (the extra `bench`).
"""

import math
import re
from pathlib import Path
from typing import Any

import matplotlib

from tests.monitoring.prometheus import Prometheus

matplotlib.use("Agg")  # no display
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

COLUMN, LINE = 0.58, 0.34  # inches of a grid's cell
INK, PALE, GREEN, RED = "#24292f", "#6e7781", "#1a7f37", "#cf222e"
COLOURS = ("#1f6feb", "#d4a72c", "#1a7f37", "#cf222e", "#8250df", "#bf3989", "#0d7d8c", "#953800", "#57606a", "#79b0ff")
STEPS = {
    "s": ((1, "s", 1), (1e-3, "ms", 1e3), (0, "µs", 1e6)),
    "bytes": ((2**20, "MiB", 2**-20), (2**10, "KiB", 2**-10), (0, "B", 1)),
    "reqps": ((1e3, "k/s", 1e-3), (0, "/s", 1)),
    "percentunit": ((0, "%", 100),),
    "short": ((1e3, "k", 1e-3), (0, "", 1)),
}


def words(value: float, unit: str) -> str:
    """A value as a person reads it."""
    _, suffix, factor = next(step for step in STEPS[unit] if abs(value) >= step[0])
    scaled = value * factor if value else 0.0
    digits = max(0, 2 - math.floor(math.log10(abs(scaled)))) if scaled else 0
    text = f"{scaled:.{min(digits, 2)}f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text) + (f" {suffix}" if suffix else "")


Curve = tuple[str, list[float], list[float]]
"""Legend, minutes since the begin, values."""


def curves(prometheus: Prometheus, panel: dict[str, Any], span: tuple[float, float], every: float) -> list[Curve]:
    """What a panel shows."""
    found: list[Curve] = []
    for target in panel["targets"]:
        expr = target["expr"].replace("$instance", ".*").replace("$__rate_interval", f"{math.ceil(4 * every)}s")
        asked = prometheus.get("query_range", query=expr, start=str(span[0]), end=str(span[1]), step=str(every))
        for series in asked["result"]:
            labels = series["metric"]
            legend = re.sub(r"\{\{(\w+)\}\}", lambda m, of=labels: of.get(m[1], ""), target["legendFormat"])
            points = [(float(at), float(value)) for at, value in series["values"]]
            found.append((legend, [(at - span[0]) / 60 for at, _ in points], [value for _, value in points]))
    return sorted(found)


def plot(axes: Axes, panel: dict[str, Any], shown: list[Curve]) -> None:
    """Curves, or areas on top of each other; the legend names those that are not 0 all the time."""
    columns = 3 if panel["gridPos"]["w"] > 6 else 2
    unit = panel["fieldConfig"]["defaults"]["unit"]
    if panel["fieldConfig"]["defaults"]["custom"]["stacking"]["mode"] == "normal" and shown:
        times = max((times for _, times, _ in shown), key=len)
        tables = [dict(zip(at, values, strict=True)) for _, at, values in shown]
        heights = [[table.get(at, 0.0) for at in times] for table in tables]
        axes.stackplot(times, *heights, labels=[legend for legend, _, _ in shown], colors=COLOURS, alpha=0.75)
    else:
        for number, (legend, times, values) in enumerate(shown):
            axes.plot(times, values, label=legend, color=COLOURS[number % len(COLOURS)], linewidth=1.1)
    top = max((value for _, _, values in shown for value in values if not math.isnan(value)), default=0.0)
    axes.set_ylim(0, None if top else 1)
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=unit == "short" and 0 < top < 20))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: words(value, unit)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} min"))
    axes.xaxis.set_major_locator(MaxNLocator(7, steps=[1, 5, 10]))
    axes.margins(x=0)
    axes.tick_params(labelsize=7, colors=PALE, length=2)
    axes.grid(color="#eaeef2", linewidth=0.6)
    for spine in axes.spines.values():
        spine.set_color("#d0d7de")
    moved = [legend for legend, _, values in shown if any(values)] or [legend for legend, _, _ in shown[:3]]
    lines = [(line, text) for line, text in zip(*axes.get_legend_handles_labels(), strict=True) if text in moved]
    style = {"fontsize": 7, "loc": "upper left", "frameon": False, "handlelength": 1.2, "columnspacing": 1.2}
    if any(moved):
        axes.legend(*zip(*lines, strict=True), ncols=columns, bbox_to_anchor=(-0.05, -0.13), **style)


def number(figure: Figure, box: tuple[float, float, float, float], panel: dict[str, Any], shown: list[Curve]) -> None:
    """The last value, large, red from its alarm on."""
    defaults = panel["fieldConfig"]["defaults"]
    last = shown[0][2][-1] if shown else math.nan
    alarm = last >= defaults["thresholds"]["steps"][-1]["value"]
    text = "no data" if math.isnan(last) else words(last, defaults["unit"])
    at = box[0] + box[2] / 2, box[1] + box[3] * 0.42
    figure.text(*at, text, ha="center", va="center", fontsize=17, weight="bold", color=RED if alarm else GREEN)


def draw(
    prometheus: Prometheus, dashboard: dict[str, Any], span: tuple[float, float], every: float, path: Path
) -> None:
    """All panels; `span` is begin and end in Unix time, `every` the seconds between two points."""
    width = 24 * COLUMN
    lines = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in dashboard["panels"])
    figure = plt.figure(figsize=(width, lines * LINE))
    for panel in dashboard["panels"]:
        at = panel["gridPos"]
        x, y = at["x"] / 24, 1 - (at["y"] + at["h"]) / lines
        w, h = at["w"] / 24, at["h"] / lines
        title = x + 0.1 / width, y + h - 0.09 / (lines * LINE)
        if panel["type"] == "row":
            figure.text(*title, panel["title"], va="top", fontsize=12, weight="bold", color=INK)
            continue
        figure.text(*title, panel["title"], va="top", fontsize=9, color=INK)
        shown = curves(prometheus, panel, span, every)
        if panel["type"] == "stat":
            number(figure, (x, y, w, h), panel, shown)
            continue
        left, right, above, below = 0.55 / width, 0.15 / width, 0.32 / (lines * LINE), 0.62 / (lines * LINE)
        plot(figure.add_axes((x + left, y + below, w - left - right, h - above - below)), panel, shown)
    figure.savefig(path, dpi=110, facecolor="white")
    plt.close(figure)
