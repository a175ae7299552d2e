"""Criteria on what both models answered, against matured labels.

Where decisions hide labels and some are shown by chance, each pair that is seen stands for as many as its inverse
propensity says, and a hidden one adds nothing but itself: the mean is unbiased (Horvitz and Thompson 1952), so the
confidence sequence stays valid. Where the model that answered hid some for good, only requests that neither model
decides positively are judged: on all labelled ones it would have an edge. Where others hid them, both models are judged
on what is left. See docs/adr/0005 for the
sequence, benchmarks/censoring.py for how often either errs.

Upstream: judged pairs in prediction order. Downstream: gates.decision.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from shadow_platform.contracts.use_case import GatePolicy
from shadow_platform.contracts.verdicts import Criterion
from shadow_platform.domain.gates.betting import LARGEST_DIFFERENCE, betting_sequence
from shadow_platform.domain.gates.clusters import Array, Clusters, unit_of
from shadow_platform.domain.gates.criterion import FAIL, INSUFFICIENT, PASS, held
from shadow_platform.domain.gates.segments import judge_segments
from shadow_platform.domain.gates.sequence import (
    ConfidenceSequence,
    confidence_sequence,
    log_loss_gains,
)

CALIBRATION_BINS = 10
# With fewer, a mean that rests on their weights is far from normal: a challenger that is worse only on what is hidden
# was promoted in up to 52 % of simulated streams, with 30 in at most 4 % (benchmarks/censoring.py).
MIN_EXPLORED = 30


def evidence(cohort: pd.DataFrame, policy: GatePolicy, alpha: float) -> ConfidenceSequence:
    """Confidence sequence of the log-loss gain over the cohort's judged pairs; ``alpha`` is the sequence's."""
    return sequence_of(judged_pairs(cohort), policy, alpha)


def judged_pairs(cohort: pd.DataFrame) -> pd.DataFrame:
    """Rows that both models answered and whose label is known or could have been.

    Returns:
        The cohort's columns, and ``weight``: the inverse of ``label_propensity``, 0 where the label is hidden.
    """
    compared = cohort[cohort["outcome"].eq("compared")]
    can_be_seen = compared["label_propensity"] > 0
    if _is_one_sided(compared):
        is_positive = compared["prediction"].astype(bool) | compared["challenger_prediction"].astype(bool)
        can_be_seen &= ~is_positive
    compared = compared[can_be_seen]
    pairs = compared[compared["label"].notna() | compared["is_hidden"]].reset_index(drop=True)
    weight = (1.0 / pairs["label_propensity"]).where(pairs["label"].notna(), 0.0)
    return pairs.assign(weight=weight, label=pairs["label"].fillna(False))


def _is_one_sided(rows: pd.DataFrame) -> bool:
    """Whether the model that answered hid labels for good: on what is left it would have an edge."""
    return bool((rows["is_prevented"] & rows["label_propensity"].eq(0)).any())


def _never_seen(rows: pd.DataFrame) -> int:
    """Number of rows whose label could not be seen, whatever it is."""
    return int(rows["label_propensity"].eq(0).sum())


def sequence_of(pairs: pd.DataFrame, policy: GatePolicy, alpha: float) -> ConfidenceSequence:
    """Bounds on the log-loss gain over judged pairs, by the policy's method.

    Bets are strict, so none is made on a day, or an hour where that is the cluster, of which requests may be to come.
    """
    if policy.method == "confidence_sequence":
        return confidence_sequence(log_loss_gains(pairs), Clusters.of(pairs, policy.cluster), alpha, policy.tuned_at)
    if policy.cluster is not None and len(pairs):
        period = pairs["requested_at"].dt.floor("h" if policy.cluster == "hour" else "D")
        pairs = pairs[period < period.max()]
    limits = LARGEST_DIFFERENCE / pairs["label_propensity"].to_numpy(np.float64)
    return betting_sequence(log_loss_gains(pairs), limits, Clusters.of(pairs, policy.cluster), alpha)


def judge_gain(cohort: pd.DataFrame, policy: GatePolicy, alpha: float) -> list[Criterion]:
    """Criteria on labels and gain alone: whether the other model is shown to be better."""
    pairs = judged_pairs(cohort)
    gain, _ = _gain_and_harm(pairs, policy, alpha, _basis(cohort, pairs))
    return [_matured_labels(pairs[pairs["weight"] > 0], policy), *_label_coverage(cohort, policy), gain]


def judge_quality(cohort: pd.DataFrame, policy: GatePolicy, alpha: float) -> list[Criterion]:
    """Criteria on labels, gain and harm, F1, Brier score, calibration and segments, those of the policy only."""
    pairs = judged_pairs(cohort)
    labelled = pairs[pairs["weight"] > 0]
    return [
        _matured_labels(labelled, policy),
        *_label_coverage(cohort, policy),
        *_gain_and_harm(pairs, policy, alpha, _basis(cohort, pairs)),
        *_f1_improvement(labelled, policy),
        *_brier_change(labelled, policy),
        *_calibration(labelled, policy),
        *judge_segments(pairs, policy),
    ]


def _basis(cohort: pd.DataFrame, pairs: pd.DataFrame) -> str:
    """What the comparison rests on where decisions hid labels, else nothing."""
    compared = cohort[cohort["outcome"].eq("compared")]
    lost = _never_seen(compared)
    if lost:
        which = ", that neither model decides positively" if _is_one_sided(compared) else ""
        return f"; judged on labelled requests only{which}: {lost} hidden by decisions, not identifiable"
    hidden = int(pairs["is_hidden"].sum())
    return f"; {hidden} hidden by decisions, {_explored(pairs)} explored in their place" if hidden else ""


def _explored(pairs: pd.DataFrame) -> int:
    """Number of pairs that stand for more than themselves."""
    return int((pairs["weight"] > 1).sum())


def _matured_labels(pairs: pd.DataFrame, policy: GatePolicy) -> Criterion:
    n = len(pairs)
    outcome = PASS if n >= policy.min_samples else INSUFFICIENT
    reason = f"{n} matured and labelled pairs, at least {policy.min_samples} needed"
    return Criterion(name="matured_labels", outcome=outcome, value=n, limit=policy.min_samples, n=n, reason=reason)


def _label_coverage(cohort: pd.DataFrame, policy: GatePolicy) -> list[Criterion]:
    if policy.min_label_coverage is None:
        return []
    due = cohort[~cohort["is_prevented"]]
    share = float(due["label"].notna().mean()) if len(due) else None
    meaning = "share of matured requests with a known label, of those whose outcome no decision of ours prevented"
    limit = policy.min_label_coverage
    return [held("label_coverage", share, limit, len(due), policy.min_samples, meaning, at_least=True)]


def _gain_and_harm(pairs: pd.DataFrame, policy: GatePolicy, alpha: float, basis: str) -> tuple[Criterion, Criterion]:
    """Whether a gain is shown, and whether harm is: the two one-sided bounds of one sequence."""
    sequence = sequence_of(pairs, policy, alpha)
    n, clusters, unit = int((pairs["weight"] > 0).sum()), len(sequence.n), unit_of(policy.cluster)
    gain = harm = INSUFFICIENT
    lower = upper = None
    if n < policy.min_samples or clusters < policy.min_clusters:
        reason = (
            f"{n} pairs in {clusters} {unit} clusters, at least {policy.min_samples} in {policy.min_clusters} needed"
        )
    elif pairs["is_hidden"].any() and _explored(pairs) < MIN_EXPLORED:
        reason = f"{_explored(pairs)} explored requests, at least {MIN_EXPLORED} needed"
    else:
        lower, upper = float(sequence.lower[-1]), float(sequence.upper[-1])
        harm = FAIL if upper < -policy.harm_margin else PASS
        gain = PASS if lower > policy.margin else FAIL if upper < policy.margin else INSUFFICIENT
        reason = (
            f"mean gain {sequence.mean[-1]:.5f} nats a request, anytime-valid bounds {lower:.5f} and {upper:.5f} "
            f"on {clusters} {unit} clusters, design effect {sequence.design_effect:.2f}"
        )
    reason += basis
    limit = -policy.harm_margin
    return (
        Criterion(name="log_loss_gain", outcome=gain, value=lower, limit=policy.margin, n=n, reason=reason),
        Criterion(name="log_loss_harm", outcome=harm, value=upper, limit=limit, n=n, is_hard=True, reason=reason),
    )


def _f1_improvement(pairs: pd.DataFrame, policy: GatePolicy) -> list[Criterion]:
    if policy.min_f1_improvement_pct is None:
        return []
    change = None
    if len(pairs):
        label, weight = pairs["label"].to_numpy(bool), pairs["weight"].to_numpy(np.float64)
        champion = f1(label, pairs["prediction"].to_numpy(bool), weight)
        challenger = f1(label, pairs["challenger_prediction"].to_numpy(bool), weight)
        change = 100 * (challenger / champion - 1) if champion > 0 else None
    limit, meaning = policy.min_f1_improvement_pct, "change of F1 in percent"
    return [held("f1_improvement_pct", change, limit, len(pairs), policy.min_samples, meaning, at_least=True)]


def f1(label: NDArray[np.bool_], prediction: NDArray[np.bool_], weight: Array) -> float:
    """Harmonic mean of precision and recall of weighted rows; 0 where neither finds anything."""
    found = float(weight @ label + weight @ prediction)
    return 2 * float(weight @ (label & prediction)) / found if found else 0.0


def _brier_change(pairs: pd.DataFrame, policy: GatePolicy) -> list[Criterion]:
    if policy.max_brier_degradation is None:
        return []
    label = pairs["label"].to_numpy(np.float64)
    challenger = (pairs["challenger_probability"].to_numpy(np.float64) - label) ** 2
    champion = (pairs["probability"].to_numpy(np.float64) - label) ** 2
    change = float(np.average(challenger - champion, weights=pairs["weight"])) if len(pairs) else None
    meaning = "change of the Brier score"
    return [held("brier_change", change, policy.max_brier_degradation, len(pairs), policy.min_samples, meaning)]


def calibration_error(probability: Array, label: Array, weight: Array, bins: int = CALIBRATION_BINS) -> float:
    """Expected calibration error of weighted rows over bins of equally many; in [0, 1]."""
    order = np.argsort(probability, kind="stable")
    gaps = [
        abs(float(weight[part] @ probability[part]) - float(weight[part] @ label[part]))
        for part in np.array_split(order, bins)
        if len(part)
    ]
    return float(sum(gaps) / weight.sum())


def _calibration(pairs: pd.DataFrame, policy: GatePolicy) -> list[Criterion]:
    if policy.max_calibration_error is None:
        return []
    label, weight = pairs["label"].to_numpy(np.float64), pairs["weight"].to_numpy(np.float64)
    probability = pairs["challenger_probability"].to_numpy(np.float64)
    error = calibration_error(probability, label, weight) if len(pairs) else None
    meaning = "challenger's expected calibration error"
    return [held("calibration_error", error, policy.max_calibration_error, len(pairs), policy.min_samples, meaning)]
