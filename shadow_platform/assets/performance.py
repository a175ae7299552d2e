"""Performance stage: how well champion and challengers did each day, on matured labels and without.

Upstream: predictions, shadow_comparisons, labels, bundles. Downstream: warehouse.
"""

from datetime import datetime

import dagster as dg
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from shadow_platform.contracts.errors import ShadowPlatformError
from shadow_platform.contracts.tables import LABELS, PERFORMANCE_DAILY, SHADOW_COMPARISONS
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.domain.censoring import censor
from shadow_platform.domain.estimation import Calibrator, fit_calibrator, performance_by_day
from shadow_platform.domain.labels import LABEL_KEY, matured_cohort
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


def build_performance_assets(use_case: UseCase) -> list[dg.AssetsDefinition]:
    """Assets of the performance stage."""

    @dg.asset(
        key=[use_case.name, "performance_daily"],
        deps=[[use_case.name, name] for name in ("predictions", "shadow_comparisons", "labels")],
        group_name="performance",
        kinds={"scikitlearn", "parquet"},
        owners=[use_case.owner],
        code_version="2",
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
            as_of = labels_known_until(platform.lake().table_days(LABELS, use_case), moment(config.as_of))
            judged = _judged(platform, use_case, as_of, config.first_day)
            parts, uncalibrated = [], []
            for (role, version), cohort in judged.groupby(["role", "model_version"]):
                calibrator = calibrator_of(platform, use_case, str(version))
                if calibrator is None:
                    uncalibrated.append(str(version))
                parts.append(performance_by_day(cohort, str(role), as_of, calibrator, use_case.costs))
            rows = (
                pd.concat(parts, ignore_index=True)
                if parts
                else pd.DataFrame(columns=list(PERFORMANCE_DAILY.column_names))
            )
            platform.lake().append_rows(
                PERFORMANCE_DAILY, use_case, [{str(k): v for k, v in row.items()} for row in rows.to_dict("records")]
            )
        if uncalibrated:
            context.log.warning("nothing to calibrate %s on: scores taken as probabilities", uncalibrated)
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": len(rows),
                "labels_as_of": as_of.isoformat(),
                "latest": dg.MetadataValue.md(_latest(rows)),
            }
        )

    return [performance_daily]


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


def calibrator_of(platform: PlatformResource, use_case: UseCase, version: str) -> Calibrator | None:
    """Calibration on the rows the model was evaluated on, which it was not fitted on; ``None`` when they are gone.

    Where decisions hid some labels of these rows, the labelled count by inverse propensities; when some had no chance
    of being seen, the labelled are no sample of all, and there is no calibration either.
    """
    try:
        bundle = platform.bundle(use_case, version)
        frame = platform.lake().read_frame(use_case, bundle.manifest.fingerprints["data"])
    except (ShadowPlatformError, KeyError):
        return None
    manifest, at = bundle.manifest, frame["requested_at"]
    evaluated = frame[(at >= manifest.evaluation_start) & (at < manifest.evaluation_end)]
    propensity = _propensity(platform, use_case, evaluated)
    if (propensity <= 0).any():
        return None
    is_seen = evaluated["label"].notna()
    rows = evaluated[is_seen]
    matrix, _ = bundle.encode_frame(rows)
    return fit_calibrator(
        bundle.predict(matrix), rows["label"].to_numpy(bool), 1.0 / propensity[is_seen.to_numpy(bool)]
    )


def _propensity(platform: PlatformResource, use_case: UseCase, requests: pd.DataFrame) -> NDArray[np.float64]:
    """Chance of each request to show its outcome; 1 where this platform did not answer it."""
    if use_case.label.hidden_by != "platform" or requests.empty:
        return np.ones(len(requests))
    answers = platform.lake().read_answers(use_case, start=requests["requested_at"].min().date())
    answers = answers[[*LABEL_KEY, "prediction", "is_explored", "label_propensity"]]
    answers = answers.sort_values("label_propensity").drop_duplicates(LABEL_KEY)
    answered = requests[[*LABEL_KEY, "label"]].merge(answers, on=LABEL_KEY, how="left", validate="one_to_one")
    answered["prediction"] = answered["prediction"].astype("boolean").fillna(False)
    return censor(answered, "platform")["label_propensity"].to_numpy(np.float64)


def _latest(rows: pd.DataFrame) -> str:
    """Last day with labels of each model as a markdown table."""
    header = (
        "| day | role | version | n | labelled | hidden | estimator | ROC-AUC | log loss | its 95 % interval | F1 "
        "| cost | estimated F1, if P(y given x) is stable |\n"
    )
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
