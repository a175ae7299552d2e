"""Pictures of one training (matplotlib), as PNG bytes; the same training gives the same bytes.

Belongs here: drawing. Does not belong here: computing what is drawn (``domain.training``). Upstream: the training
assets. Downstream: Dagster metadata, MLflow artifacts, the model card. matplotlib is imported when a picture is drawn.
Pictures are part of a bundle, so that nobody's own settings of matplotlib may enter them.
"""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from shadow_platform.contracts.model_card import FeatureImportance, MetricEstimate, SegmentMetrics

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH_INCHES, HEIGHT_INCHES, DPI = 5.2, 3.9, 100
INCHES_A_ROW = 0.24
MAX_FEATURES, MAX_SEGMENTS = 30, 40
MAX_NAME = 36
SCORE_BINS = 40
MODEL, POSITIVE, GUIDE = "#1f5fa8", "#d1661f", "#888888"
Corner = Literal["upper left", "upper right", "lower right"]
PANELS = {"log_loss": "log loss, nats a row", "roc_auc": "ROC-AUC"}
_SETTINGS = Lock()


@dataclass(frozen=True, slots=True)
class TrainingPictures:
    """What is drawn of a training: evaluation rows and what was computed of them.

    Attributes:
        title: use case and model, in every picture's title.
        reliability, roc, precision_recall, gain: frames of the functions of these names in ``domain.training``.
        segments: metrics of all rows, then of groups; without any, no figures stand in the pictures.
        importances: largest first; without any, there is no such picture.
        confidence: of every interval.
    """

    title: str
    labels: npt.NDArray[np.bool_]
    probabilities: npt.NDArray[np.float64]
    threshold: float
    reliability: pd.DataFrame
    roc: pd.DataFrame
    precision_recall: pd.DataFrame
    gain: pd.DataFrame
    segments: Sequence[SegmentMetrics] = ()
    importances: Sequence[FeatureImportance] = ()
    confidence: float = 0.95

    @property
    def base_rate(self) -> float:
        """Share of positive labels."""
        return float(self.labels.mean())

    def overall(self, name: str) -> MetricEstimate | None:
        """A metric of all rows, where it is identified."""
        return self.segments[0].metrics.get(name) if self.segments else None


def training_plots(training: TrainingPictures) -> dict[str, bytes]:
    """PNG by name: ``reliability, roc, precision_recall, gain, scores``, and ``importance``, ``segments`` if given."""
    drawings = {
        "reliability": _reliability,
        "roc": _roc,
        "precision_recall": _precision_recall,
        "gain": _gain,
        "scores": _scores,
        "importance": _importance,
        "segments": _segments,
    }
    if not training.importances:
        del drawings["importance"]
    if len(training.segments) < 2:
        del drawings["segments"]
    with _default_settings():
        return {name: _png(draw(training)) for name, draw in drawings.items()}


@contextmanager
def _default_settings() -> Iterator[None]:
    """Within it matplotlib draws as it was delivered, whatever a matplotlibrc or the process says.

    Its settings belong to the whole process: of two threads the first to end would take them from the other.
    """
    import matplotlib

    with _SETTINGS, matplotlib.rc_context(rc=matplotlib.rcParamsDefault):
        yield


def _reliability(training: TrainingPictures) -> "Figure":
    table = training.reliability
    figure = _figure(HEIGHT_INCHES + 0.7)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    # Where probabilities are low, as of rare events, the rest of the square would be empty.
    end = min(1.0, float(table[["observed", "bin_high"]].to_numpy().max(initial=0.0)))
    above.plot([0, 1], [0, 1], color=GUIDE, linewidth=1, linestyle="--", label="as often as predicted")
    intervals = [table["observed"] - table["observed_low"], table["observed_high"] - table["observed"]]
    above.errorbar(
        table["probability"],
        table["observed"],
        yerr=np.clip(np.array(intervals), 0, None),
        color=MODEL,
        fmt="o-",
        markersize=4,
        linewidth=1.2,
        capsize=3,
        label=f"observed, {training.confidence:.0%} Wilson interval",
    )
    above.set(ylabel="share of positive labels", ylim=(0, end * 1.02), xlim=(0, end * 1.02))
    below.bar(
        table["bin_low"], table["n"], width=table["bin_high"] - table["bin_low"], align="edge", color=MODEL, alpha=0.5
    )
    below.set(xlabel="predicted probability", ylabel="rows (log)", yscale="log", ylim=(0.7, None))
    _finish(above, training, "reliability", "upper left", training.overall("calibration_error"), "calibration error")
    _grid(below)
    return figure


def _roc(training: TrainingPictures) -> "Figure":
    figure, axes = _square()
    axes.plot([0, 1], [0, 1], color=GUIDE, linewidth=1, linestyle="--", label="random")
    axes.plot(training.roc["false_positive_rate"], training.roc["true_positive_rate"], color=MODEL, label="model")
    axes.set(xlabel="false positive rate", ylabel="true positive rate")
    _finish(axes, training, "ROC", "lower right", training.overall("roc_auc"), "area")
    return figure


def _precision_recall(training: TrainingPictures) -> "Figure":
    figure, axes = _square()
    rate = training.base_rate
    axes.axhline(rate, color=GUIDE, linewidth=1, linestyle="--", label=f"base rate {rate:.3g}")
    curve = training.precision_recall
    axes.plot(curve["recall"], curve["precision"], color=MODEL, label="model")
    top = max(float(curve["precision"].max()) if len(curve) else 1.0, rate)
    axes.set(xlabel="recall (share of positives found)", ylabel="precision", ylim=(0, min(1.02, 1.2 * top)))
    _finish(
        axes, training, "precision and recall", "upper right", training.overall("average_precision"), "avg. precision"
    )
    return figure


def _gain(training: TrainingPictures) -> "Figure":
    figure, axes = _square()
    axes.plot([0, training.base_rate, 1], [0, 1, 1], color=GUIDE, linewidth=1, label="ideal")
    axes.plot([0, 1], [0, 1], color=GUIDE, linewidth=1, linestyle="--", label="random")
    axes.plot(training.gain["share_of_rows"], training.gain["share_of_positives"], color=MODEL, label="model")
    axes.set(xlabel="share of rows, highest probability first", ylabel="share of positives found")
    _finish(axes, training, "gain", "lower right")
    return figure


def _scores(training: TrainingPictures) -> "Figure":
    figure = _figure(HEIGHT_INCHES)
    axes = figure.subplots()
    end = max(float(training.probabilities.max(initial=0.0)), training.threshold)
    bins = np.linspace(0, min(1.0, end * 1.02), SCORE_BINS + 1)
    for is_positive, colour, name in ((False, MODEL, "negative"), (True, POSITIVE, "positive")):
        scores = training.probabilities[training.labels == is_positive]
        shares = np.histogram(scores, bins)[0] / max(len(scores), 1)
        axes.stairs(shares, bins, fill=True, color=colour, alpha=0.5, label=f"{name} ({len(scores):,} rows)")
    axes.axvline(
        training.threshold, color="black", linewidth=1, linestyle=":", label=f"threshold {training.threshold:g}"
    )
    axes.set(xlabel="predicted probability", ylabel="share of the label's rows", xlim=(0, bins[-1]))
    _finish(axes, training, "scores", "upper right")
    return figure


def _importance(training: TrainingPictures) -> "Figure":
    shown = training.importances[:MAX_FEATURES][::-1]
    figure = _figure(1.1 + INCHES_A_ROW * len(shown))
    axes = figure.subplots()
    estimates = [one.log_loss_increase for one in shown]
    places = np.arange(len(shown))
    axes.barh(places, [estimate.value for estimate in estimates], color=MODEL, alpha=0.5, height=0.7)
    _intervals(axes, estimates, places, marker="")
    axes.axvline(0, color="black", linewidth=0.8)
    axes.locator_params(axis="x", nbins=5)
    axes.ticklabel_format(axis="x", style="plain", useOffset=False)
    axes.set_yticks(places, [_plain(one.feature) for one in shown])
    axes.set(xlabel="increase of log loss when shuffled, nats a row", ylim=(-0.6, len(shown) - 0.4))
    hidden = len(training.importances) - len(shown)
    _finish(axes, training, f"importance, {hidden} smaller ones not shown" if hidden else "importance")
    return figure


def _segments(training: TrainingPictures) -> "Figure":
    groups = list(training.segments[1:])
    kept = sorted(range(len(groups)), key=lambda place: -groups[place].n)[:MAX_SEGMENTS]
    shown = [groups[place] for place in sorted(kept, reverse=True)]
    figure = _figure(1.2 + INCHES_A_ROW * len(shown), WIDTH_INCHES * 1.5)
    panels = figure.subplots(1, len(PANELS), sharey=True)
    for axes, (metric, meaning) in zip(panels, PANELS.items(), strict=True):
        own = [(place, group.metrics[metric]) for place, group in enumerate(shown) if metric in group.metrics]
        _intervals(axes, [estimate for _, estimate in own], np.array([place for place, _ in own]), marker="o")
        overall = training.overall(metric)
        if overall is not None:
            axes.axvline(overall.value, color=GUIDE, linewidth=1, linestyle="--")
        axes.set(xlabel=f"{meaning} (dashed: all rows)", ylim=(-0.6, len(shown) - 0.4))
        _grid(axes)
    names = [_plain(f"{group.feature} = {group.level}") + f"  ({group.n:,})" for group in shown]
    panels[0].set_yticks(range(len(shown)), names)
    title = "segments" if len(groups) == len(shown) else f"the {len(shown)} largest of {len(groups)} segments"
    figure.suptitle(_plain(f"{training.title}: {title} (rows)", 200), fontsize=10)
    return figure


def _intervals(axes: "Axes", estimates: Sequence[MetricEstimate], places: npt.NDArray[np.int_], marker: str) -> None:
    """Horizontal bars from low to high, where there are such, and a marker at the value."""
    values = np.array([estimate.value for estimate in estimates])
    low = np.array([estimate.value if estimate.low is None else estimate.low for estimate in estimates])
    high = np.array([estimate.value if estimate.high is None else estimate.high for estimate in estimates])
    axes.hlines(places, low, high, color=MODEL, linewidth=1.4)
    axes.plot(values, places, linestyle="", marker=marker, markersize=4, color=MODEL)


def _square() -> "tuple[Figure, Axes]":
    figure = _figure(HEIGHT_INCHES)
    axes = figure.subplots()
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    return figure, axes


def _figure(height: float, width: float = WIDTH_INCHES) -> "Figure":
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=DPI, layout="constrained")


def _finish(
    axes: "Axes",
    training: TrainingPictures,
    name: str,
    legend: Corner | None = None,
    estimate: MetricEstimate | None = None,
    meaning: str = "",
) -> None:
    """Title, grid and legend, headed by the metric that sums the picture up."""
    axes.set_title(_plain(f"{training.title}: {name}", 200), fontsize=10)
    _grid(axes)
    if legend:
        heading = None if estimate is None else f"{meaning} {estimate.value:.3g}"
        if estimate is not None and estimate.low is not None and estimate.high is not None:
            heading = f"{heading} ({estimate.low:.3g} to {estimate.high:.3g})"
        axes.legend(loc=legend, fontsize=8, title=heading, title_fontsize=8, frameon=True, framealpha=0.8)


def _grid(axes: "Axes") -> None:
    axes.grid(alpha=0.2)
    axes.tick_params(labelsize=8)
    axes.xaxis.label.set_fontsize(9)
    axes.yaxis.label.set_fontsize(9)
    axes.spines[["top", "right"]].set_visible(False)


def _plain(text: str, longest: int = MAX_NAME) -> str:
    """Text as it is, shortened; a dollar sign would begin a formula."""
    short = text if len(text) <= longest else text[: longest - 1] + "…"
    return short.replace("$", r"\$")


def _png(figure: "Figure") -> bytes:
    buffer = io.BytesIO()
    # Without the name of the program, whose version would make other bytes of the same picture.
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
