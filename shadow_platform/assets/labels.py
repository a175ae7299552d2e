"""Labels stage: ground truth, on the day it became known.

Upstream: events, the requests that were answered. Downstream: performance_daily, gate_decision.
"""

from datetime import datetime, timedelta

import dagster as dg
import pandas as pd

from shadow_platform.contracts.tables import LABELS, PREDICTIONS
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.domain.labels import known_on, requests_to_label
from shadow_platform.partitions import SINGLE_RUN, daily_partitions, days, end_of, require_days, start_of
from shadow_platform.resources import PlatformResource


def build_label_assets(use_case: UseCase) -> list[dg.AssetsDefinition]:
    """Assets of the labels stage."""
    reach = -(-use_case.label.horizon // timedelta(days=1))
    earlier_days = dg.TimeWindowPartitionMapping(start_offset=-reach, allow_nonexistent_upstream_partitions=True)

    @dg.asset(
        key=[use_case.name, "labels"],
        deps=[
            dg.AssetDep([use_case.name, "events"], partition_mapping=earlier_days),
            dg.AssetDep([use_case.name, "predictions"], partition_mapping=earlier_days),
        ],
        partitions_def=daily_partitions(use_case),
        backfill_policy=SINGLE_RUN,
        group_name="labels",
        kinds={"duckdb", "parquet"},
        owners=[use_case.owner],
        code_version="1",
    )
    def labels(context: dg.AssetExecutionContext, platform: PlatformResource) -> dg.MaterializeResult:
        """Truth about requests, with when it became true and when it became known.

        Grain: one row a label that became known; a correction is a further row. Key: subject_id, requested_at,
        known_at. Partition: UTC day of known_at.
        """
        lake, n_rows, n_positive = platform.lake(), 0, 0
        horizon, of_days = use_case.label.horizon, days(context.partition_keys)
        for kind in use_case.events:
            require_days(f"events {kind.name}", lake.event_days(use_case, kind), of_days[0], of_days[-1])
        requests = _requests(platform, use_case, start_of(of_days[0]) - horizon, end_of(of_days[-1]))
        for day in of_days:
            start, end = start_of(day), end_of(day)
            is_open = (requests["requested_at"] >= start - horizon) & (requests["requested_at"] < end)
            known = lake.events_sql(
                use_case.label.sql,
                use_case,
                use_case.events,
                {"as_of": end},
                start=start - horizon - _lookback(use_case),
                end=end,
                extra={"requests": requests[is_open]},
            )
            rows = known_on(known, start, end).assign(use_case=use_case.name)[list(LABELS.column_names)]
            n_rows += lake.write_table(LABELS, use_case, day, rows)
            n_positive += int(rows["label"].sum())
        return dg.MaterializeResult(metadata={"dagster/row_count": n_rows, "positive": n_positive})

    return [labels]


def _lookback(use_case: UseCase) -> timedelta:
    return max((view.lookback for view in use_case.views), default=timedelta(0))


def _requests(platform: PlatformResource, use_case: UseCase, start: datetime, end: datetime) -> pd.DataFrame:
    """Requests whose label may become known: those the events tell of, and those that were answered."""
    lake = platform.lake()
    window = {"start": start, "end": end}
    spine = lake.events_sql(use_case.requests_sql, use_case, use_case.events, window, end=end)
    answered = lake.read_table(PREDICTIONS, use_case, start.date(), (end + timedelta(days=1)).date())
    return requests_to_label(spine, answered, start, end)
