"""Whether a segment of the requests is harmed by a challenger that is better on the whole.

Upstream: judged pairs in prediction order. Downstream: gates.quality, the decision's page.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from shadow_platform.contracts.use_case import GatePolicy
from shadow_platform.contracts.verdicts import Criterion
from shadow_platform.domain.gates.clusters import Array, Clusters, running_mean
from shadow_platform.domain.gates.criterion import FAIL, INSUFFICIENT, PASS
from shadow_platform.domain.gates.sequence import log_loss_gains

REST = "(rare levels)"
MAX_UNTESTED = 0.2
"""Share of the pairs that levels too rare to be judged alone may hold."""
MAX_NAMED = 10


@dataclass(frozen=True, slots=True)
class SegmentChange:
    """Change of log loss of one level of a segment, challenger minus champion, nats a request; positive is harm.

    Attributes:
        level: value of the segment, or ``REST``: all levels too rare to be judged alone.
        n: labelled pairs.
        share: of the judged pairs, in [0, 1].
        low, high: 95 % interval from cluster sums (Student); infinite with a single cluster.
        p_value: of "not harmed", one-sided.
        is_tested: whether the level has enough labelled pairs to be judged.
    """

    segment: str
    level: str
    n: int
    share: float
    change: float
    low: float
    high: float
    p_value: float
    is_tested: bool

    @property
    def name(self) -> str:
        """``segment=level``."""
        return f"{self.segment}={self.level}"


def segment_changes(pairs: pd.DataFrame, policy: GatePolicy) -> tuple[SegmentChange, ...]:
    """Change of log loss in every level of the policy's segments, missing values a level of their own.

    Levels too rare to be judged alone are there a second time, as one: ``REST``.
    """
    increase = -log_loss_gains(pairs)
    clusters, is_seen = Clusters.of(pairs, policy.cluster), pairs["weight"].to_numpy(np.float64) > 0

    def change_of(segment: str, level: str, is_in: "pd.Series[bool]") -> SegmentChange:
        rows = np.flatnonzero(is_in)
        n = int(is_seen[rows].sum())
        running = running_mean(increase[rows], clusters.take(rows))
        mean, k = float(running.mean[-1]), int(running.groups[-1])
        spread = float(np.sqrt(running.variance[-1])) / len(rows)
        half = float(stats.t.isf(0.025, k - 1)) * spread if k > 1 else np.inf
        return SegmentChange(
            segment=segment,
            level=level,
            n=n,
            share=len(rows) / len(pairs),
            change=mean,
            low=mean - half,
            high=mean + half,
            p_value=_p_value(mean, spread, k),
            is_tested=n >= policy.min_samples,
        )

    found = []
    for segment in policy.segments:
        levels = levels_of(pairs, segment)
        changes = [change_of(segment, level, levels.eq(level)) for level in sorted(levels.unique())]
        rare = [change.level for change in changes if not change.is_tested]
        found += changes + ([change_of(segment, REST, levels.isin(rare))] if len(rare) > 1 else [])
    return tuple(found)


def judge_segments(pairs: pd.DataFrame, policy: GatePolicy) -> list[Criterion]:
    """Whether some level of a segment is harmed: Holm over all levels, and a loss above the policy's floor.

    Rare levels are tested as one. That may hide the harm of each, so nothing is concluded while those of a segment hold
    more than ``MAX_UNTESTED`` of the pairs.
    """
    if not policy.segments:
        return []
    changes = segment_changes(pairs, policy)
    tests = [change for change in changes if change.is_tested]
    limit, n = policy.max_segment_log_loss_increase, int((pairs["weight"] > 0).sum())
    if not tests:
        reason = f"no level of {', '.join(policy.segments)} has {policy.min_samples} labelled pairs"
        return [Criterion(name="segments", outcome=INSUFFICIENT, value=None, limit=limit, n=n, reason=reason)]
    rejected = holm(np.array([test.p_value for test in tests]), policy.alpha)
    harmed = [
        f"{test.name} {test.change:+.4f}"
        for test, is_rejected in zip(tests, rejected, strict=True)
        if is_rejected and test.change > limit
    ]
    worst = max(tests, key=lambda test: test.change)
    reason = f"largest change of log loss {worst.change:+.4f} in {worst.name}"
    if harmed:
        reason = f"harmed: {', '.join(harmed)}"
    untested = [each for segment in policy.segments if (each := _untested(changes, segment))]
    reason += "".join(f"; {told}" for _, told in untested)
    is_open = any(share > MAX_UNTESTED for share, _ in untested)
    outcome = FAIL if harmed else INSUFFICIENT if is_open else PASS
    return [Criterion(name="segments", outcome=outcome, value=worst.change, limit=limit, n=n, reason=reason)]


def _untested(changes: tuple[SegmentChange, ...], segment: str) -> tuple[float, str] | None:
    """Share of the pairs in levels of a segment that are too rare to be judged alone, and which, in words."""
    rare = [c for c in changes if c.segment == segment and c.level != REST and not c.is_tested]
    if not rare:
        return None
    rare.sort(key=lambda change: -change.share)
    share, further = sum(change.share for change in rare), len(rare) - MAX_NAMED
    named = ", ".join(change.level for change in rare[:MAX_NAMED]) + (f" and {further} more" if further > 0 else "")
    return share, f"too rare to be judged alone in {segment}: {named}, {100 * share:.1f} % of the pairs"


def levels_of(rows: pd.DataFrame, segment: str) -> "pd.Series[str]":
    """Level of each row, missing values a level of their own."""
    return rows[segment].astype(object).where(rows[segment].notna(), "missing").astype(str)


def _p_value(mean: float, spread: float, k: int) -> float:
    """One-sided p-value of a mean above zero (Student, clusters - 1)."""
    if k < 2:
        return 1.0
    if spread == 0:
        return float(mean <= 0)
    return float(stats.t.sf(mean / spread, k - 1))


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
