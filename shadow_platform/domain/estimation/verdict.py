"""Whether a champion answers worse than on the rows it was evaluated on, told by matured labels alone.

Belongs here: the test and its words. Does not belong here: the rows it compares (``daily``), what follows from a
verdict (automation). Upstream: rows of ``performance_daily``. Downstream: ``performance_verdicts``, the retrain sensor.

This is what sees a change of P(y|x), to which every rule on features is blind. Requests of one day share their weather,
and bad weather stays: the test counts days, by the linearised variance of a ratio of day sums (Cochran 1977, Sampling
Techniques, section 6), as a first-order autoregression.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

import numpy as np
import pandas as pd
from scipy import stats

from shadow_platform.contracts.monitoring_verdicts import PerformanceVerdict
from shadow_platform.contracts.policies.monitoring import PerformancePolicy
from shadow_platform.contracts.verdicts import Outcome
from shadow_platform.domain.estimation.daily import NOT_IDENTIFIABLE
from shadow_platform.domain.estimation.metrics import Array

READ = ["day_at", "role", "n_labelled", "n_censored", "estimator", "log_loss", "estimated_log_loss", "n"]
# Of the interval, where a policy asks for no p-value.
DEFAULT_ALPHA = 0.05
MAX_CARRIED = 0.8


@dataclass(frozen=True, slots=True)
class PerformanceInputs:
    """What a verdict rests on.

    Attributes:
        reference: rows of ``performance_daily`` of the evaluation rows; ``None``: they are gone.
        current: rows of the model's matured days in ``[window_start, window_end)``.
        labels_as_of: labels known later were not used.
    """

    use_case: str
    model_version: str
    policy: PerformancePolicy
    reference: pd.DataFrame | None
    current: pd.DataFrame
    window_start: datetime
    window_end: datetime
    labels_as_of: datetime

    @property
    def fingerprint(self) -> str:
        """The same days, metrics and policy give the same."""
        frames = ["gone" if rows is None else _text(rows) for rows in (self.reference, self.current)]
        window = [self.window_start.isoformat(), self.window_end.isoformat()]
        parts = [self.use_case, self.model_version, *window, repr(asdict(self.policy)), *frames]
        return hashlib.sha256("\x00".join(parts).encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class DayLosses:
    """Log loss of whole days, in their order.

    Attributes:
        totals: sum over the requests of each day.
        sizes: requests that each sum is over: labelled ones, and those that the labelled stand for.
    """

    totals: Array
    sizes: Array
    n_labelled: int

    @property
    def n_days(self) -> int:
        """Days that have a mean."""
        return len(self.sizes)

    @property
    def mean(self) -> float:
        """Mean log loss of a request."""
        return float(self.totals.sum() / self.sizes.sum())

    @property
    def deviations(self) -> Array:
        """What each day adds to the error of the mean, times the number of days; their sum is 0."""
        return np.asarray((self.totals - self.mean * self.sizes) / self.sizes.mean(), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Increase:
    """Rise of the mean log loss, its one-sided lower bound and p-value."""

    value: float
    low: float
    p_value: float


def judge_performance(inputs: PerformanceInputs) -> PerformanceVerdict:
    """Fail when the mean log loss rose beyond the policy's threshold; insufficient where that cannot be told."""
    policy = inputs.policy
    reference = None if inputs.reference is None else day_losses(inputs.reference)
    current = day_losses(inputs.current)
    lack = _lack(inputs, reference, current)
    if lack is not None or reference is None:
        return _verdict(inputs, reference, current, None, Outcome.INSUFFICIENT, f"not enough evidence: {lack}")
    increase = rise(reference, current, policy.log_loss.alpha or DEFAULT_ALPHA)
    has_failed = policy.log_loss.is_beyond(increase.value, increase.p_value)
    outcome = Outcome.FAIL if has_failed else Outcome.PASS
    return _verdict(inputs, reference, current, increase, outcome, _words(inputs, reference, current, increase))


def day_losses(rows: pd.DataFrame) -> DayLosses:
    """Sums of the days that have a mean log loss, of rows of ``performance_daily``."""
    known = rows[rows["log_loss"].notna()].sort_values(["day_at", "role"])
    size = (known["n_labelled"] + known["n_censored"]).astype(float)
    by_day = known.assign(size=size, total=known["log_loss"] * size).groupby("day_at")
    totals, sizes = (by_day[name].sum().to_numpy(np.float64) for name in ("total", "size"))
    return DayLosses(totals, sizes, int(known["n_labelled"].sum()))


def rise(reference: DayLosses, current: DayLosses, alpha: float) -> Increase:
    """Student's one-sided test on days, which may carry over to the next; each sample has at least two.

    One variance for both samples: a few days in a row look more alike than those of a month.
    """
    samples = (reference, current)
    carried = carry_over(samples)
    value = current.mean - reference.mean
    squares = sum(float(np.square(sample.deviations).sum()) for sample in samples)
    effects = [_inflation(sample.n_days, carried) for sample in samples]
    of_a_day = squares / sum(sample.n_days - effect for sample, effect in zip(samples, effects, strict=True))
    inverse = sum(effect / sample.n_days for sample, effect in zip(samples, effects, strict=True))
    error = float(np.sqrt(of_a_day * inverse))
    if error <= 1e-12:
        return Increase(value, value, 0.0 if value > 0 else 1.0)
    n_days = reference.n_days + current.n_days
    freedom = max((n_days - 2) * (1 - carried) / (1 + carried), 1.0)
    low = value - float(stats.t.isf(alpha, freedom)) * error
    return Increase(value, low, float(stats.t.sf(value / error, freedom)))


def carry_over(samples: Sequence[DayLosses]) -> float:
    """Correlation of a day with the next, in [0, ``MAX_CARRIED``], freed of the bias that few days give it.

    The bias of a mean-corrected estimate from n days is about ``-(1 + 3 r) / n`` (Marriott and Pope 1954).
    """
    found = [sample.deviations for sample in samples]
    squares = sum(float(deviations @ deviations) for deviations in found)
    if squares == 0:
        return 0.0
    raw = sum(float(deviations[1:] @ deviations[:-1]) for deviations in found) / squares
    bias = len(samples) * (1 + 3 * raw) / sum(len(deviations) for deviations in found)
    return float(np.clip(raw + bias, 0.0, MAX_CARRIED))


def _inflation(n_days: int, carried: float) -> float:
    """Variance of a mean of days of a first-order autoregression, against that of independent days."""
    steady = (1 + carried) / (1 - carried)
    return steady - 2 * carried * (1 - carried**n_days) / (n_days * (1 - carried) ** 2)


def _lack(inputs: PerformanceInputs, reference: DayLosses | None, current: DayLosses) -> str | None:
    """What is missing for a verdict; ``None``: nothing."""
    policy, version = inputs.policy, inputs.model_version
    if inputs.reference is None:
        return f"the rows that version {version} was evaluated on are gone, or their labels were hidden"
    if (inputs.current["estimator"] == NOT_IDENTIFIABLE).any():
        return "decisions hid labels of the window, and none of these requests had a chance to show its own"
    for what, found in (("evaluation", reference), ("window", current)):
        n, n_days = (found.n_labelled, found.n_days) if found else (0, 0)
        if n < policy.min_labels or n_days < max(policy.min_days, 2):
            return (
                f"{n:,} labelled requests of version {version} on {n_days} days in its {what}, "
                f"at least {policy.min_labels:,} on {policy.min_days} wanted"
            )
    return None


def _words(inputs: PerformanceInputs, reference: DayLosses, current: DayLosses, increase: Increase) -> str:
    limit = inputs.policy.log_loss
    expected = np.average(inputs.current["estimated_log_loss"], weights=inputs.current["n"])
    by_requests = float(expected) - reference.mean
    alpha = "" if limit.alpha is None else f" with p below {limit.alpha:g}"
    return (
        f"mean log loss {current.mean:.4f} on {current.n_labelled:,} labelled requests of {current.n_days} days, "
        f"{reference.mean:.4f} on the {reference.n_labelled:,} rows of {reference.n_days} days that version "
        f"{inputs.model_version} was evaluated on: {increase.value:+.4f} nats a request (at least {increase.low:+.4f}, "
        f"p = {increase.p_value:.2g}; a rise of {limit.floor:g}{alpha} fails). {by_requests:+.4f} was to be expected "
        f"from the requests alone; {increase.value - by_requests:+.4f} is a change of P(y|x) or chance, which no rule "
        "on features sees"
    )


def _verdict(
    inputs: PerformanceInputs,
    reference: DayLosses | None,
    current: DayLosses,
    increase: Increase | None,
    outcome: Outcome,
    explanation: str,
) -> PerformanceVerdict:
    return PerformanceVerdict(
        evaluation_id=inputs.fingerprint,
        use_case=inputs.use_case,
        model_version=inputs.model_version,
        window_start=inputs.window_start,
        window_end=inputs.window_end,
        labels_as_of=inputs.labels_as_of,
        outcome=outcome,
        log_loss_reference=reference.mean if reference and reference.n_days else None,
        log_loss_current=current.mean if current.n_days else None,
        increase=increase.value if increase else None,
        increase_low=increase.low if increase else None,
        p_value=increase.p_value if increase else None,
        n_reference=reference.n_labelled if reference else 0,
        n_current=current.n_labelled,
        explanation=explanation,
    )


def _text(rows: pd.DataFrame) -> str:
    ordered = rows[READ].sort_values(["day_at", "role"])
    days = ordered["day_at"].map(pd.Timestamp.isoformat)
    return ordered.assign(day_at=days).to_csv(index=False, float_format="%.12g")
