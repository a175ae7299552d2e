"""Picture of a view's days: its rows, and the share of missing values by feature, as PNG bytes made with matplotlib.

Upstream: records of partitions. Downstream: metadata of view assets. matplotlib is imported when a picture is drawn.
"""

import io
import warnings

import numpy as np
import pandas as pd

MAX_SHOWN = 40


def feature_days_png(rows: "pd.Series[int]", null_rates: pd.DataFrame, title: str) -> bytes:
    """Bars of rows a day over a heat map of null rates, the features with most on top.

    Args:
        rows: by day.
        null_rates: one row a day, as in ``rows``, and one column a feature; null for a day without rows (grey).
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    days = pd.date_range(rows.index.min(), rows.index.max(), freq="D")
    rows, null_rates = rows.reindex(days), null_rates.reindex(days)
    order = null_rates.max().sort_values(ascending=False, kind="stable").index[:MAX_SHOWN]
    height = 0.24 * max(len(order), 1)
    figure = Figure(figsize=(9, 2.6 + height), layout="constrained")
    bars, cells = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [1.4, height]})
    places = np.arange(len(days))
    bars.bar(places, rows.fillna(0), width=0.9, color="#4c72b0")
    bars.set_ylabel("rows", fontsize=8)
    bars.set_title(title, loc="left", fontsize=10)
    colours = colormaps["OrRd"].with_extremes(bad="#dddddd")
    values = np.ma.masked_invalid(null_rates[order].to_numpy(dtype="float64").T)
    image = cells.imshow(values, aspect="auto", cmap=colours, vmin=0, vmax=1, interpolation="nearest")
    figure.colorbar(image, ax=cells, format="{x:.0%}", label="missing")
    cells.set_yticks(range(len(order)), order, parse_math=False)
    step = max(1, len(days) // 14)
    cells.set_xticks(places[::step], days[::step].strftime("%m-%d"))
    for axes in (bars, cells):
        axes.tick_params(labelsize=8)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph", UserWarning)  # a letter the font lacks is drawn as a box
        figure.savefig(buffer, format="png", dpi=90)
    return buffer.getvalue()
