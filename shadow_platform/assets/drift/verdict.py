"""The drift verdicts: one a day on the window that ends with it, and one on the hours that ended just now.

Upstream: predictions, drift_profiles, the champion's bundle. Downstream: drift_verdicts, drift_metrics, drift_segments,
the retrain sensor.
"""

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import dagster as dg

from shadow_platform.assets.drift.judging import judge
from shadow_platform.assets.drift.recording import Recorded, Scope, facts, history, record, verdict_result
from shadow_platform.assets.drift.served import Served
from shadow_platform.contracts.use_case import DriftPolicy, UseCase
from shadow_platform.partitions import SINGLE_RUN, daily_partitions, days, end_of, moment
from shadow_platform.resources import PlatformResource

VERDICT_CHECK, LIVE_CHECK = "drift_verdict_passes", "live_drift_verdict_passes"


class LiveWindow(dg.Config):
    """Which hours are judged live.

    Attributes:
        end: end of the window, ISO 8601; by default the last full hour. Minutes are cut off.
    """

    end: str | None = None


def build_drift_verdict(use_case: UseCase) -> dg.AssetsDefinition:
    """The asset ``drift_verdict`` of a use case."""
    key = dg.AssetKey([use_case.name, "drift_verdict"])
    of_window = _window_mapping(use_case)

    @dg.asset(
        key=key,
        deps=[
            dg.AssetDep([use_case.name, "predictions"], partition_mapping=of_window),
            dg.AssetDep([use_case.name, "drift_profiles"], partition_mapping=of_window),
            [use_case.name, "deployment"],
        ],
        partitions_def=daily_partitions(use_case),
        backfill_policy=SINGLE_RUN,
        group_name="drift",
        kinds={"scipy", "parquet"},
        owners=[use_case.owner],
        code_version="2",
        check_specs=[
            dg.AssetCheckSpec(
                VERDICT_CHECK,
                asset=key,
                description="No window of the run differs from its reference. A warning means: not enough "
                "evidence. Blocks nothing: models go on answering while the sensor starts a retraining.",
            )
        ],
    )
    def drift_verdict(context: dg.AssetExecutionContext, platform: PlatformResource) -> dg.MaterializeResult:
        """Whether the requests of a window differ from the reference of the policy.

        Grain: one evaluation a day, over the policy's window that ends with the day; rows in drift_verdicts,
        drift_metrics and drift_segments. Key: scope and evaluation_id, the fingerprint of the inputs: a day whose
        requests changed gets a new evaluation that names the old one, which stays. Partition: UTC day that ends the
        window.
        """
        of_days = days(context.partition_keys)
        served = Served(platform, use_case)
        done: list[Recorded] = []
        for day in of_days:
            done.append(_evaluate(context, served, end_of(day), served.policy, "daily"))
            context.add_asset_metadata(facts(done[-1]), asset_key=key, partition_key=day.isoformat())
        plot = dg.MetadataValue.md(_picture(served, done[-1], served.policy, "daily"))
        context.add_asset_metadata({"plot": plot}, asset_key=key, partition_key=of_days[-1].isoformat())
        return dg.MaterializeResult(check_results=[verdict_result(VERDICT_CHECK, done)])

    return drift_verdict


def build_live_drift_verdict(use_case: UseCase) -> dg.AssetsDefinition:
    """The asset ``live_drift_verdict`` of a use case."""
    key = dg.AssetKey([use_case.name, "live_drift_verdict"])

    @dg.asset(
        key=key,
        deps=[[use_case.name, name] for name in ("predictions", "drift_profiles", "deployment")],
        group_name="drift",
        kinds={"scipy", "parquet"},
        owners=[use_case.owner],
        code_version="1",
        check_specs=[
            dg.AssetCheckSpec(
                LIVE_CHECK,
                asset=key,
                description="The last hours do not differ from their reference. A warning means: not enough evidence.",
            )
        ],
    )
    def live_drift_verdict(
        context: dg.AssetExecutionContext, platform: PlatformResource, config: LiveWindow
    ) -> dg.MaterializeResult:
        """Whether the last ``MONITORING_LOOKBACK`` hours of requests differ from the reference of the policy.

        Grain: one evaluation a closed hour, of the requests that are in predictions by then; rows as of drift_verdict,
        with scope live. Key: scope and evaluation_id. Not partitioned.
        """
        served = Served(platform, use_case)
        end = moment(config.end, platform.now()).astimezone(UTC).replace(minute=0, second=0, microsecond=0)
        lookback = timedelta(hours=platform.settings.monitoring_lookback)
        policy = replace(served.policy, window=lookback, window_rows=None)
        done = _evaluate(context, served, end, policy, "live")
        plot = dg.MetadataValue.md(_picture(served, done, policy, "live"))
        known = {**facts(done), "plot": plot, "days_after_window": _days_after(served, end)}
        return dg.MaterializeResult(metadata=known, check_results=[verdict_result(LIVE_CHECK, [done])])

    return live_drift_verdict


def _evaluate(
    context: dg.AssetExecutionContext, served: Served, end: datetime, policy: DriftPolicy, scope: Scope
) -> Recorded:
    """The window that ends with ``end``, judged and recorded."""
    with served.platform.one_blas_thread():
        verdict = judge(served, end, policy)
    done = record(served.platform, served.use_case, verdict, scope, served.platform.now())
    context.log.info("until %s: %s", end.isoformat(), done.verdict.explanation)
    if done.change:
        context.log.warning("until %s: requests changed, and the outcome with them: %s", end.isoformat(), done.change)
    return done


def _picture(served: Served, done: Recorded, policy: DriftPolicy, scope: Scope) -> str:
    before = history(served.platform, served.use_case, done.verdict.window_end, scope)
    return served.platform.pictures().drift(done.verdict, policy, before)


def _days_after(served: Served, end: datetime) -> str:
    """Days with requests behind the window: where they lie in the future, somebody's clock is wrong."""
    later = [day.isoformat() for day in served.made if day > end.date()]
    return ", ".join(later) or "none"


def _window_mapping(use_case: UseCase) -> dg.TimeWindowPartitionMapping:
    n_days = max(1, math.ceil(use_case.drift.window.total_seconds() / 86_400))
    return dg.TimeWindowPartitionMapping(
        start_offset=1 - n_days, end_offset=0, allow_nonexistent_upstream_partitions=True
    )
