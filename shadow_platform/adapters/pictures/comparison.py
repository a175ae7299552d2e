"""Picture of champion and challenger over time.

Upstream: ``shadow_comparisons``. Downstream: metadata of ``shadow_comparison_hourly``, results in the registry.
"""

import io
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CHAMPION, NEUTRAL = "#1f5fa8", "#666666"
CHALLENGERS = ("#d1661f", "#2f8f5b", "#8a4fa3")


def comparison_png(comparisons: pd.DataFrame, title: str) -> bytes:
    """Hourly mean probability of champion and challenger, and below it the difference with its 5 to 95 % range.

    Args:
        comparisons: compared rows of ``shadow_comparisons``; one line a challenger.
    """
    figure, (above, below) = _two_axes()
    times = comparisons["requested_at"].dt.floor("h")
    champion = comparisons.groupby(times)["champion_probability"].mean()
    above.plot(champion.index, champion, color=CHAMPION, label="champion", linewidth=1.2)
    for place, (version, rows) in enumerate(comparisons.groupby("challenger_version")):
        color = CHALLENGERS[place % len(CHALLENGERS)]
        hours = times.loc[rows.index]
        probability = rows.groupby(hours)["challenger_probability"].mean()
        difference = rows.groupby(hours)["probability_diff"]
        low, middle, high = difference.quantile(0.05), difference.mean(), difference.quantile(0.95)
        above.plot(probability.index, probability, color=color, label=f"challenger {version}", linewidth=1.2)
        below.plot(middle.index, middle, color=color, linewidth=1.2)
        below.fill_between(middle.index, low, high, color=color, alpha=0.2, linewidth=0)
    below.axhline(0, color=NEUTRAL, linewidth=0.8)
    above.set_ylabel("mean probability")
    below.set_ylabel("challenger − champion\n(mean, 5–95 %)")
    return _png(figure, above, title)


def _two_axes() -> "tuple[Figure, tuple[Axes, Axes]]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4.8), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    return figure, (above, below)


def _png(figure: "Figure", above: "Axes", title: str) -> bytes:
    above.set_title(title, loc="left", fontsize=10)
    above.legend(loc="upper right", fontsize=8, frameon=False)
    for axes in figure.axes:
        axes.grid(alpha=0.2)
        axes.tick_params(labelsize=8)
    figure.autofmt_xdate()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=90)
    return buffer.getvalue()
