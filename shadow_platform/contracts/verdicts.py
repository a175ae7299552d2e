"""Verdicts: what the platform concludes, on which evidence. Pass, fail or insufficient; never a default number.

Upstream: domain.gates, domain.training (parity). Downstream: tables, checks, sensors, promotion. What monitoring
concludes stands in ``monitoring_verdicts``.
"""

import math
from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """A value that is stored as JSON: immutable, unknown fields refused, non-finite numbers kept."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")


class Outcome(StrEnum):
    """Result of one test."""

    PASS = "pass"
    FAIL = "fail"
    INSUFFICIENT = "insufficient"


class Decision(StrEnum):
    """What the gate says of a challenger."""

    PROMOTE = "promote"
    WAIT = "wait"
    REJECT = "reject"


class Purpose(StrEnum):
    """What two models are compared for."""

    CHALLENGE = "challenge"
    WATCH = "watch"


class GateSequence(Frozen):
    """One anytime-valid comparison of two models under one policy: what error is spent on, once.

    A challenge asks whether a challenger may replace the champion; a watch asks, after a promotion, whether the
    champion before it was better after all, which means rollback. All challenges of one champion are a family, and so
    are all its watches: the sequences of a family together falsely act with chance ``GatePolicy.alpha`` at most.

    Attributes:
        sequence_id: SHA-256 of use case, purpose, both bundles, what the policy says besides the defaults, and the
            start of a watch, or of the challenge of a version that served before: asking again, after a restart or by
            two processes, continues it and spends nothing.
        ordinal: place in the family in order of opening, from 1; a changed policy opens a further one.
        alpha: of the sequence: the family's, times ``6 / (pi^2 ordinal^2)``.
        policy: the gate policy in force when it was opened, as JSON.
        evidence_from: requests before it tell nothing: one of the models was fitted or calibrated on them, the
            promotion that is watched came later, or the challenger was champion since and gave way.
    """

    sequence_id: str
    use_case: str
    purpose: Purpose
    champion_version: str
    challenger_version: str
    champion_bundle: str
    challenger_bundle: str
    ordinal: int
    alpha: float
    policy: str
    evidence_from: datetime
    opened_at: datetime


class Maturity(Frozen):
    """How much of the evidence is in: the champion's answers since ``evidence_from``, as of the decision.

    Attributes:
        n_requests: answers of the champion, matured or not.
        n_pending: those whose label horizon has not passed; the decision does not use them.
        n_matured: the others, which are the cohort.
        n_labelled: matured ones with a label.
        n_hidden: matured ones whose outcome a decision hid; they count by the propensity to be seen.
        matured_until: requests up to here are matured; ``None``: none is.
    """

    n_requests: int
    n_pending: int
    n_matured: int
    n_labelled: int
    n_hidden: int
    matured_until: datetime | None

    @property
    def pending_share(self) -> float:
        """Share of the answers that are not matured, in [0, 1]; 0 when there is none."""
        return self.n_pending / self.n_requests if self.n_requests else 0.0


class AAFacts(Frozen):
    """The champion's A/A run that a decision rests on: it shadowed itself through the real path.

    Attributes:
        run_id: row of ``a_a_runs``.
        n: requests compared.
        n_differing: those whose two answers differ by more than the policy tolerates.
        max_difference: largest absolute difference of the two probabilities.
        outcome: pass, fail or insufficient, under the policy of the run.
        limit: difference that the policy of the run tolerated; ``None``: any.
        is_explained: whether it passes because a person accepted its differences.
    """

    run_id: str
    n: int
    n_differing: int
    max_difference: float | None
    limit: float | None
    outcome: Outcome
    is_explained: bool
    ran_at: datetime

    def shortfall(self, tolerated: float | None, least: int) -> str | None:
        """Why the run decides nothing under a policy; ``None``: it does.

        A failure counts under any policy that is as strict. A pass needs enough requests and no difference above what
        is tolerated; a person's explanation covers those above the run's own limit, not those below it.

        Args:
            tolerated: difference that the policy tolerates; ``None``: any.
            least: requests that it wants compared.
        """
        own, now = (math.inf if limit is None else limit for limit in (self.limit, tolerated))
        if self.outcome is Outcome.FAIL:
            return None if now <= own else f"the run failed at a tolerance of {own:.4g}, {now:.4g} is tolerated now"
        if self.n < least:
            return f"{self.n} answers of the champion's own shadow compared, at least {least} needed"
        if self.outcome is Outcome.INSUFFICIENT:
            return "the run compared too few answers for the policy of its time"
        largest = self.max_difference or 0.0
        if largest <= now or (self.is_explained and own <= now):
            return None
        return (
            f"the run tolerated {own:.4g} and saw differences of up to {largest:.4g}, only {now:.4g} is tolerated now"
        )


class TrainingKnowledge(Frozen):
    """Whether the challenger was trained on what was known then, and on nothing that became known later.

    Attributes:
        trained_as_of: labels known later, and requests from then on, may not be in its training frame.
        n_rows: rows of the frame that were held against the labels.
        n_leaked: those with a label that was not known then, or of a request from then on.
        detail: which, or that there is none, in words.
    """

    trained_as_of: datetime
    n_rows: int
    n_leaked: int
    detail: str


class Criterion(Frozen):
    """One test of a gate: ``value`` was held against ``limit`` on ``n`` observations."""

    name: str
    outcome: Outcome
    value: float | None
    limit: float | None
    n: int
    is_hard: bool = False
    reason: str


class GateDecision(Frozen):
    """Why a challenger was promoted, kept waiting or rejected; re-running the inputs reproduces it byte for byte.

    Attributes:
        purpose: of a watch, ``promote`` means: bring the champion before this one back.
    """

    decision_id: str
    sequence_id: str
    use_case: str
    purpose: Purpose
    champion_version: str
    challenger_version: str
    as_of: datetime
    decision: Decision
    criteria: tuple[Criterion, ...]
    maturity: Maturity
    reason: str
    fingerprints: dict[str, str]


class ParityReport(Frozen):
    """ONNX against scikit-learn on the evaluation rows."""

    n: int
    max_abs_diff: float
    share_within_1e5: float
    flipped_decisions: int
    outcome: Outcome
