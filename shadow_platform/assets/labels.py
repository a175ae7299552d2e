"""Labels stage: ground truth on the day it became known, from events and from imported files.

Upstream: events, the requests that were answered, label imports. Downstream: performance_daily, gate_decision.
"""

from dataclasses import replace
from datetime import datetime, timedelta

import dagster as dg
import pandas as pd

from shadow_platform.contracts.tables import LABELS, PREDICTIONS, QUARANTINED_LABELS
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.domain.labels import CombinedLabels, known_on, requests_to_label, without_label
from shadow_platform.partitions import SINGLE_RUN, daily_partitions, days, end_of, start_of
from shadow_platform.resources import PlatformResource

LABELLED_CHECK = "answered_requests_get_labels"
# A lender may reject a good part of the applications; that most answers have no label is no decision but a wrong join.
MAX_UNLABELLED_SHARE = 0.5


def build_label_assets(use_case: UseCase) -> list[dg.AssetsDefinition]:
    """Assets of the labels stage."""
    return [_labels(use_case), _quarantined_labels(use_case)]


def _labels(use_case: UseCase) -> dg.AssetsDefinition:
    reach = -(-use_case.label.horizon // timedelta(days=1))
    earlier_days = dg.TimeWindowPartitionMapping(start_offset=-reach, allow_nonexistent_upstream_partitions=True)

    key = dg.AssetKey([use_case.name, "labels"])

    @dg.asset(
        key=key,
        deps=[
            dg.AssetDep([use_case.name, "events"], partition_mapping=earlier_days),
            dg.AssetDep([use_case.name, "predictions"], partition_mapping=earlier_days),
        ],
        partitions_def=daily_partitions(use_case),
        backfill_policy=SINGLE_RUN,
        group_name="labels",
        kinds={"duckdb", "parquet"},
        owners=[use_case.owner],
        code_version="3",
        check_specs=[
            dg.AssetCheckSpec(
                LABELLED_CHECK,
                asset=key,
                description=f"At most {MAX_UNLABELLED_SHARE:.0%} of the answers that matured on these days, and whose "
                "outcome the platform did not hide, have no label.",
            )
        ],
    )
    def labels(context: dg.AssetExecutionContext, platform: PlatformResource) -> dg.MaterializeResult:
        """Truth about requests, with when it became true and when it became known.

        Grain: one row a label that became known; a correction is a further row. Key: subject_id, requested_at,
        known_at. Partition: UTC day of known_at. A label that a decision hid is left out, and counted as censored.
        """
        lake, horizon, of_days = platform.lake(), use_case.label.horizon, days(context.partition_keys)
        oldest = start_of(of_days[0]) - horizon
        platform.require_events(use_case, max(use_case.first_partition, oldest.date()), of_days[-1])
        requests = _requests(platform, use_case, oldest, end_of(of_days[-1]))
        counts = dict.fromkeys(("dagster/row_count", "positive", "imported", "censored", "contradicted"), 0)
        for day in of_days:
            start, end = start_of(day), end_of(day)
            is_open = (requests["requested_at"] >= start - horizon) & (requests["requested_at"] < end)
            found = platform.labels_of(use_case, requests[is_open], start, end)
            found = replace(found, rows=known_on(found.rows, start, end))
            lake.write_table(LABELS, use_case, day, found.rows.assign(use_case=use_case.name))
            for name, n in _counts(found).items():
                counts[name] += n
        if counts["contradicted"]:
            context.log.warning("%d imported labels contradict the events and were left out", counts["contradicted"])
        since, until = start_of(of_days[0]) - horizon, end_of(of_days[-1]) - horizon
        check = _labelled(platform, use_case, since, until)
        return dg.MaterializeResult(metadata=counts, check_results=[check])

    return labels


def _labelled(platform: PlatformResource, use_case: UseCase, start: datetime, end: datetime) -> dg.AssetCheckResult:
    """Whether answers of ``[start, end)``, which have matured, are found by their labels."""
    lake, key = platform.lake(), ["subject_id", "requested_at"]
    columns = [*key, "prediction", "is_explored"] if use_case.label.hidden_by == "platform" else key
    answered = lake.read_table(PREDICTIONS, use_case, start.date(), (end + timedelta(days=1)).date(), columns)
    due = answered[(answered["requested_at"] >= start) & (answered["requested_at"] < end)]
    if use_case.label.hidden_by == "platform":
        due = due[~due["prediction"].astype(bool) | due["is_explored"].astype("boolean").fillna(False).astype(bool)]
    lost = without_label(due, lake.read_table(LABELS, use_case, start.date(), columns=key))
    return dg.AssetCheckResult(
        check_name=LABELLED_CHECK,
        passed=len(lost) <= MAX_UNLABELLED_SHARE * len(due),
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "matured_answers": len(due),
            "without_label": len(lost),
            "for_example": [
                f"{row['subject_id']} at {row['requested_at'].isoformat()}" for _, row in lost.head(3).iterrows()
            ],
        },
    )


def _counts(found: CombinedLabels) -> dict[str, int]:
    return {
        "dagster/row_count": len(found.rows),
        "positive": int(found.rows["label"].sum()),
        "imported": found.n_imported,
        "censored": found.n_censored,
        "contradicted": found.n_contradicted,
    }


def _requests(platform: PlatformResource, use_case: UseCase, start: datetime, end: datetime) -> pd.DataFrame:
    """Requests whose label may become known: those the events tell of, and those that were answered."""
    lake = platform.lake()
    window = {"start": start, "end": end}
    spine = lake.events_sql(use_case.requests_sql, use_case, use_case.events, window, end=end)
    until = (end + timedelta(days=1)).date()
    answered = lake.read_table(PREDICTIONS, use_case, start.date(), until, ["subject_id", "requested_at", "context"])
    return requests_to_label(spine, answered, start, end, use_case.envelope)


def _totals(refused: pd.DataFrame, by: str) -> dict[str, int]:
    return {str(name): int(n) for name, n in refused.groupby(by)["n"].sum().sort_values(ascending=False).items()}


def _quarantined_labels(use_case: UseCase) -> dg.AssetsDefinition:
    @dg.asset(
        key=[use_case.name, "quarantined_labels"],
        group_name="labels",
        kinds={"parquet"},
        owners=[use_case.owner],
        code_version="1",
    )
    def quarantined_labels(platform: PlatformResource) -> dg.MaterializeResult:
        """Rows of imported label files that were refused, kept whole with the reason.

        Grain: one row a violation. Key: import_id, row, column_name. Not partitioned: a file is imported on any day,
        also after the last day of the use case.
        """
        imports = platform.lake().label_imports(use_case)
        imports.publish_refused()
        refused = imports.refused_counts()
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": int(refused["n"].sum()),
                "quarantined_rows": imports.n_refused_rows(),
                "violations_by_column": _totals(refused, "column_name"),
                "violations_by_file": _totals(refused, "file"),
                "dagster/column_schema": dg.TableSchema(
                    [dg.TableColumn(c.name, c.type, c.comment) for c in QUARANTINED_LABELS.columns]
                ),
            }
        )

    return quarantined_labels
