"""Gates stage: the decision on every challenger, stored with all it rests on, shown as a page, reproducible for ever.

Belongs here: what a decision is made of, as of a time (``evidence``, ``knowledge``), which comparisons there are
(``sequences``), the decision as an asset (``decision``) with its row and page (``recording``), running a stored one
again (``replaying``) and holding it against labels that were corrected since (``reviewing``). Does not belong here: the
criteria (domain.gates), acting on a decision (promotion), A/A runs. Upstream: predictions, shadow_comparisons, labels,
a_a_runs, bundles, deployment. Downstream: promotion, warehouse, alerts.
"""

import dagster as dg

from shadow_platform.assets.gates.decision import REPRODUCIBLE_CHECK, build_gate_decision
from shadow_platform.assets.gates.reviewing import build_gate_reviews
from shadow_platform.contracts.use_case import UseCase

__all__ = ["REPRODUCIBLE_CHECK", "build_gate_assets"]


def build_gate_assets(use_case: UseCase) -> list[dg.AssetsDefinition]:
    """Assets of the gates stage."""
    return [build_gate_decision(use_case), build_gate_reviews(use_case)]
