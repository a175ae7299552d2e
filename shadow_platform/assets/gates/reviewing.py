"""Decisions that changed the champion, held against what is known of the same requests now.

Belongs here: which decisions are reviewed, and what is noted. Does not belong here: running one again (``replaying``),
what a person does about it (alerts, docs/decisions.md). Upstream: gate_decisions, labels, transitions. Downstream:
``gate_reviews``, alerts, warehouse.

A decision stands on the labels of its own time and comes out the same for ever. When labels of its requests are
corrected later, that is noted beside it: the decision record is opened again, never rewritten.
"""

from datetime import datetime, timedelta
from typing import Any

import dagster as dg

from shadow_platform.assets.gates.replaying import Rerun, StoredDecision, decisions, run_again
from shadow_platform.contracts.errors import ShadowPlatformError
from shadow_platform.contracts.tables import GATE_REVIEWS, LABELS
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.partitions import labels_known_until
from shadow_platform.resources import PlatformResource

STANDING_CHECK = "promotions_stand_on_labels_as_known_now"
UPSTREAM = ("labels", "gate_decision")


class ReviewConfig(dg.Config):
    """Which decisions are reviewed.

    Attributes:
        days: those whose change of champion is at most so old.
    """

    days: int = 90


def build_gate_reviews(use_case: UseCase) -> dg.AssetsDefinition:
    """Asset of the reviews."""
    key = dg.AssetKey([use_case.name, "gate_reviews"])

    @dg.asset(
        key=key,
        deps=[[use_case.name, name] for name in UPSTREAM],
        group_name="gates",
        kinds={"scipy", "parquet"},
        owners=[use_case.owner],
        code_version="1",
        check_specs=[
            dg.AssetCheckSpec(
                STANDING_CHECK,
                asset=key,
                description="No decision that changed the champion would be another one on the labels known now.",
            )
        ],
    )
    def gate_reviews(
        context: dg.AssetExecutionContext, config: ReviewConfig, platform: PlatformResource
    ) -> dg.MaterializeResult:
        """Decisions that changed the champion and rest on labels that were corrected since.

        Grain: one row a re-run of a stored decision that gave something else. Key: decision_id, review_id. Not
        partitioned.
        """
        reruns, unreadable = review(platform, use_case, config.days)
        for problem in unreadable:
            context.log.warning(problem)
        new = note(platform, use_case, reruns)
        for row in new:
            context.log.warning("decision %s %s: %s", row["decision_id"][:12], row["outcome"], row["reason"])
        reopened = [rerun.stored for rerun in reruns if not rerun.is_decided_alike]
        named = ", ".join(f"{d.decision_id[:12]} (version {d.challenger_version})" for d in reopened)
        return dg.MaterializeResult(
            metadata={"reviewed": len(reruns), "new": len(new), "reopened": named or "none", "unreadable": unreadable},
            check_results=[
                dg.AssetCheckResult(
                    check_name=STANDING_CHECK,
                    passed=not reopened,
                    severity=dg.AssetCheckSeverity.WARN,
                    description=f"would be decided otherwise now: {named}" if named else "every promotion stands",
                )
            ],
        )

    return gate_reviews


def review(platform: PlatformResource, use_case: UseCase, days: int) -> tuple[list[Rerun], list[str]]:
    """Decisions behind the changes of champion of the last days, run again on the labels known now.

    Returns:
        What came of each, and why some could not be run again.
    """
    acted_on = _acted_on(platform, use_case, platform.now() - timedelta(days=days))
    reruns, unreadable = [], []
    for stored in (s for s in decisions(platform, use_case) if s.decision.decision_id in acted_on):
        try:
            reruns.append(run_again(platform, use_case, stored, _labels_until(platform, use_case, stored)))
        except ShadowPlatformError as error:
            unreadable.append(f"decision {stored.decision.decision_id[:12]} cannot be run again: {error}")
    return reruns, unreadable


def note(platform: PlatformResource, use_case: UseCase, reruns: list[Rerun]) -> list[dict[str, Any]]:
    """Rows appended to ``gate_reviews``: of re-runs with other figures than stored, each noted once."""
    known = platform.lake().read_table(GATE_REVIEWS, use_case)
    noted = set(zip(known["decision_id"], known["review_id"], strict=True))
    rows = [_row(rerun, platform.now()) for rerun in reruns if not rerun.has_same_figures]
    new = [row for row in rows if (row["decision_id"], row["review_id"]) not in noted]
    platform.lake().append_rows(GATE_REVIEWS, use_case, new)
    return new


def _acted_on(platform: PlatformResource, use_case: UseCase, since: datetime) -> set[str]:
    return {
        row["evidence_id"]
        for row in platform.transitions(use_case)
        if row["alias"] == "champion" and row["evidence_id"] and datetime.fromisoformat(row["transitioned_at"]) >= since
    }


def _labels_until(platform: PlatformResource, use_case: UseCase, stored: StoredDecision) -> datetime:
    known = labels_known_until(platform.lake().table_days(LABELS, use_case), platform.now())
    return max(known, stored.decision.as_of)


def _row(rerun: Rerun, now: datetime) -> dict[str, Any]:
    stored, found = rerun.stored, rerun.found
    return {
        "use_case": stored.use_case,
        "review_id": found.decision_id,
        "decision_id": stored.decision_id,
        "outcome": "changed" if rerun.is_decided_alike else "reopened",
        "decision_now": found.decision.value,
        "changed": ", ".join(name for name in rerun.differing if name != "evidence") or "evidence",
        "reason": found.reason,
        "reviewed_at": now,
    }
