"""Evidently's report of a window, for people; its failure changes no verdict.

Upstream: ``served``, the verdict it illustrates. Downstream: a browser, ``shadow reports``.
"""

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import pandas as pd

from shadow_platform.assets.drift.served import REPORT_ROWS, Served
from shadow_platform.contracts.tables import DRIFT_VERDICTS
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.domain.drift.references import reference_spans
from shadow_platform.partitions import SINGLE_RUN, daily_partitions, days, end_of
from shadow_platform.resources import PlatformResource

SHOWN: tuple[str, ...] = ("outcome", "headline", "evaluation_id")

if TYPE_CHECKING:
    from shadow_platform.adapters.reports import ReportResult


def build_drift_report(use_case: UseCase) -> dg.AssetsDefinition:
    """The asset ``drift_report`` of a use case."""

    @dg.asset(
        key=[use_case.name, "drift_report"],
        deps=[[use_case.name, "drift_verdict"]],
        partitions_def=daily_partitions(use_case),
        backfill_policy=SINGLE_RUN,
        group_name="drift",
        kinds={"evidently"},
        owners=[use_case.owner],
        code_version="2",
    )
    def drift_report(context: dg.AssetExecutionContext, platform: PlatformResource) -> dg.MaterializeResult:
        """Evidently's report of the last window of the run, as HTML, as JSON and in its own UI; changes no verdict.

        Grain: two files a run, and a window in the workspace that ``shadow reports`` opens. Partition: UTC day that
        ends the window; of a range only the last day is drawn.
        """
        last = days(context.partition_keys)[-1]
        served = Served(platform, use_case)
        verdict: dict[str, Any] = next(reversed(_daily_verdicts(platform, use_case, last)), {})
        path = platform.layout.reports(use_case.name) / "drift" / f"{last}.html"
        known: dict[str, str] = {name: str(verdict[name]) for name in SHOWN if name in verdict}
        frames = _reference(served, last), served.window(last)
        result = platform.drift_report(use_case, *frames, path, f"window that ends with {last}", end_of(last), known)
        if result.error:
            context.log.warning("drift report of %s: %s", last, result.error)
        if result.path is not None and verdict:
            _link(platform, use_case, last, verdict["evaluation_id"], path)
        return dg.MaterializeResult(metadata=_report_facts(last, result))

    return drift_report


def _reference(served: Served, day: date) -> pd.DataFrame:
    """What the verdict on the window compared it with."""
    spans = reference_spans(served.policy.reference, served.window_span(day))
    return served.rows(spans, REPORT_ROWS) if spans else served.reference


def _daily_verdicts(platform: PlatformResource, use_case: UseCase, day: date) -> list[dict[str, Any]]:
    """Rows of the daily verdicts on the window that ends with a day, the newest last."""
    end = end_of(day)
    rows = platform.lake().read_table(DRIFT_VERDICTS, use_case, end.date(), end_of(end.date()).date())
    rows = rows[(rows["window_end"] == end) & (rows["scope"] == "daily")].sort_values("evaluated_at")
    return [{str(name): value for name, value in row.items()} for row in rows.to_dict("records")]


def _link(platform: PlatformResource, use_case: UseCase, day: date, evaluation_id: str, path: Path) -> None:
    """Tell the verdict where its report is; its row is read anew, because it may have changed meanwhile."""
    shown = path.relative_to(platform.layout.home).as_posix()
    rows = [row for row in _daily_verdicts(platform, use_case, day) if row["evaluation_id"] == evaluation_id]
    platform.lake().append_rows(DRIFT_VERDICTS, use_case, [{**row, "report_path": shown} for row in rows])


def _report_facts(last: date, result: "ReportResult") -> Mapping[str, Any]:
    # A browser does not follow a file:// link from a page that came over HTTP, so the path is shown to be copied.
    facts: dict[str, Any] = {
        "window_ends_with": last.isoformat(),
        "skipped_columns": "; ".join(f"{name}: {reason}" for name, reason in result.skipped_columns.items()) or "none",
    }
    if result.path is not None:
        facts["html"] = dg.MetadataValue.path(str(result.path))
        facts["json"] = dg.MetadataValue.path(str(result.path.with_suffix(".json")))
        facts["summary"] = dg.MetadataValue.json(dict(result.summary))
    if result.error is not None:
        facts["error"] = result.error
    return facts
