"""A verdict as rows of tables, as facts in the UI, and as the answer of a check.

Belongs here: what is kept of a verdict, and which one it replaces. Does not belong here: how it came about
(``judging``). Upstream: ``verdict``. Downstream: drift_verdicts, drift_metrics, drift_segments, the retrain sensor.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Literal

import dagster as dg
import pandas as pd

from shadow_platform.contracts.monitoring_verdicts import DriftVerdict
from shadow_platform.contracts.tables import DRIFT_METRICS, DRIFT_SEGMENTS, DRIFT_VERDICTS
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.contracts.verdicts import Outcome
from shadow_platform.resources import PlatformResource

Scope = Literal["daily", "live"]
HISTORY = {"daily": timedelta(days=90), "live": timedelta(days=7)}


@dataclass(frozen=True, slots=True)
class Recorded:
    """A verdict that is in the tables.

    Attributes:
        replaces: evaluation of the same window, of other rows, that it takes the place of.
        outcome_before: outcome of that evaluation.
    """

    verdict: DriftVerdict
    replaces: str | None
    outcome_before: str | None

    @property
    def change(self) -> str | None:
        """How the outcome changed, in words; ``None`` when it did not."""
        if self.outcome_before in (None, self.verdict.outcome.value):
            return None
        return f"{self.outcome_before} → {self.verdict.outcome.value}"


def record(
    platform: PlatformResource, use_case: UseCase, verdict: DriftVerdict, scope: Scope, now: datetime
) -> Recorded:
    """Keep a verdict; one on the same window that came of other rows stays, and is named.

    The row of drift_verdicts is written last: where it is, metrics and segments are. A run that was killed is completed
    by the next, because the same inputs give the same evaluation.
    """
    lake = platform.lake()
    known = lake.read_table(DRIFT_VERDICTS, use_case, *_day_and_next(verdict.window_end))
    known = known[known["scope"] == scope]
    kept = known[known["evaluation_id"] == verdict.evaluation_id].to_dict("records")
    rivals = known[
        (known["window_start"] == verdict.window_start)
        & (known["window_end"] == verdict.window_end)
        & (known["reference_kind"] == verdict.reference.kind)
        & (known["reference_fingerprint"] == verdict.reference.fingerprint)
    ]
    replaces = kept[0]["replaces"] if kept else _newest(rivals)
    before = known.loc[known["evaluation_id"] == replaces, "outcome"].tolist()
    row = {
        **_verdict_row(verdict),
        "scope": scope,
        "replaces": replaces,
        "report_path": kept[0]["report_path"] if kept else None,
        "evaluated_at": now,
    }
    of_verdict = {
        "use_case": use_case.name,
        "evaluation_id": verdict.evaluation_id,
        "window_end": verdict.window_end,
    }
    segments = verdict.score_shift.segments if verdict.score_shift else ()
    lake.append_rows(DRIFT_METRICS, use_case, [{**of_verdict, **feature.model_dump()} for feature in verdict.features])
    lake.append_rows(DRIFT_SEGMENTS, use_case, [{**of_verdict, **segment.model_dump()} for segment in segments])
    lake.append_rows(DRIFT_VERDICTS, use_case, [row])
    return Recorded(verdict, replaces, next(iter(before), None))


def _newest(rows: pd.DataFrame) -> str | None:
    return None if rows.empty else str(rows.sort_values("evaluated_at")["evaluation_id"].iloc[-1])


def _day_and_next(moment: datetime) -> tuple[date, date]:
    return moment.date(), moment.date() + timedelta(days=1)


def _verdict_row(verdict: DriftVerdict) -> dict[str, Any]:
    own = {"evaluation_id", "use_case", "window_start", "window_end", "drift_score", "headline", "explanation"}
    reference, shift = verdict.reference, verdict.score_shift
    return {
        **verdict.model_dump(include=own | {"method", "max_error", "n_reference", "n_current"}),
        "reference_kind": reference.kind,
        "reference_fingerprint": reference.fingerprint,
        "reference_start": reference.start,
        "reference_end": reference.end,
        "outcome": verdict.outcome.value,
        "rules_fired": list(verdict.rules_fired),
        "findings": json.dumps([finding.model_dump() for finding in verdict.findings]),
        "score_reference": shift.mean_reference if shift else None,
        "score_current": shift.mean_current if shift else None,
    }


def history(platform: PlatformResource, use_case: UseCase, end: datetime, scope: Scope) -> pd.DataFrame:
    """The newest verdict on every window that ended within three months before ``end``, of live ones a week."""
    rows = platform.lake().read_table(DRIFT_VERDICTS, use_case, (end - HISTORY[scope]).date(), _day_and_next(end)[1])
    rows = rows[(rows["scope"] == scope) & (rows["window_end"] <= end)]
    newest = rows.sort_values("evaluated_at").drop_duplicates("window_end", keep="last")
    return newest.sort_values("window_end", ignore_index=True)


def verdict_result(check: str, recorded: Sequence[Recorded]) -> dg.AssetCheckResult:
    """Check result of the windows of a run: ERROR if any failed, WARN if the last could not be judged."""
    verdicts = [one.verdict for one in recorded]
    failed = [verdict for verdict in verdicts if verdict.outcome is Outcome.FAIL]
    shown = failed[-1] if failed else verdicts[-1]
    return dg.AssetCheckResult(
        check_name=check,
        passed=shown.outcome is Outcome.PASS,
        severity=dg.AssetCheckSeverity.ERROR if failed else dg.AssetCheckSeverity.WARN,
        description=shown.explanation,
        metadata={
            "windows": len(verdicts),
            "failed_windows": ", ".join(f"until {verdict.window_end:%Y-%m-%d %H:%M}" for verdict in failed) or "none",
        },
    )


def facts(recorded: Recorded) -> dict[str, Any]:
    """What the UI shows of a verdict, and what the retrain sensor reads."""
    verdict, shift = recorded.verdict, recorded.verdict.score_shift
    found: dict[str, Any] = {
        "outcome": verdict.outcome.value,
        "headline": verdict.headline,
        "evaluation_id": verdict.evaluation_id,
        "window_start": verdict.window_start.isoformat(),
        "window_end": verdict.window_end.isoformat(),
        "compared_with": _reference_words(verdict),
        "method": f"{verdict.method}, error of a KS distance at most {verdict.max_error:.4f}",
        "rules_fired": ", ".join(verdict.rules_fired) or "none",
        "explanation": dg.MetadataValue.md(verdict.explanation),
        "dagster/row_count": verdict.n_current,
        "features": dg.MetadataValue.md(_feature_table(verdict)),
    }
    if verdict.drift_score is not None:
        found["drift_score"] = verdict.drift_score
    if shift is not None and shift.segments:
        found["segments"] = dg.MetadataValue.md(_segment_table(verdict))
    if recorded.replaces:
        found["replaces"] = recorded.replaces
    if recorded.change:
        found["outcome_changed"] = recorded.change
    return found


def _reference_words(verdict: DriftVerdict) -> str:
    reference = verdict.reference
    if reference.start is None or reference.end is None:
        return f"frozen reference of bundle {reference.fingerprint}"
    return f"{reference.kind}: requests from {reference.start:%Y-%m-%d %H:%M} to {reference.end:%Y-%m-%d %H:%M} UTC"


def _feature_table(verdict: DriftVerdict) -> str:
    head = "| feature | test | distance | p | design effect | nulls | moved the score by | drifted |"
    return "\n".join(
        [
            head,
            "|---" * 8 + "|",
            *(
                f"| {row.feature} | {row.test} | {_number(row.statistic, '.4f')} | {_number(row.p_value, '.1e')} | "
                f"{row.design_effect:.1f} | "
                f"{_number(row.null_rate_reference, '.1%')} → {_number(row.null_rate_current, '.1%')} | "
                f"{_number(row.score_contribution, '+.4f')} | "
                f"{'yes' if row.is_drifted else 'no'}{'' if row.is_monitored else ' (not monitored)'} |"
                for row in verdict.features
            ),
        ]
    )


def _segment_table(verdict: DriftVerdict, at_most: int = 12) -> str:
    """The levels with the largest parts of the shift."""
    segments = verdict.score_shift.segments if verdict.score_shift else ()
    largest = sorted(segments, key=lambda row: -abs(row.contribution))[:at_most]
    return "\n".join(
        [
            "| segment | share | mean score | part of the shift |",
            "|---" * 4 + "|",
            *(
                f"| {row.feature}={row.level} | {row.share_reference:.1%} → {row.share_current:.1%} | "
                f"{_number(row.score_reference, '.3f')} → {_number(row.score_current, '.3f')} | "
                f"{row.contribution:+.4f} |"
                for row in largest
            ),
        ]
    )


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)
