"""Pictures of one training (matplotlib), as PNG bytes.

Belongs here: drawing. Does not belong here: computing what is drawn (``domain.training``). Upstream: the training
assets. Downstream: Dagster metadata, MLflow artifacts.
"""

import io
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIZE_INCHES = (4.2, 3.4)
DPI = 100
ACCENT, NEUTRAL, WARM = "#2a6f97", "#8d99ae", "#d1495b"


def training_plots(
    reliability: pd.DataFrame, roc: pd.DataFrame, labels: np.ndarray, probabilities: np.ndarray, title: str
) -> dict[str, bytes]:
    """PNG by name: ``reliability``, ``roc``, ``scores``.

    Args:
        reliability: columns ``probability, observed, n``.
        roc: columns ``false_positive_rate, true_positive_rate``.
    """

    def draw_reliability(axes: "Axes") -> None:
        axes.plot([0, 1], [0, 1], color=NEUTRAL, linewidth=1, linestyle="--")
        axes.plot(reliability["probability"], reliability["observed"], color=ACCENT, marker="o")
        axes.set(xlabel="mean predicted probability", ylabel="observed share", xlim=(0, 1), ylim=(0, 1))

    def draw_roc(axes: "Axes") -> None:
        axes.plot([0, 1], [0, 1], color=NEUTRAL, linewidth=1, linestyle="--")
        axes.plot(roc["false_positive_rate"], roc["true_positive_rate"], color=ACCENT)
        axes.set(xlabel="false positive rate", ylabel="true positive rate", xlim=(0, 1), ylim=(0, 1))

    def draw_scores(axes: "Axes") -> None:
        bins = np.linspace(0, 1, 41)
        for is_positive, colour, name in ((False, ACCENT, "negative"), (True, WARM, "positive")):
            axes.hist(probabilities[labels == is_positive], bins=list(bins), color=colour, alpha=0.6, label=name)
        axes.set(xlabel="probability", ylabel="rows", xlim=(0, 1))
        axes.legend()

    drawings = {"reliability": draw_reliability, "roc": draw_roc, "scores": draw_scores}
    return {name: _png(draw, f"{title}: {name}") for name, draw in drawings.items()}


def _png(draw: Callable[["Axes"], None], title: str) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE_INCHES, dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    draw(axes)
    axes.set_title(title, fontsize=9)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
