"""What an A/A run saw: the answers of one model in the log, and what the same model gave when it was asked again.

Belongs here: the form in which the process that scores hands it over. Does not belong here: whether it is good enough
(``domain.a_a``), and what is kept of it (``contracts.tables``, ``contracts.verdicts.AAFacts``). Upstream: nothing.
Downstream: ``bento.shadowing.a_a``, ``domain.a_a``.
"""

from datetime import datetime

from pydantic import BaseModel, ConfigDict


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class AskedAgain(_Frozen):
    """One further answer to a logged request: a probability and a decision, or why there is none."""

    probability: float | None = None
    prediction: bool | None = None
    error: str | None = None


class OwnAnswer(_Frozen):
    """A logged answer beside those of the same model in the shadow.

    Attributes:
        probability, prediction: as answered to the caller.
        feature_age_s: age of the oldest row of a feature view it was made of; ``None``: no view was read.
        again: one a cut, in the order of ``SelfShadowing.cuts``.
    """

    request_id: str
    requested_at: datetime
    probability: float
    prediction: bool
    feature_age_s: float | None
    again: tuple[AskedAgain, ...]


class SelfShadowing(_Frozen):
    """A model's newest answers, each asked again.

    Attributes:
        cuts: numbers of requests that were scored at once, largest first; each cut scored every request.
        answers: oldest first.
    """

    version: str
    bundle_hash: str
    cuts: tuple[int, ...]
    answers: tuple[OwnAnswer, ...]
