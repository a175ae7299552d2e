"""Picture of missing values by feature and day, as PNG bytes made with matplotlib.

Upstream: rows of ``data_quality``. Downstream: asset metadata. matplotlib is imported when a picture is drawn.
"""

import io
import warnings

import numpy as np
import pandas as pd

MAX_SHOWN = 40
FULL_COLOUR = 0.2
"""Rise from which on a cell has the darkest colour: a heat map that one dead feature bleaches shows nothing else."""


def missing_values_png(rows: pd.DataFrame, title: str) -> bytes:
    """One row a feature or view and one column a day: the rise of its share of missing values over the reference.

    Those that rose most are on top; a cross marks what failed, a grey cell what could not be judged.
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    shown = rows[rows["check_name"].isin(["missing", "stale"])]
    labels = shown["checked"].where(shown["check_name"].eq("missing"), "rows of " + shown["checked"])
    days = pd.DatetimeIndex(shown["day_at"])
    rises = shown["value"].astype(float).groupby([labels.to_numpy(), days]).max().unstack()
    is_failed = shown["outcome"].eq("fail").groupby([labels.to_numpy(), days]).any().unstack(fill_value=False)
    order = rises.max(axis=1).sort_values(ascending=False, kind="stable").index[:MAX_SHOWN]
    rises, is_failed = rises.loc[order], is_failed.loc[order]
    figure = Figure(figsize=(9, 1.4 + 0.24 * max(len(rises), 1)), layout="constrained")
    axes = figure.subplots()
    if len(rises):
        colours = colormaps["OrRd"].with_extremes(bad="#dddddd")
        values = np.ma.masked_invalid(rises.to_numpy())
        image = axes.imshow(values, aspect="auto", cmap=colours, vmin=0, vmax=FULL_COLOUR, interpolation="nearest")
        figure.colorbar(image, ax=axes, format="{x:.0%}", label="rise over the reference", extend="max")
        places = np.argwhere(is_failed.to_numpy())
        axes.plot(places[:, 1], places[:, 0], "x", color="black", markersize=4)
        axes.set_yticks(range(len(rises)), rises.index, parse_math=False)
        step = max(1, len(rises.columns) // 14)
        axes.set_xticks(range(0, len(rises.columns), step), pd.DatetimeIndex(rises.columns[::step]).strftime("%m-%d"))
    axes.tick_params(labelsize=8)
    axes.set_title(title, loc="left", fontsize=10)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph", UserWarning)  # a letter the font lacks is drawn as a box
        figure.savefig(buffer, format="png", dpi=90)
    return buffer.getvalue()
