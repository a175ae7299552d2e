"""Whether a model in the shadow is the model that answers: the judgement on an A/A run.

Belongs here: what counts as a difference, the outcome, and its reason in words. Does not belong here: scoring
(``bento.shadowing.a_a``), when a run is due (``assets.a_a``), what a gate makes of it (``domain.gates``). Pure.
Upstream: ``contracts.a_a``. Downstream: ``resources.a_a``.

A comparison of two models means something only if the path itself changes nothing: the champion, asked again with the
features it was served, must give its own answer. Where it does not, the reason tells three suspects apart. Answers that
vary with the cut into batches are nondeterminism. One answer however it is asked, but another than the caller got,
means that the caller's was made of other values than the log holds: a stale or a wrongly logged feature. The same
probability with another decision means another threshold.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from shadow_platform.contracts.a_a import OwnAnswer, SelfShadowing
from shadow_platform.contracts.use_case import GatePolicy
from shadow_platform.contracts.verdicts import Outcome

MAX_REASON = 300


@dataclass(frozen=True, slots=True)
class AAVerdict:
    """The judgement on an A/A run; counts as in the table ``a_a_runs``.

    Attributes:
        n: requests compared: asked again with an answer every time.
        max_difference: ``None`` when nothing was compared.
    """

    n: int
    n_failed: int
    n_differing: int
    n_flips: int
    max_difference: float | None
    outcome: Outcome
    reason: str
    first_request_at: datetime | None
    last_request_at: datetime | None


def judge(run: SelfShadowing, policy: GatePolicy) -> AAVerdict:
    """Outcome of an A/A run.

    Fails when any answer differs or fails, however few were asked; insufficient below ``min_a_a`` compared requests;
    passes otherwise. A request that got no probability or no decision failed. An answer differs when its probability
    is off by more than ``max_a_a_difference`` (``None``: unbounded), or its decision is another though the
    probabilities do not lie on both sides of any threshold.
    """
    compared = [answer for answer in run.answers if fault(answer) is None]
    failed = [answer for answer in run.answers if fault(answer) is not None]
    limit = math.inf if policy.max_a_a_difference is None else policy.max_a_a_difference
    differing = [answer for answer in compared if not difference(answer) <= limit or is_contradiction(answer)]
    moments = [answer.requested_at for answer in compared]
    if failed or differing:
        outcome = Outcome.FAIL
        faults = [_differing(differing, len(compared), limit)] if differing else []
        reason = "; ".join(faults + ([_failed(failed, len(run.answers))] if failed else []))
    elif len(compared) < policy.min_a_a:
        outcome = Outcome.INSUFFICIENT
        reason = f"{len(compared)} answers of version {run.version} could be compared, at least {policy.min_a_a} wanted"
    else:
        outcome = Outcome.PASS
        cuts = " and of ".join(str(cut) for cut in run.cuts)
        reason = f"all {len(compared)} answers are given again by version {run.version} in batches of {cuts}"
    return AAVerdict(
        n=len(compared),
        n_failed=len(failed),
        n_differing=len(differing),
        n_flips=sum(is_flip(answer) for answer in compared),
        max_difference=max(map(difference, compared), default=None),
        outcome=outcome,
        reason=reason,
        first_request_at=min(moments, default=None),
        last_request_at=max(moments, default=None),
    )


def fault(answer: OwnAnswer) -> str | None:
    """Why a request cannot be compared: the first error, or answer that is none; ``None``: it can."""
    for again in answer.again:
        if again.error is not None:
            return again.error
        if again.probability is None or not math.isfinite(again.probability) or again.prediction is None:
            return "an answer without a probability or a decision"
    return None if answer.again else "it was not asked again"


def difference(answer: OwnAnswer) -> float:
    """Largest absolute difference between the logged probability and those given again, in [0, 1]."""
    return max((abs(p - answer.probability) for p in _probabilities(answer)), default=0.0)


def is_flip(answer: OwnAnswer) -> bool:
    """Whether a decision given again is another than the logged one."""
    return any(again.prediction != answer.prediction for again in answer.again)


def is_contradiction(answer: OwnAnswer) -> bool:
    """Whether no threshold explains both decisions: the positive one has no higher probability than the other."""
    for again in answer.again:
        if again.probability is not None and again.prediction != answer.prediction:
            given, logged = again.probability, answer.probability
            positive, negative = (given, logged) if again.prediction else (logged, given)
            if positive <= negative:
                return True
    return False


def _spread(answer: OwnAnswer) -> float:
    given = _probabilities(answer)
    return max(given) - min(given)


def _probabilities(answer: OwnAnswer) -> list[float]:
    return [again.probability for again in answer.again if again.probability is not None]


def _differing(differing: Sequence[OwnAnswer], n: int, limit: float) -> str:
    worst = max(differing, key=lambda answer: (difference(answer), is_contradiction(answer)))
    given = " and ".join(f"{p:.6g}" for p in dict.fromkeys(_probabilities(worst)))
    told = (
        f"{len(differing)} of {n} answers differ by more than {limit:.4g} or in the decision, most of all request "
        f"{worst.request_id} of {worst.requested_at:%Y-%m-%d %H:%M:%S}: {worst.probability:.6g} was answered, "
        f"{given} in the shadow"
    )
    return f"{told}; {_suspect(worst, limit)}"


def _suspect(worst: OwnAnswer, limit: float) -> str:
    if _spread(worst) > limit:
        return "suspect nondeterminism: the answer depends on the batch it is scored in, or on chance"
    if difference(worst) <= limit:
        return "suspect another threshold: the probability is the same, the decision is not"
    if worst.feature_age_s is None:
        age = "it read no feature view"
    else:
        age = f"its oldest feature values were {worst.feature_age_s:.0f} s old"
    return (
        "suspect a stale or wrongly logged feature: the shadow gives the same however it is asked, so that the answer "
        f"was made of other values than the log holds ({age})"
    )


def _failed(failed: Sequence[OwnAnswer], n: int) -> str:
    first = failed[0]
    told = f"{len(failed)} of {n} requests have no answer in the shadow, the first {first.request_id}: {fault(first)}"
    return told[:MAX_REASON]
