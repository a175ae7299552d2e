"""Picture of a drift verdict as PNG bytes, made with matplotlib: what moved, what moved the scores, verdicts before.

Belongs here: drawing. Does not belong here: what counts as drift. Upstream: DriftVerdict, rows of drift_verdicts.
Downstream: asset metadata, reports. matplotlib is imported when a picture is drawn.
"""

import io
import textwrap
import warnings
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from shadow_platform.contracts.monitoring_verdicts import SCORE, DriftVerdict, FeatureDrift, ScoreShift
from shadow_platform.contracts.use_case import DriftPolicy
from shadow_platform.contracts.verdicts import Outcome

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DRIFTED, STEADY, UNMONITORED, INK = "#b3261e", "#1f5fa8", "#b0b0b0", "#444444"
OUTCOMES = {"pass": "#2f8f5b", "fail": DRIFTED, "insufficient": UNMONITORED}
MAX_FEATURES, MAX_CONTRIBUTIONS = 25, 12
ROW_HEIGHT, HISTORY_HEIGHT = 0.24, 1.9


def drift_png(verdict: DriftVerdict, policy: DriftPolicy, history: pd.DataFrame | None = None) -> bytes:
    """Distances of the features, their parts of the shift of the mean score, and the verdicts until this one.

    Args:
        history: ``window_end, drift_score, outcome, reference_fingerprint``, one row a window, this one included;
            without it, and without a shift of scores, their panels are left out.
    """
    from matplotlib.figure import Figure

    shift = verdict.score_shift
    n_rows = max(
        min(len(verdict.features), MAX_FEATURES), min(len(shift.by_feature), MAX_CONTRIBUTIONS) if shift else 0, 6
    )
    above = 1.0 + ROW_HEIGHT * n_rows
    has_history = history is not None and len(history) > 1
    height = above + (HISTORY_HEIGHT if has_history else 0.0) + 0.7
    figure = Figure(figsize=(11 if shift else 8, height), layout="constrained")
    heights = (above, HISTORY_HEIGHT) if has_history else (above,)
    parts = figure.subfigures(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
    panels = parts[0].subplots(1, 2 if shift else 1, squeeze=False)[0]
    _draw_distances(panels[0], verdict, policy)
    if shift is not None:
        _draw_contributions(panels[1], shift)
    if history is not None and has_history:
        _draw_history(parts[1].subplots(), history, policy)
    return _png(figure, verdict)


def _draw_distances(axes: "Axes", verdict: DriftVerdict, policy: DriftPolicy) -> None:
    if not verdict.features:
        axes.text(0.5, 0.5, "nothing was measured", ha="center", va="center", color=INK, transform=axes.transAxes)
        axes.set_axis_off()
        return
    rows = sorted(verdict.features, key=lambda row: _multiple(row, policy))[-MAX_FEATURES:]
    multiples = [_multiple(row, policy) for row in rows]
    axes.barh([_label(row.feature) for row in rows], multiples, color=[_color(row, policy) for row in rows], height=0.7)
    axes.axvline(1, color=INK, linewidth=0.8, linestyle="--")
    axes.set_xlim(0, max(1.3, *(1.05 * value for value in multiples)))
    axes.set_xlabel("distance from the reference, in multiples of its floor")
    left_out = len(verdict.features) - len(rows)
    _title(axes, "What moved" + (f" ({left_out} more moved less)" if left_out else ""))
    _legend(axes, {"drifted": DRIFTED, "within limits": STEADY, "not monitored": UNMONITORED})


def _draw_contributions(axes: "Axes", shift: ScoreShift) -> None:
    names = sorted(shift.by_feature, key=lambda name: abs(shift.by_feature[name]))[-MAX_CONTRIBUTIONS:]
    parts = [shift.by_feature[name] for name in names]
    errors = [2 * shift.by_feature_error.get(name, 0.0) for name in names]
    colors = [STEADY if name in shift.leading else UNMONITORED for name in names]
    labels = [_plain(f"{name}\nmostly {shift.moved_in[name]}" if name in shift.moved_in else name) for name in names]
    axes.barh(labels, parts, xerr=errors, color=colors, height=0.7, error_kw={"elinewidth": 0.9, "ecolor": INK})
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.margins(x=0.1)
    axes.set_xlabel("part of the shift of the mean score (line: two standard errors)")
    _title(axes, f"What moved the mean score: {shift.mean_reference:.3f} → {shift.mean_current:.3f}")
    _legend(axes, {"beyond the error of sampling": STEADY, "within it": UNMONITORED})


def _draw_history(axes: "Axes", history: pd.DataFrame, policy: DriftPolicy) -> None:
    from matplotlib.dates import ConciseDateFormatter

    rows = history.sort_values("window_end").reset_index(drop=True)
    ends, scores = rows["window_end"], rows["drift_score"].astype(float)
    axes.plot(ends, scores, color=UNMONITORED, linewidth=1, zorder=1)
    for outcome, color in OUTCOMES.items():
        of_outcome = rows["outcome"] == outcome
        axes.scatter(ends[of_outcome], scores[of_outcome].fillna(0.0), s=20, color=color, label=outcome, zorder=2)
    axes.axhline(policy.drift_threshold, color=INK, linewidth=0.8, linestyle="--")
    for place in rows.index[rows["reference_fingerprint"] != rows["reference_fingerprint"].shift()][1:]:
        axes.axvline(ends[place], color=INK, linewidth=0.8)
        axes.annotate(
            "new champion", (ends[place], 1), (3, -3), xycoords=("data", "axes fraction"),
            textcoords="offset points", fontsize=7, va="top",
        )  # fmt: skip
    top = np.nanmax([policy.drift_threshold, *scores, 0.1])
    axes.set_ylim(-0.06 * top, 1.4 * top)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(axes.xaxis.get_major_locator()))  # type: ignore[no-untyped-call]
    axes.set_ylabel("share of features drifted")
    axes.grid(alpha=0.2)
    axes.xaxis.get_offset_text().set_fontsize(8)
    _title(axes, "Windows until this one, by their end (dashed: share that fails on its own)")
    axes.legend(loc="upper left", fontsize=7, frameon=False, ncols=3)


def _title(axes: "Axes", text: str) -> None:
    axes.set_title(text, loc="left", fontsize=9)
    axes.tick_params(labelsize=8)
    axes.xaxis.label.set_fontsize(8)
    axes.yaxis.label.set_fontsize(8)


def _legend(axes: "Axes", colors: dict[str, str]) -> None:
    from matplotlib.patches import Patch

    handles = [Patch(color=color, label=label) for label, color in colors.items()]
    axes.legend(handles=handles, loc="lower right", fontsize=7, framealpha=0.9, edgecolor="none")


def _png(figure: "Figure", verdict: DriftVerdict) -> bytes:
    until = f"{verdict.window_end:%Y-%m-%d %H:%M}".removesuffix(" 00:00")
    title = f"{verdict.use_case} until {until}: {verdict.outcome.value}"
    lines = textwrap.wrap(_plain(verdict.headline), 120 if verdict.score_shift else 90)
    color = DRIFTED if verdict.outcome is Outcome.FAIL else INK
    figure.suptitle("\n".join([title, *lines]), x=0.01, ha="left", fontsize=10, color=color)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # Names of a script that the font lacks are drawn as boxes; the tables tell them.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(buffer, format="png", dpi=90)
    return buffer.getvalue()


def _plain(text: str) -> str:
    """Text in which nothing is taken for a formula."""
    return text.replace("$", r"\$")


def _multiple(row: FeatureDrift, policy: DriftPolicy) -> float:
    if row.statistic is None:
        return 0.0
    return row.statistic / _floor(row, policy)


def _floor(row: FeatureDrift, policy: DriftPolicy) -> float:
    """Floor of a feature's distance; one of 0 is drawn as a thousandth."""
    if row.feature == SCORE:
        return max(policy.score.floor, 1e-3)
    return max((policy.ks if row.kind == "numeric" else policy.total_variation).floor, 1e-3)


def _label(name: str) -> str:
    return "score" if name == SCORE else name


def _color(row: FeatureDrift, policy: DriftPolicy) -> str:
    if row.feature == SCORE:
        return DRIFTED if policy.score.is_beyond(row.statistic, row.p_value) else STEADY
    if not row.is_monitored:
        return UNMONITORED
    return DRIFTED if row.is_drifted else STEADY
