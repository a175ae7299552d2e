"""The page of a gate's decision, written below the home folder, and its main picture for Dagster's UI.

Upstream: ``home``, adapters, the exposition of ``domain.gates``. Downstream: ``PlatformResource``.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from shadow_platform.contracts.use_case import UseCase
from shadow_platform.contracts.verdicts import GateDecision, GateSequence
from shadow_platform.resources.home import Home

if TYPE_CHECKING:
    from shadow_platform.domain.gates.exposition import Exposition


class DecisionPages(Home):
    """Pages of decisions."""

    def write_decision_page(
        self, use_case: UseCase, decision: GateDecision, sequence: GateSequence, shown: "Exposition"
    ) -> tuple[Path, str | None]:
        """Path of the page, and markdown of the evidence picture; ``None`` when there is nothing to draw yet."""
        from shadow_platform.adapters.pages.decision import decision_html
        from shadow_platform.adapters.pictures.gates import decision_pictures
        from shadow_platform.adapters.pictures.inline import markdown_image

        floor = json.loads(sequence.policy)["max_segment_log_loss_increase"]
        pictures = decision_pictures(shown, floor)
        path = self.layout.decision_page(use_case.name, decision.decision_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(".tmp")
        beside.write_bytes(decision_html(use_case.title, decision, sequence, shown, pictures))
        beside.replace(path)
        evidence = pictures.get("evidence")
        title = f"{use_case.title}: evidence for version {decision.challenger_version}"
        return path, markdown_image(evidence, title) if evidence else None
