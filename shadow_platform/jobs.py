"""The jobs a person, a sensor or a schedule starts, each a selection of one use case's assets.

Upstream: asset keys. Downstream: definitions, sensors, command line. A job adds no logic: what it selects can be
materialized asset by asset in the UI with the same result.
"""

from collections.abc import Iterable

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from shadow_platform.contracts.use_case import UseCase


def _select(use_case: UseCase, names: Iterable[str]) -> dg.AssetSelection:
    return dg.AssetSelection.assets(*(dg.AssetKey([use_case.name, name]) for name in names))


def build_ingest_job(use_case: UseCase) -> UnresolvedAssetJobDefinition:
    """Raw events of the chosen days, validated, and the feature rows they give."""
    return dg.define_asset_job(
        f"{use_case.name}_ingest",
        _select(use_case, _ingested(use_case)),
        description="Land, validate and turn into features the raw events of the chosen days.",
    )


def _ingested(use_case: UseCase) -> list[str]:
    simulated = ["simulated_drift"] if use_case.simulation else []
    return [*simulated, "raw_events", "events", "quarantined_events", *(view.name for view in use_case.views)]


def build_reopen_job(use_case: UseCase) -> UnresolvedAssetJobDefinition:
    """What late events touch; each run takes some of it, because events, views and the store have other days."""
    names = ["raw_events", "events", "quarantined_events", *(view.name for view in use_case.views), "online_features"]
    return dg.define_asset_job(
        f"{use_case.name}_reopen",
        _select(use_case, names),
        description="Make again the events, features or online rows of the days that late events touch.",
    )


def build_train_job(use_case: UseCase) -> UnresolvedAssetJobDefinition:
    """First models: train champion and challenger on one frame and put them into service."""
    return dg.define_asset_job(
        f"{use_case.name}_train",
        _select(
            use_case, ["feature_definitions", "training_frame", "champion_model", "challenger_model", "deployment"]
        ),
        description="Train champion and challenger, register them and write the deployment manifest.",
    )


def build_materialize_job(use_case: UseCase) -> UnresolvedAssetJobDefinition:
    """Online features of a window."""
    return dg.define_asset_job(
        f"{use_case.name}_materialize",
        _select(use_case, ["online_features"]),
        description="Bring the online store up to the end of a window.",
    )


def build_monitor_job(use_case: UseCase) -> UnresolvedAssetJobDefinition:
    """Tables and verdicts of the chosen days."""
    return dg.define_asset_job(
        f"{use_case.name}_monitor",
        _select(use_case, _monitored(use_case)),
        description="Turn the logs of the chosen days into tables, add the labels known, judge data quality and drift.",
    )


def _monitored(use_case: UseCase) -> list[str]:
    return [
        "predictions",
        "shadow_comparisons",
        "shadow_comparison_hourly",
        "shadow_results",
        "proxy_metrics",
        "labels",
        "quarantined_labels",
        "data_quality",
        *(["feature_parity"] if use_case.views or use_case.derivations else []),
        "drift_verdict",
        "drift_report",
        "warehouse",
    ]


def build_daily_job(use_case: UseCase) -> UnresolvedAssetJobDefinition:
    """The loop of a day that is over, in the order of the assets: what ingest, materialize and monitor make of it.

    Where a blocking check keeps the events of the day from becoming features and labels, the answers of the day still
    become tables and a drift verdict, and the run fails.
    """
    online = ["online_features"] if use_case.views else []
    return dg.define_asset_job(
        f"{use_case.name}_daily",
        _select(use_case, [*_ingested(use_case), *online, *_monitored(use_case)]),
        description="Events, features, tables, labels and verdicts of a day that is over.",
    )


def build_monitor_live_job(use_case: UseCase) -> UnresolvedAssetJobDefinition:
    """Verdict on the hours that ended just now; the days they touch may include the one that is not over yet."""
    return dg.define_asset_job(
        f"{use_case.name}_monitor_live",
        _select(use_case, ["predictions", "drift_profiles", "live_drift_verdict", "warehouse"]),
        description="Bring the predictions of the chosen days up to date and judge the drift of the last hours.",
    )


def build_label_job(use_case: UseCase) -> UnresolvedAssetJobDefinition:
    """Labels of the chosen days alone, for requests whose truth comes later."""
    return dg.define_asset_job(
        f"{use_case.name}_label",
        _select(use_case, ["labels", "quarantined_labels", "warehouse"]),
        description="Add the labels that became known on the chosen days.",
    )


def build_retrain_job(use_case: UseCase) -> UnresolvedAssetJobDefinition:
    """New challenger: train if there is reason to, register, put it into the shadow, replay the logged period."""
    return dg.define_asset_job(
        f"{use_case.name}_retrain",
        _select(
            use_case,
            ["retraining_request", "training_frame", "challenger_model", "deployment", "challenger_replay"],
        ),
        description="Train a new challenger on what was known at a time and let it score the logged period.",
    )


def build_compare_job(use_case: UseCase) -> UnresolvedAssetJobDefinition:
    """Comparisons of the chosen days alone, for after a replay."""
    return dg.define_asset_job(
        f"{use_case.name}_compare",
        _select(use_case, ["shadow_comparisons", "shadow_comparison_hourly", "shadow_results"]),
        description="Bring the comparisons of the chosen days up to date, after a replay.",
    )


def build_decide_job(use_case: UseCase) -> UnresolvedAssetJobDefinition:
    """Judge the challengers on matured labels and act on the verdict."""
    fairness = ["fairness_groups"] if use_case.fairness else []
    performance = ["performance_daily", "performance_verdict", "performance_timeline"]
    decision = ["a_a_run", "gate_decision", "gate_reviews", "promotion", "rollout_steps", "model_transitions"]
    return dg.define_asset_job(
        f"{use_case.name}_decide",
        _select(use_case, [*performance, *fairness, *decision, "warehouse"]),
        description="Judge champion and challengers on matured labels; promote only on evidence.",
    )


def build_promote_job(use_case: UseCase) -> UnresolvedAssetJobDefinition:
    """Carry on what the gate decided, without judging anew."""
    return dg.define_asset_job(
        f"{use_case.name}_promote",
        _select(use_case, ["promotion", "rollout_steps", "model_transitions", "warehouse"]),
        description="Take the steps of a rollout that are due; bring registry and deployment in line.",
    )


def build_jobs(use_case: UseCase) -> dict[str, UnresolvedAssetJobDefinition]:
    """Every job of one use case, by its name without the use case."""
    jobs = [
        build_ingest_job(use_case),
        build_reopen_job(use_case),
        build_train_job(use_case),
        build_materialize_job(use_case),
        build_monitor_job(use_case),
        build_daily_job(use_case),
        build_monitor_live_job(use_case),
        build_label_job(use_case),
        build_retrain_job(use_case),
        build_compare_job(use_case),
        build_decide_job(use_case),
        build_promote_job(use_case),
    ]
    return {job.name.removeprefix(f"{use_case.name}_"): job for job in jobs}
