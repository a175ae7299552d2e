"""Criteria on what the shadow left out: how much, and whether it differs from what was compared.

A challenger whose failures and drops spare the easy requests would be judged on the others only. Upstream: the matured
cohort. Downstream: gates.operation.
"""

import numpy as np
import pandas as pd
from scipy import stats

from shadow_platform.contracts.use_case import GatePolicy
from shadow_platform.contracts.verdicts import Criterion
from shadow_platform.domain.gates.criterion import FAIL, INSUFFICIENT, PASS, held
from shadow_platform.domain.gates.segments import holm, levels_of

BIAS_P_VALUE = 0.001
BIAS_FLOOR = 0.1
"""Distance of two distributions that matters: of scores, Kolmogorov and Smirnov's D; of levels, total variation."""
MIN_EXPECTED = 5.0


def judge_coverage(cohort: pd.DataFrame, policy: GatePolicy) -> list[Criterion]:
    """Criteria on the share that was compared, and on the scores and segments of what was not."""
    by_segment = [_segment_bias(cohort, policy.segments)] if policy.segments else []
    return [_share(cohort, policy), _score_bias(cohort), *by_segment]


def _share(cohort: pd.DataFrame, policy: GatePolicy) -> Criterion:
    share = float(cohort["outcome"].eq("compared").mean()) if len(cohort) else None
    meaning = "share of the champion's requests that were compared"
    return held("shadow_coverage", share, policy.min_coverage, len(cohort), policy.min_samples, meaning, at_least=True)


def _nothing_left_out(name: str, cohort: pd.DataFrame, is_compared: "pd.Series[bool]") -> Criterion | None:
    """The criterion when every request was compared, or none."""
    n = int((~is_compared).sum())
    if n and is_compared.any():
        return None
    outcome = PASS if len(cohort) and not n else INSUFFICIENT
    reason = "every request was compared" if outcome is PASS else "no request was compared"
    value = 0.0 if outcome is PASS else None
    return Criterion(name=name, outcome=outcome, value=value, limit=BIAS_FLOOR, n=n, reason=reason)


def _score_bias(cohort: pd.DataFrame) -> Criterion:
    """Whether uncompared requests had other scores than compared ones (KS D, with p below ``BIAS_P_VALUE``)."""
    is_compared = cohort["outcome"].eq("compared")
    if found := _nothing_left_out("coverage_bias", cohort, is_compared):
        return found
    compared, other = cohort.loc[is_compared, "probability"], cohort.loc[~is_compared, "probability"]
    n, test = len(other), stats.ks_2samp(compared, other, method="asymp")
    is_biased = test.pvalue < BIAS_P_VALUE and test.statistic > BIAS_FLOOR
    reason = f"scores of {n} uncompared requests differ by KS D {test.statistic:.4f}, p {test.pvalue:.3g}"
    outcome, value = FAIL if is_biased else PASS, float(test.statistic)
    return Criterion(name="coverage_bias", outcome=outcome, value=value, limit=BIAS_FLOOR, n=n, reason=reason)


def _segment_bias(cohort: pd.DataFrame, segments: tuple[str, ...]) -> Criterion:
    """Whether uncompared requests were of other levels than compared ones.

    Per segment a chi-square test of homogeneity, Holm over segments at ``BIAS_P_VALUE``, and a total variation above
    the floor. Cramer's V would not do as a floor: it vanishes with the share that was not compared, however biased.
    """
    name, is_compared = "coverage_bias_segments", cohort["outcome"].eq("compared")
    if found := _nothing_left_out(name, cohort, is_compared):
        return found
    tests = [(segment, *_homogeneity(levels_of(cohort, segment), is_compared)) for segment in segments]
    rejected = holm(np.array([p for _, _, p in tests]), BIAS_P_VALUE)
    biased = [
        f"{segment} (total variation {distance:.4f}, p {p:.3g})"
        for (segment, distance, p), is_rejected in zip(tests, rejected, strict=True)
        if is_rejected and distance > BIAS_FLOOR
    ]
    n = int((~is_compared).sum())
    segment, worst, p = max(tests, key=lambda test: test[1])
    reason = f"levels of {n} uncompared requests differ most in {segment}: total variation {worst:.4f}, p {p:.3g}"
    if biased:
        reason = f"levels of {n} uncompared requests differ in {', '.join(biased)}"
    outcome = FAIL if biased else PASS
    return Criterion(name=name, outcome=outcome, value=worst, limit=BIAS_FLOOR, n=n, reason=reason)


def _homogeneity(levels: "pd.Series[str]", is_compared: "pd.Series[bool]") -> tuple[float, float]:
    """Total variation between both groups' levels, and the p-value of equal ones; rare levels are pooled."""
    counts = pd.crosstab(levels, is_compared).to_numpy(np.float64)
    rarest = counts.sum(axis=1) * counts.sum(axis=0).min() / counts.sum()
    is_rare = rarest < MIN_EXPECTED
    pooled = np.vstack([counts[~is_rare], counts[is_rare].sum(axis=0)]) if is_rare.any() else counts
    shares = pooled / pooled.sum(axis=0)
    distance = float(np.abs(shares[:, 0] - shares[:, 1]).sum() / 2)
    if len(pooled) < 2:
        return distance, 1.0
    return distance, float(stats.chi2_contingency(pooled, correction=False).pvalue)
