"""The performance verdict: whether the champion answers worse than it was evaluated, on matured labels alone.

Upstream: performance_daily, the champion's bundle and training frame. Downstream: performance_verdicts, the retrain
sensor.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pandas as pd

from shadow_platform.assets.performance.evaluated import calibrator_of, evaluated_rows
from shadow_platform.contracts.monitoring_verdicts import PerformanceVerdict
from shadow_platform.contracts.tables import PERFORMANCE_DAILY, PERFORMANCE_VERDICTS
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.contracts.verdicts import Outcome
from shadow_platform.domain.estimation import PerformanceInputs, judge_performance, performance_by_day
from shadow_platform.partitions import INSTANT, moment, start_of
from shadow_platform.resources import PlatformResource

VERDICT_CHECK = "performance_verdict_passes"
DAY = timedelta(days=1)


class VerdictConfig(dg.Config):
    """When to judge.

    Attributes:
        as_of: ISO 8601 time; performance_daily must have been made as of then where it is earlier than what stands
            there. Default: now.
    """

    as_of: str | None = None


def build_performance_verdict(use_case: UseCase) -> dg.AssetsDefinition:
    """The asset ``performance_verdict`` of a use case."""
    key = dg.AssetKey([use_case.name, "performance_verdict"])

    @dg.asset(
        key=key,
        deps=[[use_case.name, "performance_daily"], [use_case.name, "deployment"]],
        group_name="performance",
        kinds={"scipy", "parquet"},
        owners=[use_case.owner],
        code_version="1",
        check_specs=[
            dg.AssetCheckSpec(
                VERDICT_CHECK,
                asset=key,
                description="The champion's log loss on matured labels is no worse than on its evaluation rows. A "
                "warning means: not enough evidence. Blocks nothing: the sensor starts a retraining.",
            )
        ],
    )
    def performance_verdict(
        context: dg.AssetExecutionContext, config: VerdictConfig, platform: PlatformResource
    ) -> dg.MaterializeResult:
        """Whether the champion answers worse than on the rows it was evaluated on: the one verdict that sees P(y|x).

        Grain: one evaluation, of the policy's window that ends where cohorts have matured; a row in
        performance_verdicts. Key: evaluation_id, the fingerprint of the inputs. Not partitioned.
        """
        judged = _Judged.read(platform, use_case, moment(config.as_of, platform.now()))
        verdict = judge_performance(judged.inputs(platform, use_case))
        row = _row(verdict, _replaced(platform, use_case, verdict), platform.now())
        platform.lake().append_rows(PERFORMANCE_VERDICTS, use_case, [row])
        context.log.info("%s: %s", verdict.outcome, verdict.explanation)
        return dg.MaterializeResult(metadata=_facts(verdict), check_results=[verdict_result(verdict)])

    return performance_verdict


@dataclass(frozen=True, slots=True)
class _Judged:
    """The champion's days of ``performance_daily`` that were known at a time, and the window matured by then."""

    version: str
    rows: pd.DataFrame
    labels_as_of: datetime
    window_start: datetime
    window_end: datetime

    @classmethod
    def read(cls, platform: PlatformResource, use_case: UseCase, as_of: datetime) -> "_Judged":
        version = platform.require_manifest(use_case, "no champion to judge").champion.version
        rows = platform.lake().read_table(PERFORMANCE_DAILY, use_case)
        own, is_known = rows["model_version"].eq(version), rows["labels_as_of"] <= as_of
        _refuse_days_replaced_since(rows[own & ~is_known], use_case, as_of)
        known_until: datetime = rows.loc[is_known, "labels_as_of"].max().to_pydatetime() if is_known.any() else as_of
        end = _matured_until(use_case, known_until)
        return cls(version, rows[own & is_known], known_until, end - use_case.performance.window, end)

    def inputs(self, platform: PlatformResource, use_case: UseCase) -> PerformanceInputs:
        """Days of the champion, as champion or before in the shadow, that its training has not seen."""
        reference, unseen_from = None, self.window_start
        evaluated = evaluated_rows(platform, use_case, self.version)
        if evaluated is not None:
            unseen_from = max(unseen_from, evaluated.ended_at)
            reference = performance_by_day(evaluated.cohort, "champion", self.labels_as_of, calibrator_of(evaluated))
        is_matured = self.rows["labels_as_of"] + INSTANT >= self.rows["day_at"] + DAY + use_case.label.horizon
        in_window = (self.rows["day_at"] >= unseen_from) & (self.rows["day_at"] < self.window_end)
        return PerformanceInputs(
            use_case=use_case.name,
            model_version=self.version,
            policy=use_case.performance,
            reference=reference,
            current=self.rows[is_matured & in_window],
            window_start=self.window_start,
            window_end=self.window_end,
            labels_as_of=self.labels_as_of,
        )


def _matured_until(use_case: UseCase, known_until: datetime) -> datetime:
    return start_of((known_until + INSTANT - use_case.label.horizon).astimezone(UTC).date())


def _refuse_days_replaced_since(later: pd.DataFrame, use_case: UseCase, as_of: datetime) -> None:
    """A window without the days that were made again with later labels would be no evidence, where there was some."""
    end = _matured_until(use_case, as_of)
    days = later["day_at"]
    n_replaced = int(((days >= end - use_case.performance.window) & (days < end)).sum())
    if n_replaced:
        raise dg.Failure(
            f"{n_replaced} days of performance_daily that had matured by {as_of.isoformat()} rest on labels known "
            "later; materialize performance_daily with this as_of first, or judge without as_of",
            allow_retries=False,
        )


def _replaced(platform: PlatformResource, use_case: UseCase, verdict: PerformanceVerdict) -> str | None:
    """The newest other evaluation of the same version and window; of one that is repeated, the one it replaced."""
    day = verdict.window_end.date()
    rows = platform.lake().read_table(PERFORMANCE_VERDICTS, use_case, day, day + DAY)
    is_same = (
        rows["model_version"].eq(verdict.model_version)
        & rows["window_start"].eq(verdict.window_start)
        & rows["window_end"].eq(verdict.window_end)
    )
    rows = rows[is_same].sort_values("evaluated_at")
    own = rows[rows["evaluation_id"].eq(verdict.evaluation_id)]
    found = own["replaces"] if len(own) else rows["evaluation_id"]
    last = found.tail(1).dropna()
    return str(last.iloc[0]) if len(last) else None


def _row(verdict: PerformanceVerdict, replaces: str | None, now: datetime) -> dict[str, Any]:
    facts = verdict.model_dump() | {"outcome": verdict.outcome.value}
    return facts | {"replaces": replaces, "evaluated_at": now}


def _facts(verdict: PerformanceVerdict) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "outcome": verdict.outcome.value,
        "evaluation_id": verdict.evaluation_id,
        "model_version": verdict.model_version,
        "window_start": verdict.window_start.isoformat(),
        "window_end": verdict.window_end.isoformat(),
        "labels_as_of": verdict.labels_as_of.isoformat(),
        "explanation": dg.MetadataValue.md(verdict.explanation),
        "dagster/row_count": verdict.n_current,
    }
    numbers = verdict.model_dump(include={"log_loss_reference", "log_loss_current", "increase", "p_value"})
    return facts | {name: value for name, value in numbers.items() if value is not None}


def verdict_result(verdict: PerformanceVerdict) -> dg.AssetCheckResult:
    """Check result of an evaluation: ERROR if it failed, WARN if it could not be judged."""
    has_failed = verdict.outcome is Outcome.FAIL
    return dg.AssetCheckResult(
        check_name=VERDICT_CHECK,
        passed=verdict.outcome is Outcome.PASS,
        severity=dg.AssetCheckSeverity.ERROR if has_failed else dg.AssetCheckSeverity.WARN,
        description=verdict.explanation,
    )
