"""How well champion and challengers did each day, on matured labels and without.

Upstream: predictions, shadow_comparisons, labels, bundles. Downstream: warehouse.
"""

from datetime import datetime
from typing import Any

import dagster as dg
import pandas as pd

from shadow_platform.assets.performance.evaluated import calibrator_of, evaluated_rows
from shadow_platform.contracts.tables import LABELS, PERFORMANCE_DAILY, SHADOW_COMPARISONS
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.domain.censoring import censor
from shadow_platform.domain.estimation import performance_by_day
from shadow_platform.domain.labels import matured_cohort
from shadow_platform.partitions import labels_known_until, moment
from shadow_platform.resources import PlatformResource


class PerformanceConfig(dg.Config):
    """When to judge.

    Attributes:
        as_of: ISO 8601 time; labels known later are not used. Default: now.
        first_day: first request day to judge, ISO date. Default: all.
    """

    as_of: str | None = None
    first_day: str | None = None


def build_performance_daily(use_case: UseCase) -> dg.AssetsDefinition:
    """The asset ``performance_daily`` of a use case."""

    @dg.asset(
        key=[use_case.name, "performance_daily"],
        deps=[[use_case.name, name] for name in ("predictions", "shadow_comparisons", "labels")],
        group_name="performance",
        kinds={"scikitlearn", "parquet"},
        owners=[use_case.owner],
        code_version="3",
    )
    def performance_daily(
        context: dg.AssetExecutionContext, config: PerformanceConfig, platform: PlatformResource
    ) -> dg.MaterializeResult:
        """Metrics of every model and request day; labels of immature cohorts are not used.

        Grain: one row a request day, model version and role. Key: the same. Not partitioned: a later as_of replaces
        a day's row. Estimated columns hold only if P(y|x) is stable. Where decisions hide labels, the realised ones are
        estimated by inverse propensities, or null when these are zero.
        """
        with platform.lake().label_imports(use_case).judged_or_imported():
            wanted = moment(config.as_of, platform.now())
            as_of = labels_known_until(platform.lake().table_days(LABELS, use_case), wanted)
            judged = _judged(platform, use_case, as_of, config.first_day)
            records: list[dict[str, Any]] = []
            uncalibrated = []
            for (role, version), cohort in judged.groupby(["role", "model_version"]):
                evaluated = evaluated_rows(platform, use_case, str(version))
                calibrator = calibrator_of(evaluated) if evaluated else None
                if evaluated is None:
                    uncalibrated.append(str(version))
                days = performance_by_day(cohort, str(role), as_of, calibrator, use_case.costs)
                records += [{str(k): v for k, v in row.items()} for row in days.to_dict("records")]
            platform.lake().append_rows(PERFORMANCE_DAILY, use_case, records)
        if uncalibrated:
            context.log.warning("nothing to calibrate %s on: scores taken as probabilities", uncalibrated)
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": len(records),
                "labels_as_of": as_of.isoformat(),
                "latest": dg.MetadataValue.md(_latest(records)),
            }
        )

    return performance_daily


def _judged(platform: PlatformResource, use_case: UseCase, as_of: datetime, first_day: str | None) -> pd.DataFrame:
    """Every answer of every model with ``role``, and what is known of its request once that has matured."""
    lake = platform.lake()
    start = datetime.fromisoformat(first_day).date() if first_day else None
    predictions = lake.read_answers(use_case, start=start)
    predictions = predictions[predictions["requested_at"] <= as_of]
    request = ["use_case", "request_id", "subject_id", "requested_at"]
    said = {
        "challenger_version": "model_version",
        "challenger_probability": "probability",
        "challenger_prediction": "prediction",
    }
    comparisons = lake.read_table(SHADOW_COMPARISONS, use_case, start, columns=[*request, "outcome", *said])
    compared = comparisons[comparisons["outcome"].eq("compared") & (comparisons["requested_at"] <= as_of)]
    # A request that a canary failed to answer is no random one.
    is_champion = predictions["variant"].eq("champion") & ~predictions["is_fallback"].fillna(False).astype(bool)
    answers = pd.concat(
        [
            predictions.loc[is_champion, [*request, *said.values()]].assign(role="champion"),
            compared[[*request, *said]].rename(columns=said).assign(role="challenger"),
        ],
        ignore_index=True,
    )
    labels = lake.read_table(LABELS, use_case, start)
    matured = matured_cohort(predictions, labels, as_of, use_case.label.horizon)
    known = censor(matured, use_case.label.hidden_by)[["request_id", "label", "is_hidden", "label_propensity"]]
    return answers.merge(known, on="request_id", how="left", validate="many_to_one")


def _latest(records: list[dict[str, Any]]) -> str:
    """Last day with labels of each model as a markdown table."""
    header = (
        "| day | role | version | n | labelled | hidden | estimator | ROC-AUC | log loss | its 95 % interval | F1 "
        "| cost | estimated F1, if P(y given x) is stable |\n"
    )
    rows = pd.DataFrame(records, columns=list(PERFORMANCE_DAILY.column_names))
    labelled = rows[rows["n_labelled"] > 0].sort_values("day_at").groupby(["role", "model_version"]).tail(1)
    lines = [
        f"| {row['day_at']:%Y-%m-%d} | {row['role']} | {row['model_version']} | {row['n']} | {row['n_labelled']} | "
        f"{row['n_censored']} | {row['estimator']} | {_number(row['roc_auc'])} | {_number(row['log_loss'])} | "
        f"{_number(row['log_loss_low'])} to {_number(row['log_loss_high'])} | {_number(row['f1'])} | "
        f"{_number(row['cost_per_request'])} | {_number(row['estimated_f1'])} |\n"
        for row in labelled.to_dict("records")
    ]
    return "".join([header, "|---" * 13, "|\n", *lines])


def _number(value: float | None) -> str:
    return "not defined" if value is None or pd.isna(value) else f"{value:.4f}"
