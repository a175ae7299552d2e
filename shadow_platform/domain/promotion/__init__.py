"""Promotion stage: from a decision of the gate to the new champion, and back.

Belongs here: what follows from a decision (``planning``), which step of a rollout comes next (``rollout``). Pure. Does
not belong here: carrying anything out (assets.promotion, adapters.deployment). Upstream: decisions, the deployment
manifest, what a canary answered. Downstream: the assets ``deployment`` and ``promotion``, the sensor of rollouts.
"""

from shadow_platform.domain.promotion.planning import Action, Plan, in_order, next_challenger, plan
from shadow_platform.domain.promotion.rollout import (
    BACKOFF,
    GATE,
    MAX_FAILURES,
    History,
    Move,
    Seen,
    Step,
    approval_of,
    held_by,
    next_step,
    obstacle_to_begin,
    watch_ends_at,
)

__all__ = [
    "BACKOFF",
    "GATE",
    "MAX_FAILURES",
    "Action",
    "History",
    "Move",
    "Plan",
    "Seen",
    "Step",
    "approval_of",
    "held_by",
    "in_order",
    "next_challenger",
    "next_step",
    "obstacle_to_begin",
    "plan",
    "watch_ends_at",
]
