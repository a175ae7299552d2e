"""Whether a trained model is good enough to become a version, and what to say if not.

Belongs here: holding metrics against the use case's quality policy. Does not belong here: comparing with the champion
(domain.gates). Upstream: metrics of all evaluation rows, the parity report. Downstream: registration,
``model_experiments``, the model card.

A limit fails only on evidence: the metric's whole interval lies on the wrong side of it.
"""

from collections.abc import Sequence

from shadow_platform.contracts.model_card import MetricEstimate, SegmentMetrics
from shadow_platform.contracts.use_case import QualityPolicy
from shadow_platform.contracts.verdicts import Criterion, Outcome, ParityReport
from shadow_platform.domain.training.parity import PARITY_LIMIT, PARITY_SHARE

ADVICE = "train on more days or with other features, or loosen the use case's quality policy with a reason"
PARITY_ADVICE = "look at the parity check of the run and use a model family whose export answers as it does"


def quality(overall: SegmentMetrics, policy: QualityPolicy) -> tuple[Criterion, ...]:
    """Each limit of the policy, held against the metrics of all evaluation rows.

    Pass: the value keeps the limit. Fail: the whole interval lies beyond it, or the value does and has no interval.
    Insufficient: the value lies beyond but its interval reaches back, or the rows do not identify the metric.
    """
    limits = (
        ("roc_auc", "ROC-AUC", policy.min_roc_auc, True),
        ("log_loss_gain", "log-loss gain over the base rate, nats a row,", policy.min_log_loss_gain, True),
        ("calibration_error", "expected calibration error", policy.max_calibration_error, False),
    )
    return tuple(
        _held(name, meaning, overall.metrics.get(name), limit, overall.n, is_minimum)
        for name, meaning, limit, is_minimum in limits
        if limit is not None
    )


def archived_reason(criteria: Sequence[Criterion], parity: ParityReport) -> str | None:
    """Why a model does not become a version, with numbers and what to do; ``None``: it does.

    A criterion that is insufficient archives nothing: nobody has shown that its limit is broken.
    """
    failed = [criterion.reason for criterion in criteria if criterion.outcome is Outcome.FAIL]
    differs = [_difference(parity), PARITY_ADVICE] if parity.outcome is not Outcome.PASS else []
    return "; ".join([*differs, *failed, *([ADVICE] if failed else [])]) or None


def _held(
    name: str, meaning: str, estimate: MetricEstimate | None, limit: float, n: int, is_minimum: bool
) -> Criterion:
    wanted = f"{'at least' if is_minimum else 'at most'} {limit:.4g} is wanted"
    if estimate is None:
        outcome, reason = Outcome.INSUFFICIENT, f"{meaning} is not identified by {n:,} evaluation rows, {wanted}"
    else:
        outcome = _outcome(estimate, limit, is_minimum)
        reason = f"{meaning} is {_shown(estimate)} on {n:,} evaluation rows, {wanted}"
    value = None if estimate is None else estimate.value
    return Criterion(name=name, outcome=outcome, value=value, limit=limit, n=n, is_hard=True, reason=reason)


def _outcome(estimate: MetricEstimate, limit: float, is_minimum: bool) -> Outcome:
    sign = 1 if is_minimum else -1
    if sign * estimate.value >= sign * limit:
        return Outcome.PASS
    nearest = estimate.high if is_minimum else estimate.low
    reaches_back = nearest is not None and sign * nearest >= sign * limit
    return Outcome.INSUFFICIENT if reaches_back else Outcome.FAIL


def _shown(estimate: MetricEstimate) -> str:
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.4g} (no interval)"
    return f"{estimate.value:.4g} (interval {estimate.low:.4g} to {estimate.high:.4g})"


def _difference(parity: ParityReport) -> str:
    if parity.outcome is Outcome.INSUFFICIENT:
        return "no evaluation row shows whether the ONNX model answers as the fitted one"
    return (
        f"the ONNX model answers up to {parity.max_abs_diff:.2g} off the fitted one (at most {PARITY_LIMIT:g}), "
        f"within 1e-5 on {parity.share_within_1e5:.4%} of {parity.n:,} evaluation rows (at least {PARITY_SHARE:.2%}), "
        f"and flips {parity.flipped_decisions:,} decisions (none allowed)"
    )
