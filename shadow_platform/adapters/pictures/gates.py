"""Pictures of a decision of the gate: the evidence over time, calibration of both models, change by segment.

Belongs here: drawing. Does not belong here: what is drawn (``domain.gates.exposition``), the page around it
(``adapters.pages``). Upstream: an exposition. Downstream: the decision's page, metadata of ``gate_decision``. The tool
is imported when a picture is drawn. The same exposition gives the same bytes.
"""

import io
import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from shadow_platform.domain.gates.exposition import Exposition

CHAMPION, CHALLENGER, NEUTRAL, BAD, GOOD = "#1f5fa8", "#d1661f", "#666666", "#b3261e", "#1a6b34"
MAX_SEGMENTS = 24
WIDTH, DPI = 9.0, 110


def decision_pictures(shown: "Exposition", max_segment_increase: float) -> dict[str, bytes]:
    """PNG by name: ``evidence``, ``calibration``, ``segments``; those that have something to show."""
    pictures = {"evidence": evidence_png(shown)} if any(math.isfinite(look.lower) for look in shown.path) else {}
    if shown.calibration:
        pictures["calibration"] = calibration_png(shown)
    if shown.segments:
        pictures["segments"] = segments_png(shown, max_segment_increase)
    return pictures


def evidence_png(shown: "Exposition") -> bytes:
    """Mean gain with its anytime-valid bounds over request time, and below it the number of pairs behind it."""
    figure = _figure(4.8)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    path = [look for look in shown.path if math.isfinite(look.lower) and math.isfinite(look.upper)]
    at = [look.at for look in path]
    band = f"{1 - shown.alpha:.1%} confidence sequence, both sides"
    bands = [look.band_lower for look in path], [look.band_upper for look in path]
    above.fill_between(at, *bands, color=CHALLENGER, alpha=0.14, linewidth=0, label=band)
    above.plot(at, [look.mean for look in path], color=CHALLENGER, linewidth=1.6, label="mean gain so far")
    lower, upper = [look.lower for look in path], [look.upper for look in path]
    above.plot(at, lower, color=GOOD, linewidth=1.4, label="lower bound, decides on gain")
    above.plot(at, upper, color=BAD, linewidth=1.4, label="upper bound, decides on harm")
    above.axhline(0, color=NEUTRAL, linewidth=0.9)
    gain = f"gain needed: above {shown.margin:g}"
    above.axhline(shown.margin, color=GOOD, linewidth=1.0, linestyle="--", label=gain)
    harm = f"harm shown: below {0 - shown.harm_margin:g}"
    above.axhline(-shown.harm_margin, color=BAD, linewidth=1.0, linestyle=":", label=harm)
    above.set_ylim(*_limits(shown, [*lower, *upper]))
    above.set_ylabel("log-loss gain of the challenger,\nnats a request")
    above.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=3, fontsize=7.5, frameon=False)
    below.plot(at, [look.n for look in path], color=NEUTRAL, linewidth=1.4)
    below.set_ylabel("pairs with\nknown outcome")
    below.set_ylim(bottom=0)
    below.set_xlabel("time of the request, UTC", fontsize=8)
    return _png(figure, above, below)


def calibration_png(shown: "Exposition") -> bytes:
    """What both models said against what happened, in bins of equally many requests."""
    figure = _figure(4.6)
    plot = figure.subplots()
    for side, color, marker in (("champion", CHAMPION, "o"), ("challenger", CHALLENGER, "s")):
        bins = [each for each in shown.calibration if each.model == side]
        said, seen = [each.predicted for each in bins], np.array([each.observed for each in bins])
        below = np.maximum(seen - [each.low for each in bins], 0)
        above = np.maximum([each.high for each in bins] - seen, 0)
        style: dict[str, Any] = {"color": color, "marker": marker, "markersize": 5, "linewidth": 1.2, "capsize": 2}
        plot.errorbar(said, seen, yerr=np.vstack([below, above]), label=side, **style)
    top = min(1.0, 1.05 * max(max(each.predicted, each.high) for each in shown.calibration))
    plot.plot([0, top], [0, top], color=NEUTRAL, linewidth=0.9, linestyle="--", label="honest: comes true as often")
    plot.set_xlim(0, top)
    plot.set_ylim(0, top)
    plot.set_xlabel("probability that the model said (mean of the bin)", fontsize=8)
    plot.set_ylabel("share that came true, 95 % interval", fontsize=8)
    plot.legend(loc="upper left", fontsize=8, frameon=False)
    return _png(figure, plot)


def segments_png(shown: "Exposition", max_increase: float) -> bytes:
    """Change of log loss in each segment with its interval; the largest rises when there are many."""
    changes = sorted(shown.segments, key=lambda change: change.change)[-MAX_SEGMENTS:]
    figure = _figure(1.2 + 0.3 * len(changes))
    plot = figure.subplots()
    for place, change in enumerate(changes):
        color = NEUTRAL if not change.is_tested else BAD if change.low > 0 else GOOD if change.high < 0 else CHALLENGER
        known = [change.change - change.low, change.high - change.change]
        spread = np.array([[width] if math.isfinite(width) else [0.0] for width in known])
        plot.errorbar([change.change], [place], xerr=spread, color=color, marker="o", markersize=5, capsize=3)
    plot.axvline(0, color=NEUTRAL, linewidth=0.9)
    plot.axvline(max_increase, color=BAD, linewidth=1.0, linestyle="--", label=f"harmed above {max_increase:g}")
    names = [f"{change.name}  (n {change.n:,}{'' if change.is_tested else ', too few'})" for change in changes]
    plot.set_yticks(range(len(changes)), names)
    plot.set_ylim(-0.7, len(changes) - 0.3)
    plot.set_xlabel("change of log loss, challenger minus champion, nats a request; 95 % interval", fontsize=8)
    plot.legend(loc="lower left", bbox_to_anchor=(0, 1.0), fontsize=8, frameon=False)
    return _png(figure, plot)


def _limits(shown: "Exposition", bounds: list[float]) -> tuple[float, float]:
    """From the later half of the bounds: the first clusters tell next to nothing and would flatten the rest."""
    half = len(bounds) // 4
    later = [*bounds[half : 2 * half + 1], *bounds[3 * half :], shown.margin, -shown.harm_margin, 0.0]
    low, high = float(np.quantile(later, 0.02)), float(np.quantile(later, 0.98))
    room = 0.25 * max(high - low, 1e-4)
    return low - room, high + room


def _figure(height: float) -> "Figure":
    from matplotlib.figure import Figure

    return Figure(figsize=(WIDTH, height), layout="constrained")


def _png(figure: "Figure", *axes: "Axes") -> bytes:
    for each in axes:
        each.grid(alpha=0.2)
        each.tick_params(labelsize=8)
        each.yaxis.label.set_fontsize(8)
        each.spines[["top", "right"]].set_visible(False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()
