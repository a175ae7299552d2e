"""Picture of how served features differ from those of training, as PNG bytes made with matplotlib.

Upstream: rows of ``feature_parity``. Downstream: asset metadata. matplotlib is imported when a picture is drawn.
"""

import io
import warnings
from typing import Any

import pandas as pd

MAX_SHOWN = 30
IN_TRANSIT = "in_transit"


def parity_png(rows: pd.DataFrame, title: str) -> bytes:
    """Share of differing values by cause: above day by day, below by feature, those that differ most on top.

    Values whose newer row was in transit are drawn in grey: they are no fault.
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    different = rows[rows["cause"] != "same"]
    causes = sorted(set(different["cause"]) - {IN_TRANSIT})
    colours = {cause: colormaps["tab10"](place) for place, cause in enumerate(causes)} | {IN_TRANSIT: "#bbbbbb"}
    by_day = _shares(rows, different, "day_at")
    by_feature = _shares(rows, different, "feature")
    by_feature = by_feature.loc[by_feature.sum(axis=1).sort_values(kind="stable").index[-MAX_SHOWN:]]
    heights = [2.0, 0.6 + 0.24 * max(len(by_feature), 1)]
    figure = Figure(figsize=(9, sum(heights) + 1.0), layout="constrained")
    above, below = figure.subplots(2, 1, height_ratios=heights)
    _stack(above.bar, "bottom", by_day, colours)
    _stack(below.barh, "left", by_feature, colours)
    step = max(1, len(by_day) // 14)
    above.set_xticks(range(0, len(by_day), step), [f"{day:%m-%d}" for day in by_day.index[::step]])
    below.set_yticks(range(len(by_feature)), by_feature.index.astype(str), parse_math=False)
    for axes, axis in ((above, above.yaxis), (below, below.xaxis)):
        axis.set_major_formatter(lambda share, _: f"{share:.3g} %")
        axes.tick_params(labelsize=8)
    above.set_title(title, loc="left", fontsize=10)
    if by_day.columns.size:
        above.legend(fontsize=8, ncols=4, loc="upper left")
    else:
        above.text(0.5, 0.5, "no value differs", transform=above.transAxes, ha="center", va="center")
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph", UserWarning)  # a letter the font lacks is drawn as a box
        figure.savefig(buffer, format="png", dpi=90)
    return buffer.getvalue()


def _shares(rows: pd.DataFrame, different: pd.DataFrame, by: str) -> pd.DataFrame:
    """Percent of the compared values, a row a day or feature that was compared and a column a cause."""
    compared = rows.drop_duplicates(["day_at", "feature"]).groupby(by)["n_compared"].sum()
    counts = different.groupby([by, "cause"])["n"].sum().unstack(fill_value=0)
    return counts.reindex(compared.index, fill_value=0).div(compared, axis=0) * 100


def _stack(draw: Any, base: str, shares: pd.DataFrame, colours: dict[str, Any]) -> None:
    done = shares.sum(axis=1) * 0
    for cause in shares.columns:
        draw(range(len(shares)), shares[cause], label=cause, color=colours[cause], **{base: done})
        done = done + shares[cause]
