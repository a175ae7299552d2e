"""Picture of a drift verdict, as PNG bytes made with matplotlib.

Upstream: DriftVerdict. Downstream: asset metadata. matplotlib is imported when a picture is drawn.
"""

import io

from shadow_platform.contracts.use_case import DriftPolicy
from shadow_platform.contracts.verdicts import DriftVerdict, FeatureDrift

DRIFTED, STEADY, UNMONITORED = "#b3261e", "#1f5fa8", "#b0b0b0"
MAX_FEATURES = 30
SCORE = "__score__"


def drift_png(verdict: DriftVerdict, policy: DriftPolicy) -> bytes:
    """One bar a feature: its distance from the reference as a multiple of its floor, the largest on top."""
    from matplotlib.figure import Figure

    rows = sorted(verdict.features, key=lambda row: _multiple(row, policy))[-MAX_FEATURES:]
    figure = Figure(figsize=(8, 1.2 + 0.26 * max(len(rows), 1)), layout="constrained")
    axes = figure.subplots()
    multiples, colors = [_multiple(row, policy) for row in rows], [_color(row) for row in rows]
    axes.barh([_label(row) for row in rows], multiples, color=colors)
    axes.axvline(1, color="black", linewidth=0.8, linestyle="--")
    axes.set_xlabel("distance from the reference, in multiples of its floor")
    axes.set_title(f"{verdict.use_case} until {verdict.window_end:%Y-%m-%d}: {verdict.outcome.value}", loc="left")
    axes.text(
        1,
        -0.02,
        "red: drifted, blue: within limits, grey: not monitored",
        transform=figure.transFigure,
        ha="right",
        fontsize=7,
    )
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=90, bbox_inches="tight")
    return buffer.getvalue()


def _multiple(row: FeatureDrift, policy: DriftPolicy) -> float:
    if row.statistic is None:
        return 0.0
    if row.feature == SCORE:
        return row.statistic / policy.score_floor
    return row.statistic / (policy.ks_floor if row.kind == "numeric" else policy.total_variation_floor)


def _label(row: FeatureDrift) -> str:
    return "score" if row.feature == SCORE else row.feature


def _color(row: FeatureDrift) -> str:
    if not row.is_monitored:
        return UNMONITORED
    return DRIFTED if row.is_drifted else STEADY
