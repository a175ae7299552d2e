"""Failing evaluations behind a cursor, from the materializations of verdict assets.

Belongs here: reading every one of them once, however many a backfill made. Does not belong here: what follows from a
failure. Upstream: drift and performance verdicts. Downstream: the retrain sensors.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from shadow_platform.automation.requests import TrainingRequest
from shadow_platform.contracts.verdicts import Outcome
from shadow_platform.partitions import INSTANT, start_of

PAGE = 200


@dataclass(slots=True)
class Cursor:
    """Where a sensor stands.

    Attributes:
        after: asset -> storage id of the last materialization dealt with; ``*`` stands for every asset not named.
        recorded_run: newest run that stands in pipeline_runs.
    """

    after: dict[str, int] = field(default_factory=dict)
    recorded_run: str | None = None

    @classmethod
    def parse(cls, text: str | None) -> "Cursor":
        """Cursor of a text; anything unreadable starts from the beginning, which run keys make harmless.

        >>> Cursor.parse("17"), Cursor.parse("no cursor").after
        (Cursor(after={'*': 17}, recorded_run=None), {})
        """
        try:
            value = json.loads(text or "{}")
        except ValueError:
            return cls()
        value = value if isinstance(value, dict) else {"after": value}
        after, recorded = value.get("after"), value.get("recorded_run")
        after = after if isinstance(after, dict) else {"*": after}
        return cls(
            {name: at for name, at in after.items() if type(at) is int and at > 0},
            recorded if isinstance(recorded, str) else None,
        )

    def of(self, asset: str) -> int:
        """Storage id of an asset's last materialization dealt with; 0: none."""
        return self.after.get(asset, self.after.get("*", 0))

    def text(self) -> str:
        """The cursor as Dagster stores it."""
        return json.dumps({"after": self.after, "recorded_run": self.recorded_run})


@dataclass(frozen=True, slots=True)
class Pending:
    """What is behind a cursor.

    Attributes:
        requests: those of failing evaluations, in order of what a training must know; of a window, the newest.
        withdrawn: requests of failing evaluations whose window passed or failed since, on other data; an evaluation
            without enough evidence takes none back.
        seen: asset -> storage id up to which was read.
    """

    requests: list[TrainingRequest]
    withdrawn: list[TrainingRequest]
    seen: dict[str, int]


def read_pending(
    instance: dg.DagsterInstance, use_case: str, trigger: str, assets: Sequence[str], cursor: Cursor
) -> Pending:
    """Everything behind the cursor.

    Every asset has a position of its own: between two reads the other one may have been materialized.
    """
    failed: dict[tuple[str, Any], TrainingRequest] = {}
    withdrawn: dict[str, TrainingRequest] = {}
    seen = {asset: cursor.of(asset) for asset in assets}
    for asset in assets:
        for record in _materializations(instance, dg.AssetKey([use_case, asset]), seen[asset]):
            seen[asset] = max(seen[asset], record.storage_id)
            facts = _facts(record)
            if facts.get("outcome") == Outcome.INSUFFICIENT.value:
                continue
            window = asset, facts.get("window_end", record.storage_id)
            before = failed.pop(window, None)
            if before is not None:
                withdrawn[before.trigger_id] = before
            if facts.get("outcome") == Outcome.FAIL.value:
                failed[window] = request = _request(record, facts, trigger)
                withdrawn.pop(request.trigger_id, None)
    failures = sorted(failed.values(), key=lambda request: (request.as_of, request.considered_at))
    return Pending(failures, list(withdrawn.values()), {**cursor.after, **seen})


def _materializations(instance: dg.DagsterInstance, key: dg.AssetKey, after: int) -> list[dg.EventLogRecord]:
    """All materializations of an asset behind a storage id: ``@asset_sensor`` shows only the latest of a backfill."""
    found: list[dg.EventLogRecord] = []
    while True:
        page = instance.fetch_materializations(
            dg.AssetRecordsFilter(asset_key=key, after_storage_id=after), limit=PAGE, ascending=True
        ).records
        found += page
        if len(page) < PAGE:
            return found
        after = max(record.storage_id for record in page)


def _facts(record: dg.EventLogRecord) -> dict[str, Any]:
    materialization = record.asset_materialization
    return {name: value.value for name, value in materialization.metadata.items()} if materialization else {}


def _request(record: dg.EventLogRecord, facts: Mapping[str, Any], trigger: str) -> TrainingRequest:
    materialized_at = datetime.fromtimestamp(record.timestamp, UTC)
    return TrainingRequest(
        trigger=trigger,
        trigger_id=str(facts.get("evaluation_id") or f"storage-{record.storage_id}"),
        as_of=_last_midnight(_known_at(facts) or materialized_at),
        considered_at=materialized_at,
    )


def _known_at(facts: Mapping[str, Any]) -> datetime | None:
    """What a training must know to know what failed: the labels the verdict used, else the end of its window."""
    try:
        return datetime.fromisoformat(str(facts.get("labels_as_of") or facts.get("window_end"))).astimezone(UTC)
    except ValueError:
        return None


def _last_midnight(at: datetime) -> datetime:
    """End of the last whole day: a training needs every event of its days, and today's are not there yet.

    Labels are judged as of the last instant before a midnight, which every trigger calls that midnight.
    """
    return start_of((at + INSTANT).date())
