"""Data quality stage: whether the requests and the events of a day are whole, as a table and as asset checks.

Upstream: predictions as served, events, the champion bundle's frozen reference. Downstream: people, the warehouse.
No check blocks: the requests have been answered, so that stopping what follows would save nobody, while drift and
performance are asked for most on the very day that a check fails.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

import dagster as dg
import pandas as pd

from shadow_platform.contracts.policies.monitoring import DataQualityPolicy, QualityCheck
from shadow_platform.contracts.tables import DATA_QUALITY, PREDICTIONS
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.contracts.verdicts import Outcome
from shadow_platform.domain.quality import (
    Finding,
    RequestCounts,
    count_frame,
    judge_duplicates,
    judge_event_silence,
    judge_features,
    judge_silence,
    judge_views,
    judge_volume,
    same_weekdays_before,
)
from shadow_platform.partitions import SINGLE_RUN, daily_freshness, daily_partitions, days, end_of, start_of
from shadow_platform.resources import PlatformResource

FOUR_WEEKS = timedelta(weeks=4)
PICTURED = timedelta(days=28)
MAX_OFFENDERS = 20
_DISTINCT = "count(DISTINCT hash(subject_id, requested_at, features))"
_ASSERTIONS: dict[QualityCheck, tuple[str, str]] = {
    "missing": ("missing_values_are_usual", "Features have values as often as in the champion's reference."),
    "foreign": ("values_are_of_their_kind", "Every record names every feature, and numbers are numbers."),
    "out_of_range": ("values_are_in_range", "Numbers lie within their declared ranges."),
    "new_category": ("categories_are_known", "The champion's reference knows the levels that come."),
    "stale": ("feature_rows_are_found", "Feature views have a row within their TTL as often as in the reference."),
    "duplicates": ("requests_are_not_repeated", "Hardly any request repeats subject, time and features of another."),
    "volume": ("request_volume_is_usual", "As many requests came as on the same weekday of the four weeks before."),
    "silence": ("requests_keep_coming", "There is no long time without a request."),
    "event_volume": ("event_volume_is_usual", "As many events of each kind came as on the same weekdays before."),
    "event_silence": ("events_keep_coming", "No kind of events stopped before the day ended."),
}


def build_quality_assets(use_case: UseCase) -> list[dg.AssetsDefinition]:
    """Assets of the data quality stage."""
    return [_data_quality(use_case)]


def _data_quality(use_case: UseCase) -> dg.AssetsDefinition:
    key = dg.AssetKey([use_case.name, "data_quality"])
    earlier = dg.TimeWindowPartitionMapping(
        start_offset=-FOUR_WEEKS.days, end_offset=0, allow_nonexistent_upstream_partitions=True
    )

    @dg.asset(
        key=key,
        deps=[
            dg.AssetDep([use_case.name, "predictions"], partition_mapping=earlier),
            dg.AssetDep([use_case.name, "events"], partition_mapping=earlier),
            [use_case.name, "deployment"],
        ],
        partitions_def=daily_partitions(use_case),
        backfill_policy=SINGLE_RUN,
        group_name="quality",
        kinds={"parquet"},
        owners=[use_case.owner],
        code_version="1",
        freshness_policy=daily_freshness(use_case),
        check_specs=[
            dg.AssetCheckSpec(name, asset=key, description=f"{told} Blocks nothing.")
            for name, told in (_ASSERTIONS[check] for check in _active(use_case))
        ],
    )
    def data_quality(context: dg.AssetExecutionContext, platform: PlatformResource) -> dg.MaterializeResult:
        """Whether the requests and events of a day are whole.

        Grain: one row a day, check and what is checked (a feature, a view, a kind of events, all requests). Key: the
        same. Partition: UTC day of the requests, and of receipt of the events; a day judged again replaces its rows.
        """
        lake, chosen = platform.lake(), days(context.partition_keys)
        inspection = Inspection(platform, use_case, chosen)
        by_day = {day: inspection.findings(day) for day in chosen}
        for day, findings in by_day.items():
            lake.write_table(DATA_QUALITY, use_case, day, _rows(use_case, day, findings, platform.now()))
            context.add_asset_metadata(_facts(findings), asset_key=key, partition_key=day.isoformat())
        last = chosen[-1]
        kept = lake.read_table(DATA_QUALITY, use_case, end_of(last).date() - PICTURED, end_of(last).date())
        picture = platform.pictures().missing_values(kept, f"{use_case.title}: missing values until {last}")
        context.add_asset_metadata({"plot": dg.MetadataValue.md(picture)}, asset_key=key, partition_key=str(last))
        results = [_check_result(use_case.data_quality, check, by_day) for check in _active(use_case)]
        return dg.MaterializeResult(check_results=results)

    return data_quality


def _active(use_case: UseCase) -> list[QualityCheck]:
    """Checks that the policy asks for and that have something to look at."""
    policy, features = use_case.data_quality, use_case.features
    has_volume = (policy.min_volume_ratio, policy.max_volume_ratio) != (None, None)
    is_asked: dict[QualityCheck, bool] = {
        "missing": policy.max_missing_increase is not None,
        "foreign": policy.max_foreign is not None,
        "out_of_range": policy.max_out_of_range is not None
        and any(f.kind == "numeric" and (f.low, f.high) != (None, None) for f in features),
        "new_category": policy.max_new_category_share is not None and any(f.kind == "categorical" for f in features),
        "stale": policy.max_stale_increase is not None and bool(use_case.views),
        "duplicates": policy.max_duplicate_share is not None,
        "volume": has_volume,
        "silence": policy.max_silence is not None,
        "event_volume": has_volume,
        "event_silence": policy.silence_alpha is not None,
    }
    return [check for check in _ASSERTIONS if is_asked[check]]


class Inspection:
    """What is compared with what, for all days of a run; what days share is read once."""

    def __init__(self, platform: PlatformResource, use_case: UseCase, of_days: Sequence[date]) -> None:
        self._lake, self._use_case, self._policy = platform.lake(), use_case, use_case.data_quality
        self._first, self._end = of_days[0] - FOUR_WEEKS, end_of(of_days[-1]).date()
        self._reference = self._count_reference(platform)
        self._requests = self._requests_by_day("count(*)", self._first)
        self._distinct = self._requests_by_day(_DISTINCT, of_days[0])
        self._events = {kind.name: self._events_by_hour(kind.name) for kind in use_case.events}

    def findings(self, day: date) -> list[Finding]:
        """What every check found on a day."""
        return [*self._of_requests(day), *self._of_events(day)]

    def _of_requests(self, day: date) -> list[Finding]:
        use_case, policy, counts = self._use_case, self._policy, self._counts(pd.DataFrame())
        for batch in self._lake.request_batches(use_case, start_of(day), end_of(day)):
            counts += self._counts(batch)
        earlier = [self._requests.get(before, 0) for before in same_weekdays_before(day)]
        return [
            *judge_features(use_case.features, counts, self._reference, policy),
            *judge_views(use_case.views, counts, self._reference, policy),
            *judge_duplicates(counts.n, self._distinct.get(day, 0), policy),
            *judge_volume("volume", "", day, counts.n, earlier, policy),
            *self._of_silence(day),
        ]

    def _of_silence(self, day: date) -> list[Finding]:
        if self._policy.max_silence is None:
            return []
        times = self._lake.read_table(PREDICTIONS, self._use_case, day, end_of(day).date(), ["requested_at"])
        return judge_silence(times["requested_at"].sort_values().tolist(), start_of(day), self._policy)

    def _of_events(self, day: date) -> list[Finding]:
        findings = []
        for kind, by_day in self._events.items():
            hours = by_day[day]
            earlier = [by_day[before] for before in same_weekdays_before(day)]
            findings += judge_volume("event_volume", kind, day, sum(hours), list(map(sum, earlier)), self._policy)
            findings += judge_event_silence(kind, day, hours, earlier, self._policy)
        return findings

    def _count_reference(self, platform: PlatformResource) -> RequestCounts | None:
        manifest = platform.manifest(self._use_case)
        if manifest is None:
            return None
        reference = platform.bundles().load(manifest.champion.bundle_hash).reference()
        return self._counts(reference)

    def _counts(self, frame: pd.DataFrame) -> RequestCounts:
        return count_frame(frame, self._use_case.features, self._use_case.derivations)

    def _requests_by_day(self, number: str, first: date) -> Mapping[date, int]:
        """Some number of the requests of each day that had any."""
        counted = self._lake.sql(
            f"SELECT CAST(requested_at AS DATE) AS day, {number} AS n FROM predictions "
            "WHERE use_case = $use_case AND requested_at >= $start AND requested_at < $end GROUP BY ALL",
            {"use_case": self._use_case.name, "start": start_of(first), "end": start_of(self._end)},
        )
        return {pd.Timestamp(day).date(): int(n) for day, n in zip(counted["day"], counted["n"], strict=True)}

    def _events_by_hour(self, kind: str) -> Mapping[date, list[int]]:
        counted = self._lake.events_sql(
            f"SELECT date_trunc('hour', received_at) AS hour_at, count(*) AS n FROM \"{kind}\" GROUP BY ALL",
            self._use_case,
            [event for event in self._use_case.events if event.name == kind],
            start=start_of(self._first),
            end=start_of(self._end),
        )
        hours: defaultdict[date, list[int]] = defaultdict(lambda: [0] * 24)
        for hour_at, n in zip(counted["hour_at"], counted["n"], strict=True):
            hours[hour_at.date()][hour_at.hour] = int(n)
        return hours


def _rows(use_case: UseCase, day: date, findings: Sequence[Finding], now: datetime) -> pd.DataFrame:
    rows = [
        {
            "use_case": use_case.name,
            "day_at": start_of(day),
            "check_name": finding.check,
            "checked": finding.checked,
            "outcome": finding.outcome.value,
            "severity": use_case.data_quality.severity(finding.check),
            "value": finding.value,
            "limit_value": finding.limit,
            "n": finding.n,
            "reason": finding.reason,
            "evaluated_at": now,
        }
        for finding in findings
    ]
    return pd.DataFrame(rows, columns=list(DATA_QUALITY.column_names))


def _facts(findings: Sequence[Finding]) -> dict[str, Any]:
    failed = [finding for finding in findings if finding.outcome is Outcome.FAIL]
    return {
        "dagster/row_count": len(findings),
        "failed": len(failed),
        "not_judged": sum(finding.outcome is Outcome.INSUFFICIENT for finding in findings),
        "findings": dg.MetadataValue.md("\n".join(f"- {f.check}: {f.reason}" for f in failed) or "nothing is broken"),
    }


def _check_result(
    policy: DataQualityPolicy, check: QualityCheck, by_day: Mapping[date, Sequence[Finding]]
) -> dg.AssetCheckResult:
    """Result of one check on all days of a run; what could not be judged is told, and is no alarm."""
    found = [(day, finding) for day, findings in by_day.items() for finding in findings if finding.check == check]
    failed = [(day, finding) for day, finding in found if finding.outcome is Outcome.FAIL]
    unjudged = [(day, finding) for day, finding in found if finding.outcome is Outcome.INSUFFICIENT]
    told = [f"{day}: {finding.reason}" for day, finding in failed[-1:]]
    if unjudged and not failed:
        told = [f"{len(unjudged)} of {len(found)} were not judged, the last one because: {unjudged[-1][1].reason}"]
    return dg.AssetCheckResult(
        check_name=_ASSERTIONS[check][0],
        passed=not failed,
        severity=dg.AssetCheckSeverity[policy.severity(check).upper()],
        description=told[0] if told else None,
        metadata={
            "judged": len(found) - len(unjudged),
            "not_judged": len(unjudged),
            "failed": len(failed),
            "offenders": dg.MetadataValue.md(_offenders(failed)),
        },
    )


def _offenders(failed: Sequence[tuple[date, Finding]]) -> str:
    if not failed:
        return "none"
    lines = ["| day | checked | value | limit | n | what was found |", "|---|---|---|---|---|---|"]
    for day, finding in reversed(failed[-MAX_OFFENDERS:]):
        checked, reason = _cell(finding.checked or "all requests"), _cell(finding.reason)
        lines.append(f"| {day} | {checked} | {finding.value:.4g} | {finding.limit:g} | {finding.n} | {reason} |")
    if len(failed) > MAX_OFFENDERS:
        lines.append(f"\n{len(failed) - MAX_OFFENDERS} earlier ones are in the table data_quality.")
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
