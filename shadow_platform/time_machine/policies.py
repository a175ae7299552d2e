"""Who retrains when, and what is believed of a challenger: the policies that are compared.

Upstream: nothing. Downstream: ``journey``.
"""

from dataclasses import dataclass
from typing import Literal

Retraining = Literal["never", "monthly", "verdict"]
Belief = Literal["newest", "evaluation", "estimate", "gate"]


@dataclass(frozen=True, slots=True)
class Policy:
    """One way to run a model in production.

    Attributes:
        retraining: ``never``; ``monthly``, in the first step of each calendar month; ``verdict``, when a drift or
            performance verdict fails and nothing restrains it.
        belief: what makes a challenger champion. ``newest``: being the newest. ``evaluation``: no higher log loss than
            the champion on the challenger's evaluation rows. ``estimate``: a lower mean log loss on the matured labels
            of at least ``GatePolicy.min_samples`` requests both have answered. ``gate``: the platform's gate.
        summary: in words.
    """

    name: str
    retraining: Retraining
    belief: Belief
    summary: str


POLICIES = {
    policy.name: policy
    for policy in (
        Policy("never", "never", "newest", "the first model for ever"),
        Policy("newest", "monthly", "newest", "a new model every month, promoted at once"),
        Policy("monthly", "monthly", "evaluation", "a new model every month, promoted when no worse offline"),
        Policy("naive", "verdict", "estimate", "retrained on verdicts, promoted when the log loss looks better"),
        Policy("ours", "verdict", "gate", "retrained on verdicts, promoted on evidence"),
    )
}
