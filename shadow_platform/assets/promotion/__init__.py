"""Promotion stage: which model serves, changed only by compare-and-swap and with an audit row.

Belongs here: the first deployment and what shadows it (``deployment``), what follows from decisions (``promoting``),
beginning and carrying on a rollout (``rolling``), its tables (``recording``). Does not belong here: which step comes
next (domain.promotion), how the deployment changes (adapters.deployment). Upstream: trained models, gate decisions.
Downstream: the running service and shadow worker, through the manifest.
"""

import dagster as dg

from shadow_platform.assets.promotion.deployment import build_deployment
from shadow_platform.assets.promotion.promoting import build_promotion
from shadow_platform.assets.promotion.recording import build_model_transitions, build_rollout_steps
from shadow_platform.contracts.use_case import UseCase

__all__ = ["build_promotion_assets"]


def build_promotion_assets(use_case: UseCase) -> list[dg.AssetsDefinition]:
    """Assets of the promotion stage."""
    return [
        build_deployment(use_case),
        build_promotion(use_case),
        build_model_transitions(use_case),
        build_rollout_steps(use_case),
    ]
