"""The picture: CPU per query of every server, hits left, misses right. Needs matplotlib (the extra `bench`)."""

from pathlib import Path

import matplotlib

from tests.bench.figures import FLOOR, OURS, Figures, median, servers

matplotlib.use("Agg")  # no display: a benchmark runs on a server
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

PANELS = (
    ("Hits", (("seed.cpu", "twelve names"), ("zipf.cpu", "Zipf, 30 % NXDOMAIN"))),
    ("Misses", (("miss_udp.cpu", "UDP upstream"), ("miss_tcp.cpu", "TCP upstream"))),
)
COLOURS = (("#9aa5b1", "#cbd2d9"), ("#1f6feb", "#79b0ff"))  # the others, ours: two mixes each
BAR = 0.38


def panel(axes: Axes, figures: Figures, title: str, bars: tuple[tuple[str, str], ...]) -> None:
    """One bar for each server and mix, cheapest on top; a line at the floor."""
    names = servers(figures, bars[0][0])
    for offset, (figure, label) in enumerate(bars):
        for row, name in enumerate(names):
            value = median(figures, name, figure)
            if value is None:
                continue
            place = row + (offset - 0.5) * BAR
            axes.barh(place, value, BAR, color=COLOURS[name == OURS][offset], label=label if row == 0 else None)
            axes.text(value, place, f" {value:.1f}", va="center", fontsize=7)
    floor = median(figures, FLOOR, bars[0][0])
    if floor is not None:
        axes.axvline(floor, color="#d64545", linewidth=1, label="floor: bare UDP echo")
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_xlabel("server CPU, microseconds per query (less is better)")
    axes.set_title(title)
    axes.legend(fontsize=7, loc="upper right")


def draw(figures: Figures, path: Path) -> None:
    """Draw the panels that have figures into a PNG."""
    shown = [(title, bars) for title, bars in PANELS if servers(figures, bars[0][0])]
    figure, places = plt.subplots(1, len(shown), figsize=(6.5 * len(shown), 4.8), layout="constrained", squeeze=False)
    for axes, (title, bars) in zip(places[0], shown, strict=True):
        panel(axes, figures, title, bars)
    figure.savefig(path, dpi=120)
    plt.close(figure)
