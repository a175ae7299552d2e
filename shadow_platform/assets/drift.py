"""Drift stage: a verdict a day on the window that ends with it, and Evidently's report for people.

Upstream: predictions as served, the champion bundle's frozen reference. Downstream: the retrain sensor, people.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd

from shadow_platform.contracts.tables import DRIFT_METRICS, DRIFT_VERDICTS, PREDICTIONS
from shadow_platform.contracts.use_case import DriftPolicy, UseCase
from shadow_platform.contracts.verdicts import DriftVerdict, FeatureDrift, Outcome
from shadow_platform.domain.drift import evaluate_drift
from shadow_platform.partitions import SINGLE_RUN, daily_partitions, days, end_of
from shadow_platform.resources import PlatformResource

VERDICT_CHECK = "drift_verdict_passes"


def build_drift_assets(use_case: UseCase) -> list[dg.AssetsDefinition]:
    """Assets of the drift stage."""
    return [_drift_verdict(use_case), _drift_report(use_case)]


def _drift_verdict(use_case: UseCase) -> dg.AssetsDefinition:
    key = dg.AssetKey([use_case.name, "drift_verdict"])

    @dg.asset(
        key=key,
        deps=[
            dg.AssetDep([use_case.name, "predictions"], partition_mapping=_window_mapping(use_case)),
            [use_case.name, "deployment"],
        ],
        partitions_def=daily_partitions(use_case),
        backfill_policy=SINGLE_RUN,
        group_name="drift",
        kinds={"scipy", "parquet"},
        owners=[use_case.owner],
        code_version="1",
        check_specs=[
            dg.AssetCheckSpec(
                VERDICT_CHECK,
                asset=key,
                description="No window of the run differs from the champion's reference. A warning means: not enough "
                "evidence. Blocks nothing: models go on answering while the sensor starts a retraining.",
            )
        ],
    )
    def drift_verdict(context: dg.AssetExecutionContext, platform: PlatformResource) -> dg.MaterializeResult:
        """Whether the requests of a window differ from what the champion was trained on.

        Grain: one evaluation a day, over the policy's window that ends with the day; rows in drift_verdicts and
        drift_metrics. Key: evaluation_id, the fingerprint of the inputs. Partition: UTC day that ends the window.
        """
        of_days = days(context.partition_keys)
        served = _Served(platform, use_case, of_days)
        lake, verdicts = platform.lake(), []
        for day in of_days:
            verdict = served.judge(day)
            lake.append_rows(DRIFT_METRICS, use_case, [_metric_row(verdict, row) for row in verdict.features])
            lake.append_rows(DRIFT_VERDICTS, use_case, [_verdict_row(verdict, datetime.now(UTC))])
            context.add_asset_metadata(_facts(verdict), asset_key=key, partition_key=day.isoformat())
            context.log.info("%s: %s", day, verdict.explanation)
            verdicts.append(verdict)
        plot = platform.drift_plot(verdicts[-1], served.policy)
        context.add_asset_metadata({"plot": dg.MetadataValue.md(plot)}, asset_key=key, partition_key=str(of_days[-1]))
        return dg.MaterializeResult(check_results=[verdict_result(verdicts)])

    return drift_verdict


def _drift_report(use_case: UseCase) -> dg.AssetsDefinition:
    @dg.asset(
        key=[use_case.name, "drift_report"],
        deps=[[use_case.name, "drift_verdict"]],
        partitions_def=daily_partitions(use_case),
        backfill_policy=SINGLE_RUN,
        group_name="drift",
        kinds={"evidently"},
        owners=[use_case.owner],
        code_version="1",
    )
    def drift_report(context: dg.AssetExecutionContext, platform: PlatformResource) -> dg.MaterializeResult:
        """Evidently's HTML report of the last window of the run, for people; its failure changes no verdict.

        Grain: one file a run. Partition: UTC day that ends the window; of a range only the last day is drawn.
        """
        last = days(context.partition_keys)[-1]
        served = _Served(platform, use_case, [last])
        window = served.window(last)
        path = platform.layout.reports(use_case.name) / "drift" / f"{last}.html"
        result = platform.drift_report(use_case, served.reference, window, path)
        if result.error:
            context.log.warning("no drift report of %s: %s", last, result.error)
        else:
            _link_report(platform, use_case, last, path)
        return dg.MaterializeResult(metadata=_report_facts(last, result.path, result.skipped_columns, result.error))

    return drift_report


def _link_report(platform: PlatformResource, use_case: UseCase, day: date, path: Path) -> None:
    """Note the report in the newest verdict row on the window."""
    end, lake = end_of(day), platform.lake()
    rows = lake.read_table(DRIFT_VERDICTS, use_case, end.date(), end_of(end.date()).date())
    newest = rows[rows["window_end"] == end].sort_values("evaluated_at").tail(1)
    relative = path.relative_to(platform.layout.home).as_posix()
    linked = newest.assign(report_path=relative).to_dict("records")
    lake.append_rows(DRIFT_VERDICTS, use_case, [{str(name): value for name, value in row.items()} for row in linked])


def _window_mapping(use_case: UseCase) -> dg.TimeWindowPartitionMapping:
    return dg.TimeWindowPartitionMapping(
        start_offset=1 - _n_days(use_case.drift), end_offset=0, allow_nonexistent_upstream_partitions=True
    )


def _n_days(policy: DriftPolicy) -> int:
    return max(1, math.ceil(policy.window.total_seconds() / 86_400))


class _Served:
    """The frozen reference and the served requests of all windows of a run, read once."""

    def __init__(self, platform: PlatformResource, use_case: UseCase, of_days: Sequence[date]) -> None:
        self.use_case = use_case
        manifest = platform.manifest(use_case)
        if manifest is None:
            raise dg.Failure(
                f"{platform.layout.manifest(use_case.name)} does not exist, so there is no champion and no reference; "
                f"run the job {use_case.name}_train first",
                allow_retries=False,
            )
        self.bundle_hash = manifest.champion.bundle_hash
        self.reference = platform.bundles().load(self.bundle_hash).reference()
        self.policy = _policy_in_force(platform, use_case)
        first = end_of(of_days[0]) - self.policy.window
        table = platform.lake().read_table(PREDICTIONS, use_case, first.date(), end_of(of_days[-1]).date())
        self.requests = served_features(table, use_case, self.bundle_hash)

    def window(self, day: date) -> pd.DataFrame:
        """Requests of the window that ends with ``day``."""
        end = end_of(day)
        times = self.requests["requested_at"]
        return self.requests[(times >= end - self.policy.window) & (times < end)]

    def judge(self, day: date) -> DriftVerdict:
        """Verdict on the window that ends with ``day``."""
        return evaluate_drift(
            self.use_case.name,
            self.use_case.features,
            self.reference,
            self.window(day),
            self.policy,
            end_of(day) - self.policy.window,
            end_of(day),
            self.bundle_hash,
        )


def _policy_in_force(platform: PlatformResource, use_case: UseCase) -> DriftPolicy:
    """The use case's policy, with ``DRIFT_THRESHOLD`` in place of its threshold if the environment sets it."""
    settings = platform.settings
    if "drift_threshold" not in settings.model_fields_set:
        return use_case.drift
    return replace(use_case.drift, drift_threshold=settings.drift_threshold)


def served_features(predictions: pd.DataFrame, use_case: UseCase, bundle_hash: str) -> pd.DataFrame:
    """One column a feature as served, ``score`` and ``requested_at``.

    The score is null where another bundle answered: scores of two models differ without any drift. A feature no
    record mentions is left out, which the schema rule notices.
    """
    records = json.loads("[" + ",".join(predictions["features"]) + "]")
    features = pd.DataFrame.from_records(records, index=predictions.index) if records else pd.DataFrame()
    known = [name for name in use_case.feature_names if name in features.columns]
    is_own = predictions["bundle_hash"] == bundle_hash
    return features[known].assign(
        score=predictions["probability"].where(is_own), requested_at=predictions["requested_at"]
    )


def verdict_result(verdicts: Sequence[DriftVerdict]) -> dg.AssetCheckResult:
    """Check result of the windows of a run: ERROR if any failed, WARN if the last could not be judged."""
    failed = [verdict for verdict in verdicts if verdict.outcome is Outcome.FAIL]
    shown = failed[-1] if failed else verdicts[-1]
    return dg.AssetCheckResult(
        check_name=VERDICT_CHECK,
        passed=shown.outcome is Outcome.PASS,
        severity=dg.AssetCheckSeverity.ERROR if failed else dg.AssetCheckSeverity.WARN,
        description=shown.explanation,
        metadata={
            "windows": len(verdicts),
            "failed_windows": ", ".join(f"until {verdict.window_end:%Y-%m-%d}" for verdict in failed) or "none",
        },
    )


def _facts(verdict: DriftVerdict) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "outcome": verdict.outcome.value,
        "evaluation_id": verdict.evaluation_id,
        "window_start": verdict.window_start.isoformat(),
        "window_end": verdict.window_end.isoformat(),
        "rules_fired": ", ".join(verdict.rules_fired) or "none",
        "explanation": dg.MetadataValue.md(verdict.explanation),
        "dagster/row_count": verdict.n_current,
        "features": dg.MetadataValue.md(_table(verdict)),
    }
    if verdict.drift_score is not None:
        facts["drift_score"] = verdict.drift_score
    return facts


def _table(verdict: DriftVerdict) -> str:
    lines = ["| feature | test | distance | p | design effect | nulls | drifted |", "|---|---|---|---|---|---|---|"]
    lines += [
        f"| {row.feature} | {row.test} | {_number(row.statistic, '.4f')} | {_number(row.p_value, '.1e')} | "
        f"{row.design_effect:.1f} | "
        f"{_number(row.null_rate_reference, '.1%')} → {_number(row.null_rate_current, '.1%')} | "
        f"{'yes' if row.is_drifted else 'no'}{'' if row.is_monitored else ' (not monitored)'} |"
        for row in verdict.features
    ]
    return "\n".join(lines)


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def _metric_row(verdict: DriftVerdict, feature: FeatureDrift) -> dict[str, Any]:
    return {
        "use_case": verdict.use_case,
        "evaluation_id": verdict.evaluation_id,
        "window_end": verdict.window_end,
        **feature.model_dump(),
    }


def _verdict_row(verdict: DriftVerdict, evaluated_at: datetime) -> dict[str, Any]:
    return {
        **verdict.model_dump(exclude={"features"}),
        "outcome": verdict.outcome.value,
        "rules_fired": list(verdict.rules_fired),
        "report_path": None,
        "evaluated_at": evaluated_at,
    }


def _report_facts(last: date, path: Path | None, skipped: dict[str, str], error: str | None) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "window_ends_with": last.isoformat(),
        "skipped_columns": "; ".join(f"{name}: {reason}" for name, reason in skipped.items()) or "none",
    }
    if path is not None:
        facts["report"] = dg.MetadataValue.url(path.as_uri())
        facts["path"] = dg.MetadataValue.path(str(path))
    if error is not None:
        facts["error"] = error
    return facts
