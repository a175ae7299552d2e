"""Partitions of the assets: which day a row of an event, feature or table belongs to.

Upstream: contracts. Downstream: assets, jobs, sensors. Days are UTC days.
"""

from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta

import dagster as dg

from shadow_platform.contracts.use_case import UseCase

SINGLE_RUN = dg.BackfillPolicy.single_run()


def daily_partitions(use_case: UseCase) -> dg.DailyPartitionsDefinition:
    """UTC days from the use case's first partition to its last, or on and on."""
    last = use_case.last_partition
    return dg.DailyPartitionsDefinition(
        start_date=use_case.first_partition.isoformat(),
        end_date=None if last is None else (last + timedelta(days=1)).isoformat(),
        timezone="UTC",
    )


def days(partition_keys: Iterable[str]) -> list[date]:
    """Partition keys as days, in order."""
    return sorted(date.fromisoformat(key) for key in partition_keys)


def start_of(day: date) -> datetime:
    """First instant of a UTC day."""
    return datetime.combine(day, time.min, tzinfo=UTC)


def end_of(day: date) -> datetime:
    """First instant behind a UTC day."""
    return start_of(day) + timedelta(days=1)


def moment(text: str | None) -> datetime:
    """Time of an ISO 8601 text, UTC unless it says otherwise; without a text, now.

    >>> moment("2013-04-01").isoformat()
    '2013-04-01T00:00:00+00:00'
    """
    found = datetime.fromisoformat(text) if text else datetime.now(UTC)
    return found if found.tzinfo else found.replace(tzinfo=UTC)
