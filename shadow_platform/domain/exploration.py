"""Which positive decisions are not carried out, and how probable it is that a request's outcome is seen.

Belongs here: the draw and its probability. Does not belong here: how the caller is told (``domain.serving``), estimates
that weigh by the probability (the performance and gate stages), which model answers (``domain.canary``). Pure.
Upstream: declarations of the use case. Downstream: the predictor, which logs both beside the decision.

Where a positive decision prevents its outcome, a blocked payment say, nobody learns whether it was right. A small share
of those decisions, drawn at random and not carried out, buys that knowledge at a known price.
"""

from dataclasses import dataclass
from hashlib import blake2b
from typing import NamedTuple

from shadow_platform.contracts.use_case import UseCase

_HASHES = 1 << 64
_PURPOSE = b"exploration"
"""Sampling for the shadow hashes the same id; another purpose makes this draw independent of that one."""


class Exposure(NamedTuple):
    """What becomes of one decision; see the fields of the same names in ``PredictionRecord``."""

    is_explored: bool
    label_propensity: float


SEEN = Exposure(is_explored=False, label_propensity=1.0)
"""The decision is carried out, and its outcome will be seen."""


@dataclass(frozen=True, slots=True)
class ExplorationRule:
    """How decisions of a use case are explored.

    Attributes:
        share: of positive decisions that are not carried out; 0: every decision is.
        is_censored: a positive decision that is carried out hides the outcome.
    """

    share: float
    is_censored: bool

    @classmethod
    def of(cls, use_case: UseCase) -> "ExplorationRule":
        """The rule that a use case declares."""
        share = use_case.exploration.share if use_case.exploration else 0.0
        return cls(share, use_case.label.hidden_by == "platform")

    def exposure(self, request_id: str, is_positive: bool) -> Exposure:
        """What becomes of a decision; the same for the same request id, in every process and for ever.

        >>> rule = ExplorationRule(share=0.5, is_censored=True)
        >>> [rule.exposure(request_id, is_positive=True).is_explored for request_id in "abcd"]
        [False, True, True, False]
        >>> ExplorationRule(share=0.0, is_censored=True).exposure("a", is_positive=True)
        Exposure(is_explored=False, label_propensity=0.0)
        """
        if not is_positive:
            return SEEN
        is_explored = self.share > 0.0 and _draw(request_id) < self.share * _HASHES
        return Exposure(is_explored, self.share if self.is_censored else 1.0)


def _draw(request_id: str) -> int:
    return int.from_bytes(blake2b(request_id.encode(), digest_size=8, person=_PURPOSE).digest())
