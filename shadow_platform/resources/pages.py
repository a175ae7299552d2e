"""Pages and pictures for people: model cards, results of the shadow, reports of drift.

Upstream: ``home``, adapters. Downstream: ``PlatformResource``.
"""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from shadow_platform.contracts.model_card import ModelCard
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.pictures import Pictures
from shadow_platform.resources.deployments import Deployments

if TYPE_CHECKING:
    import pandas as pd

    from shadow_platform.adapters.reports import ReportResult


class Pages(Deployments):
    """Pages and pictures."""

    def pictures(self) -> Pictures:
        """Pictures for people, as markdown."""
        return Pictures()

    def card_documents(self, card: ModelCard, pictures: Mapping[str, bytes]) -> dict[str, bytes]:
        """A model card as files of a bundle."""
        from shadow_platform.adapters.pages.card import card_html, card_json

        return {"card.json": card_json(card), "card.html": card_html(card, pictures)}

    def log_shadow_result(
        self, use_case: UseCase, version: str, window: str, comparisons: "pd.DataFrame", metrics: Mapping[str, float]
    ) -> str:
        """Id of the MLflow run with one challenger's comparisons of a window, their summary and plot."""
        from shadow_platform.adapters.pictures.comparison import comparison_png
        from shadow_platform.adapters.shadow_results import ShadowResult, log_shadow_result

        registry, compared = self.registry(), comparisons[comparisons["outcome"].eq("compared")]
        files = {"comparisons.parquet": comparisons.to_parquet(index=False)}
        if len(compared):
            files["comparison.png"] = comparison_png(compared, f"{use_case.title}: version {version}, {window}")
        result = ShadowResult(version, window, registry.get(use_case.name, version).run_id, metrics, files)
        return log_shadow_result(self.settings.mlflow_uri, registry.experiment(use_case.name), result)

    def drift_report(
        self,
        use_case: UseCase,
        reference: "pd.DataFrame",
        current: "pd.DataFrame",
        path: Path,
        window: str,
        end: datetime,
        known: Mapping[str, str],
    ) -> "ReportResult":
        """Evidently's report of a window, scores included, written to ``path`` unless the result says why not.

        Args:
            window: its name in Evidently's UI, which shows it at ``end`` with what is ``known``.
        """
        from shadow_platform.adapters.reports import WorkspaceRun, write_report

        kinds = {feature.name: feature.kind for feature in use_case.features}
        numeric = [name for name, kind in kinds.items() if kind == "numeric"]
        categorical = [name for name, kind in kinds.items() if kind == "categorical"]
        run = WorkspaceRun(self.layout.evidently, use_case.name, window, end, known)
        return write_report(reference, current, [*numeric, "score"], categorical, path, run=run)
