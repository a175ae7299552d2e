"""What a reader is shown of a decision: the same evidence as figures, curves and plain words.

Belongs here: values that a page draws, each from the inputs of the decision alone. Does not belong here: drawing
(adapters.pages, adapters.pictures), criteria (``quality``, ``operation``). Upstream: the inputs, the decision.
Downstream: the decision's page.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import numpy as np
import pandas as pd
from scipy import stats

from shadow_platform.contracts.use_case import DecisionCosts
from shadow_platform.contracts.verdicts import GateDecision
from shadow_platform.domain.gates.clusters import Array
from shadow_platform.domain.gates.decision import GateInputs
from shadow_platform.domain.gates.quality import judged_pairs, sequence_of
from shadow_platform.domain.gates.segments import SegmentChange, segment_changes
from shadow_platform.domain.gates.wording import explain

Side = Literal["champion", "challenger"]
OUTCOMES = ("compared", "failed", "dropped", "missing")
BINS = 10
LATENCIES = (0.5, 0.95, 0.99)


@dataclass(frozen=True, slots=True)
class Look:
    """The comparison as it stood at the end of a cluster of requests; gains in nats a request.

    Attributes:
        at: time of the last request so far.
        n: pairs so far.
        lower, upper: one-sided bounds, what gain and harm are decided on.
        band_lower, band_upper: two-sided: the true gain stays within at all times with chance ``1 - alpha``.
    """

    at: datetime
    n: int
    mean: float
    lower: float
    upper: float
    band_lower: float
    band_upper: float


@dataclass(frozen=True, slots=True)
class Flips:
    """Requests that the challenger would decide otherwise, in one group of requests.

    Attributes:
        group: ``all``, or ``segment=level``.
        kind: ``swap_in`` (positive only for the challenger) or ``swap_out`` (positive only for the champion).
        n_compared: requests of the group that both answered.
        n_labelled: flips whose outcome is known now.
        n_positive: those whose outcome is positive; the challenger is right on them when they are swapped in.
    """

    group: str
    kind: Literal["swap_in", "swap_out"]
    n: int
    n_compared: int
    n_labelled: int
    n_positive: int

    @property
    def share(self) -> float:
        """Share of the group's requests that flip."""
        return self.n / self.n_compared if self.n_compared else 0.0

    @property
    def n_right(self) -> int:
        """Labelled flips on which the challenger is right and the champion wrong."""
        return self.n_positive if self.kind == "swap_in" else self.n_labelled - self.n_positive


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """Requests of similar probability: what a model said, and what happened; ``low`` to ``high`` is a 95 % interval."""

    model: Side
    n: int
    predicted: float
    observed: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class CostAtCapacity:
    """What the decisions of each model would have cost, were they acted on from the most probable down.

    Attributes:
        capacity: positive decisions a day that are acted on; ``None``: unbounded.
        threshold: probability from which a positive decision is the cheaper one.
        champion, challenger: cost of a day, hidden outcomes counted by their propensity.
        saved_low, saved_high: 95 % interval of the champion's cost of a day minus the challenger's, over days;
            ``None`` below two days.
    """

    currency: str
    capacity: int | None
    threshold: float
    n_days: int
    champion: float
    challenger: float
    saved_low: float | None
    saved_high: float | None

    @property
    def saved(self) -> float:
        """What the challenger would save a day; negative: it would cost more."""
        return self.champion - self.challenger


@dataclass(frozen=True, slots=True)
class Coverage:
    """What became of a group's requests in the shadow: counts by outcome, in the order of ``OUTCOMES``."""

    group: str
    counts: tuple[int, int, int, int]

    @property
    def share(self) -> float | None:
        """Share that was compared."""
        return self.counts[0] / sum(self.counts) if sum(self.counts) else None


@dataclass(frozen=True, slots=True)
class Exposition:
    """All that the page of a decision shows besides its criteria.

    Attributes:
        sentences: the decision in plain words.
        margin, harm_margin: gain that must be exceeded, and loss that must be shown to reject.
        latency_ms: the challenger's quantiles of ``LATENCIES``; empty without an answer.
        cost: ``None`` where the use case names no costs.
    """

    sentences: tuple[str, ...]
    path: tuple[Look, ...]
    margin: float
    harm_margin: float
    alpha: float
    flips: tuple[Flips, ...]
    calibration: tuple[CalibrationBin, ...]
    segments: tuple[SegmentChange, ...]
    latency_ms: tuple[float, ...]
    coverage: tuple[Coverage, ...]
    cost: CostAtCapacity | None


def expose(inputs: GateInputs, decision: GateDecision, costs: DecisionCosts | None = None) -> Exposition:
    """What the page of a decision shows, from the inputs it was made of."""
    pairs, policy = judged_pairs(inputs.cohort), inputs.policy
    compared, answered = inputs.cohort[inputs.cohort["outcome"].eq("compared")], inputs.answered
    ms = answered.loc[answered["outcome"].eq("compared"), "challenger_latency_ms"].dropna().to_numpy(np.float64)
    groups = _grouped(policy.segments)
    return Exposition(
        sentences=explain(inputs, decision),
        path=_path(inputs, pairs),
        margin=policy.margin,
        harm_margin=policy.harm_margin,
        alpha=inputs.sequence.alpha,
        flips=tuple(flip for name, rows in groups(compared) for flip in _flips(name, rows)),
        calibration=tuple(
            each
            for model, column in (("champion", "probability"), ("challenger", "challenger_probability"))
            for each in _calibration(model, column, pairs[pairs["weight"] > 0])  # type: ignore[arg-type]
        ),
        segments=segment_changes(pairs, policy),
        latency_ms=tuple(float(q) for q in np.quantile(ms, LATENCIES)) if len(ms) else (),
        coverage=tuple(_coverage(name, rows) for name, rows in groups(answered)),
        cost=cost_at_capacity(pairs, costs) if costs else None,
    )


def _grouped(segments: tuple[str, ...]) -> Callable[[pd.DataFrame], list[tuple[str, pd.DataFrame]]]:
    """All rows, then those of each level of each segment."""

    def groups(rows: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
        levels = [
            (f"{segment}={level}", part)
            for segment in segments
            for level, part in sorted(rows.groupby(segment, dropna=False), key=lambda item: str(item[0]))
        ]
        return [("all", rows), *levels]

    return groups


def _path(inputs: GateInputs, pairs: pd.DataFrame) -> tuple[Look, ...]:
    alpha, policy = inputs.sequence.alpha, inputs.policy
    one = sequence_of(pairs, policy, alpha)
    band = sequence_of(pairs, policy, alpha / 2)
    at = pairs["requested_at"].iloc[one.n - 1]
    bounds = np.column_stack([one.mean, one.lower, one.upper, band.lower, band.upper]).tolist()
    return tuple(
        Look(time.to_pydatetime(), n, *values) for time, n, values in zip(at, one.n.tolist(), bounds, strict=True)
    )


def _flips(group: str, rows: pd.DataFrame) -> list[Flips]:
    champion, challenger = rows["prediction"].astype(bool), rows["challenger_prediction"].astype(bool)
    found = []
    for kind, flipped in (("swap_in", rows[challenger & ~champion]), ("swap_out", rows[champion & ~challenger])):
        label = flipped["label"].dropna()
        found.append(Flips(group, kind, len(flipped), len(rows), len(label), int(label.sum())))  # type: ignore[arg-type]
    return found


def _calibration(model: Side, column: str, labelled: pd.DataFrame) -> list[CalibrationBin]:
    """Bins of equally many requests; the interval is Wilson's (1927), with Kish's effective number of weighted rows."""
    ordered = labelled.sort_values([column, "request_id"], kind="stable")
    found = []
    for part in np.array_split(np.arange(len(ordered)), BINS):
        rows = ordered.iloc[part]
        if rows.empty:
            continue
        weight = rows["weight"].to_numpy(np.float64)
        observed = float(np.average(rows["label"].to_numpy(np.float64), weights=weight))
        low, high = _wilson(observed, float(weight.sum() ** 2 / (weight @ weight)))
        predicted = float(np.average(rows[column].to_numpy(np.float64), weights=weight))
        found.append(CalibrationBin(model, len(rows), predicted, observed, low, high))
    return found


def _wilson(share: float, n: float) -> tuple[float, float]:
    z = float(stats.norm.isf(0.025))
    centre, spread = share + z**2 / (2 * n), z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return float((centre - spread) / (1 + z**2 / n)), float((centre + spread) / (1 + z**2 / n))


def _coverage(group: str, rows: pd.DataFrame) -> Coverage:
    compared, failed, dropped, missing = (int(rows["outcome"].eq(outcome).sum()) for outcome in OUTCOMES)
    return Coverage(group, (compared, failed, dropped, missing))


def cost_at_capacity(pairs: pd.DataFrame, costs: DecisionCosts) -> CostAtCapacity | None:
    """Cost of a day of both models when the ``costs.capacity`` most probable positives of each day are acted on.

    Returns:
        ``None`` without a labelled pair.
    """
    if not (pairs["weight"] > 0).any():
        return None
    day = pairs["requested_at"].dt.floor("D")
    wrong = {
        side: _cost_by_day(pairs, column, day, costs)
        for side, column in (("champion", "probability"), ("challenger", "challenger_probability"))
    }
    saved, n_days = wrong["champion"] - wrong["challenger"], len(wrong["champion"])
    low = high = None
    if n_days > 1:
        half = float(stats.t.isf(0.025, n_days - 1) * np.std(saved, ddof=1) / np.sqrt(n_days))
        low, high = float(saved.mean()) - half, float(saved.mean()) + half
    return CostAtCapacity(
        currency=costs.currency,
        capacity=costs.capacity,
        threshold=costs.threshold,
        n_days=n_days,
        champion=float(wrong["champion"].mean()),
        challenger=float(wrong["challenger"].mean()),
        saved_low=low,
        saved_high=high,
    )


def _cost_by_day(pairs: pd.DataFrame, column: str, day: "pd.Series[pd.Timestamp]", costs: DecisionCosts) -> Array:
    is_acted_on = pairs[column] >= costs.threshold
    if costs.capacity is not None:
        is_acted_on &= pairs[column].groupby(day).rank(ascending=False, method="first") <= costs.capacity
    acted, label = is_acted_on.to_numpy(np.bool_), pairs["label"].to_numpy(np.bool_)
    cost = costs.false_positive * (acted & ~label) + costs.false_negative * (~acted & label)
    return pd.Series(cost * pairs["weight"].to_numpy(np.float64)).groupby(day.to_numpy()).sum().to_numpy(np.float64)
