"""Criteria on what both models answered, against matured labels.

Upstream: labelled pairs in prediction order. Downstream: gates.decision.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from shadow_platform.contracts.use_case import GatePolicy
from shadow_platform.contracts.verdicts import Criterion
from shadow_platform.domain.gates.criterion import FAIL, INSUFFICIENT, PASS, held
from shadow_platform.domain.gates.sequence import (
    Array,
    ConfidenceSequence,
    cluster_numbers,
    confidence_sequence,
    log_loss,
)

CALIBRATION_BINS = 10


def evidence(cohort: pd.DataFrame, policy: GatePolicy) -> ConfidenceSequence:
    """Confidence sequence of the log-loss gain over the cohort's compared and labelled rows."""
    pairs = labelled_pairs(cohort)
    return confidence_sequence(
        log_loss_gains(pairs), cluster_numbers(pairs, policy.cluster), policy.alpha, policy.tuned_at
    )


def labelled_pairs(cohort: pd.DataFrame) -> pd.DataFrame:
    """Rows that both models answered and whose label is known."""
    return cohort[cohort["outcome"].eq("compared") & cohort["label"].notna()].reset_index(drop=True)


def log_loss_gains(pairs: pd.DataFrame) -> Array:
    """Champion's log loss minus the challenger's of each pair, nats; positive favours the challenger."""
    label = pairs["label"].to_numpy(np.float64)
    champion = log_loss(pairs["probability"].to_numpy(np.float64), label)
    return champion - log_loss(pairs["challenger_probability"].to_numpy(np.float64), label)


def judge_quality(cohort: pd.DataFrame, policy: GatePolicy) -> list[Criterion]:
    """Criteria on labels, gain and harm, F1, Brier score, calibration and segments, those of the policy only."""
    pairs = labelled_pairs(cohort)
    return [
        _matured_labels(pairs, policy),
        *_label_coverage(cohort, policy),
        *_gain_and_harm(pairs, policy),
        *_f1_improvement(pairs, policy),
        *_brier_change(pairs, policy),
        *_calibration(pairs, policy),
        *_segments(pairs, policy),
    ]


def _matured_labels(pairs: pd.DataFrame, policy: GatePolicy) -> Criterion:
    n = len(pairs)
    outcome = PASS if n >= policy.min_samples else INSUFFICIENT
    reason = f"{n} matured and labelled pairs, at least {policy.min_samples} needed"
    return Criterion(name="matured_labels", outcome=outcome, value=n, limit=policy.min_samples, n=n, reason=reason)


def _label_coverage(cohort: pd.DataFrame, policy: GatePolicy) -> list[Criterion]:
    if policy.min_label_coverage is None:
        return []
    share = float(cohort["label"].notna().mean()) if len(cohort) else None
    meaning = "share of matured requests with a known label"
    limit = policy.min_label_coverage
    return [held("label_coverage", share, limit, len(cohort), policy.min_samples, meaning, at_least=True)]


def _gain_and_harm(pairs: pd.DataFrame, policy: GatePolicy) -> list[Criterion]:
    """Whether a gain is shown, and whether harm is: the two one-sided bounds of one sequence."""
    sequence = evidence(pairs, policy)
    n, clusters = len(pairs), len(sequence.n)
    gain = harm = INSUFFICIENT
    lower = upper = None
    if n < policy.min_samples or clusters < policy.min_clusters:
        needed = f"at least {policy.min_samples} in {policy.min_clusters} needed"
        reason = f"{n} pairs in {clusters} {policy.cluster or 'request'} clusters, {needed}"
    else:
        lower, upper = float(sequence.lower[-1]), float(sequence.upper[-1])
        harm = FAIL if upper < -policy.margin else PASS
        gain = PASS if lower > policy.margin else FAIL if harm is FAIL else INSUFFICIENT
        reason = (
            f"mean gain {sequence.mean[-1]:.5f} nats a request, anytime-valid bounds {lower:.5f} and {upper:.5f} "
            f"on {clusters} {policy.cluster or 'request'} clusters, design effect {sequence.design_effect:.2f}"
        )
    return [
        Criterion(name="log_loss_gain", outcome=gain, value=lower, limit=policy.margin, n=n, reason=reason),
        Criterion(
            name="log_loss_harm", outcome=harm, value=upper, limit=-policy.margin, n=n, is_hard=True, reason=reason
        ),
    ]


def _f1_improvement(pairs: pd.DataFrame, policy: GatePolicy) -> list[Criterion]:
    if policy.min_f1_improvement_pct is None:
        return []
    change = None
    if len(pairs):
        label = pairs["label"].to_numpy(bool)
        champion = f1(label, pairs["prediction"].to_numpy(bool))
        challenger = f1(label, pairs["challenger_prediction"].to_numpy(bool))
        change = 100 * (challenger / champion - 1) if champion > 0 else None
    limit, meaning = policy.min_f1_improvement_pct, "change of F1 in percent"
    return [held("f1_improvement_pct", change, limit, len(pairs), policy.min_samples, meaning, at_least=True)]


def f1(label: NDArray[np.bool_], prediction: NDArray[np.bool_]) -> float:
    """Harmonic mean of precision and recall; 0 where neither finds anything."""
    found = int(label.sum()) + int(prediction.sum())
    return 2 * int((label & prediction).sum()) / found if found else 0.0


def _brier_change(pairs: pd.DataFrame, policy: GatePolicy) -> list[Criterion]:
    if policy.max_brier_degradation is None:
        return []
    label = pairs["label"].to_numpy(np.float64)
    challenger = (pairs["challenger_probability"].to_numpy(np.float64) - label) ** 2
    champion = (pairs["probability"].to_numpy(np.float64) - label) ** 2
    change = float(np.mean(challenger - champion)) if len(pairs) else None
    meaning = "change of the Brier score"
    return [held("brier_change", change, policy.max_brier_degradation, len(pairs), policy.min_samples, meaning)]


def calibration_error(probability: Array, label: Array, bins: int = CALIBRATION_BINS) -> float:
    """Expected calibration error over bins of equally many rows; in [0, 1]."""
    order = np.argsort(probability, kind="stable")
    gaps = [
        abs(float(np.mean(probability[part])) - float(np.mean(label[part]))) * len(part)
        for part in np.array_split(order, bins)
        if len(part)
    ]
    return float(sum(gaps) / len(probability))


def _calibration(pairs: pd.DataFrame, policy: GatePolicy) -> list[Criterion]:
    if policy.max_calibration_error is None:
        return []
    label = pairs["label"].to_numpy(np.float64)
    probability = pairs["challenger_probability"].to_numpy(np.float64)
    error = calibration_error(probability, label) if len(pairs) else None
    meaning = "challenger's expected calibration error"
    return [held("calibration_error", error, policy.max_calibration_error, len(pairs), policy.min_samples, meaning)]


def _segments(pairs: pd.DataFrame, policy: GatePolicy) -> list[Criterion]:
    """Whether some level of a segment is harmed: Holm over all levels, and a loss above the policy's floor."""
    if not policy.segments:
        return []
    increase = -log_loss_gains(pairs)
    clusters = cluster_numbers(pairs, policy.cluster)
    tests = [
        (f"{segment}={level}", *_increase_test(increase[rows], clusters[rows]))
        for segment in policy.segments
        for level, rows in sorted(pairs.groupby(segment).indices.items(), key=lambda item: str(item[0]))
        if len(rows) >= policy.min_samples
    ]
    limit, n = policy.max_segment_log_loss_increase, len(pairs)
    if not tests:
        reason = f"no level of {', '.join(policy.segments)} has {policy.min_samples} labelled pairs"
        return [Criterion(name="segments", outcome=INSUFFICIENT, value=None, limit=limit, n=n, reason=reason)]
    rejected = holm(np.array([p for _, _, p in tests]), policy.alpha)
    shown = [test for test, is_rejected in zip(tests, rejected, strict=True) if is_rejected and test[1] > limit]
    harmed = [f"{name} {loss:+.4f}" for name, loss, _ in shown]
    name, worst, _ = max(tests, key=lambda test: test[1])
    reason = f"harmed: {', '.join(harmed)}" if harmed else f"largest change of log loss {worst:+.4f} in {name}"
    outcome = FAIL if harmed else PASS
    return [Criterion(name="segments", outcome=outcome, value=worst, limit=limit, n=n, reason=reason)]


def _increase_test(increase: Array, clusters: NDArray[np.int64]) -> tuple[float, float]:
    """Mean and one-sided p-value that it is above zero, from cluster sums (Student, clusters - 1)."""
    _, numbers = np.unique(clusters, return_inverse=True)
    mean, k = float(np.mean(increase)), int(numbers.max()) + 1
    if k < 2:
        return mean, 1.0
    sums = np.bincount(numbers, weights=increase - mean)
    spread = float(np.sqrt(k / (k - 1) * float(sums @ sums))) / len(increase)
    if spread == 0:
        return mean, float(mean <= 0)
    return mean, float(stats.t.sf(mean / spread, k - 1))


def holm(p_values: Array, alpha: float) -> NDArray[np.bool_]:
    """Which hypotheses Holm's step-down procedure rejects at family-wise error ``alpha``.

    >>> holm(np.array([0.01, 0.04, 0.03]), 0.05).tolist()
    [True, False, False]
    """
    order = np.argsort(p_values, kind="stable")
    is_small = p_values[order] <= alpha / np.arange(len(p_values), 0, -1)
    rejected = np.zeros(len(p_values), dtype=np.bool_)
    rejected[order] = np.logical_and.accumulate(is_small)
    return rejected
