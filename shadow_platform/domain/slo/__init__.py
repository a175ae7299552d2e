"""Service level objectives: what counts as a call of which model, and whether recent calls breach what was promised.

Belongs here: ``calls`` (which call a logged prediction stands for), ``evidence`` (what is kept of a canary's step),
``judging`` (the verdict on one window). Does not belong here: which time is looked at (``bento.slo_window``, a
rollout's step), what follows from a breach (``bento.guard``, ``adapters.deployment``). Pure. Upstream: prediction log,
log of failures. Downstream: the guard, ``shadow canary status``, rollouts.
"""

from shadow_platform.domain.slo.calls import Call, CallCounter
from shadow_platform.domain.slo.evidence import EvidenceTaker, latencies_of, most_calls
from shadow_platform.domain.slo.judging import ALPHA, Objectives, SloVerdict, halting_reason, judge

__all__ = [
    "ALPHA",
    "Call",
    "CallCounter",
    "EvidenceTaker",
    "Objectives",
    "SloVerdict",
    "halting_reason",
    "judge",
    "latencies_of",
    "most_calls",
]
