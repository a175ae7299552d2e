"""What Evidently draws of one window; runs in a process of its own, started by the package.

Belongs here: every import of Evidently. Does not belong here: what is done with the files, or when they fail. Upstream:
two frames and a task in a folder. Downstream: HTML, JSON and a workspace of one window in the same folder.
"""

import json
import sys
from collections.abc import Callable
from datetime import datetime
from inspect import signature
from pathlib import Path
from typing import Any

import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.presets import DataDriftPreset
from evidently.presets.dataset_stats import DatasetStats, ValueStats
from evidently.sdk.models import DashboardPanelPlot, PanelMetric, ProjectModel
from evidently.sdk.panels import line_plot_panel
from evidently.tests import lte
from evidently.ui.workspace import Workspace

from shadow_platform.adapters.reports import CURRENT, HTML, JSON, REFERENCE, TASK, WORKSPACE

# Evidently's two-sample chi-square takes the reference as known; the methods below depend on no sample size.
NUMERIC_METHOD, CATEGORICAL_METHOD = "wasserstein", "jensenshannon"
MAX_MISSING_INCREASE = 0.01


def draw(folder: Path) -> None:
    """Write the report of the two frames in ``folder`` as HTML, as JSON and, if asked for, as a workspace."""
    task = json.loads((folder / TASK).read_text(encoding="utf-8"))
    reference, current = (pd.read_parquet(folder / file) for file in (REFERENCE, CURRENT))
    definition = DataDefinition(numerical_columns=task["numeric"], categorical_columns=task["categorical"])
    before, after = (Dataset.from_pandas(frame, data_definition=definition) for frame in (reference, current))
    run = task["run"]
    known = {}
    if run is not None:
        known = {"timestamp": datetime.fromisoformat(run["at"]), "name": run["name"], "metadata": run["metadata"]}
    snapshot = _report(reference, len(current)).run(after, before, **known)
    snapshot.save_html(str(folder / HTML))
    snapshot.save_json(str(folder / JSON))
    if run is not None:
        _save_workspace(folder / WORKSPACE, run, snapshot)


def _report(reference: pd.DataFrame, n_current: int) -> Any:
    """Drift of every column and a summary of both samples.

    Tests: drift, and missing values, among them values of another type. Evidently's other default tests hold minimum,
    maximum and mean to 10 % of the reference's, which fails in most windows without any drift.
    """
    limits = (reference.isna().mean() + MAX_MISSING_INCREASE) * n_current
    return Report(
        [
            DataDriftPreset(num_method=NUMERIC_METHOD, cat_method=CATEGORICAL_METHOD),
            DatasetStats(**_no_tests(DatasetStats)),
            *(
                ValueStats(name, **_no_tests(ValueStats) | {"missing_values_count_tests": [lte(int(limit))]})
                for name, limit in limits.items()
            ),
        ],
        include_tests=True,
    )


def _no_tests(of: Callable[..., Any]) -> dict[str, Any]:
    """Arguments that switch every default test off (``include_tests=False`` makes its rendering fail: KeyError)."""
    return {name: [] for name in signature(of).parameters if name.endswith("_tests") and name != "include_tests"}


def _save_workspace(path: Path, run: dict[str, Any], snapshot: Any) -> None:
    workspace = Workspace(str(path))
    project = workspace.add_project(ProjectModel(id=run["project_id"], name=run["project"]))
    for panel in _panels():
        project.dashboard.add_panel(panel)
    workspace.add_run(project.id, snapshot)


def _panels() -> list[DashboardPanelPlot]:
    def panel(title: str, metric: str) -> DashboardPanelPlot:
        values = [PanelMetric(legend="share", metric=metric, metric_labels={"value_type": "share"})]
        return line_plot_panel(title, values, size="half")

    return [
        panel("Share of drifted columns, by Evidently", "DriftedColumnsCount"),
        panel("Share of missing values", "DatasetMissingValueCount"),
    ]


if __name__ == "__main__":
    draw(Path(sys.argv[1]))
