"""Figures of a run and what is computed from them: medians, ratios, order."""

import statistics

# (server, figure) -> one value for each round, in order. A figure is "mix.what", such as "zipf.cpu".
Figures = dict[tuple[str, str], list[float]]

FLOOR, OURS = "echo", "nodedns"


def median(figures: Figures, server: str, figure: str) -> float | None:
    """The middle of the rounds, None without any."""
    values = figures.get((server, figure))
    return statistics.median(values) if values else None


def ratio(figures: Figures, server: str, base: str, figure: str) -> float | None:
    """The middle of the ratios round by round: what slows the machine for one round slows both sides of its ratio."""
    pairs = zip(figures.get((server, figure), ()), figures.get((base, figure), ()), strict=False)
    ratios = [one / other for one, other in pairs if other]
    return statistics.median(ratios) if ratios else None


def servers(figures: Figures, figure: str) -> list[str]:
    """The servers that have a figure, least first."""
    found = {server for server, name in figures if name == figure}
    return sorted(found, key=lambda server: statistics.median(figures[server, figure]))
