"""Partitions of the assets: which day a row of an event, feature or table belongs to.

Upstream: contracts. Downstream: assets, jobs, sensors. Days are UTC days.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta

import dagster as dg

from shadow_platform.contracts.errors import NotEnoughData, ShadowPlatformError
from shadow_platform.contracts.use_case import UseCase

SINGLE_RUN = dg.BackfillPolicy.single_run()
RANGE_START = "dagster/asset_partition_range_start"
RANGE_END = "dagster/asset_partition_range_end"
# The lake's times have microseconds.
INSTANT = timedelta(microseconds=1)


def daily_partitions(use_case: UseCase) -> dg.DailyPartitionsDefinition:
    """UTC days from the use case's first partition to its last, or on and on."""
    last = use_case.last_partition
    return dg.DailyPartitionsDefinition(
        start_date=use_case.first_partition.isoformat(),
        end_date=None if last is None else (last + timedelta(days=1)).isoformat(),
        timezone="UTC",
    )


def partition_range(first: date, last: date) -> dict[str, str]:
    """Run tags that make one run materialize all partitions from ``first`` to ``last``.

    A day that is not over yet may be among them, though Dagster notes no materialization for it.
    """
    return {RANGE_START: str(first), RANGE_END: str(last)}


def daily_freshness(use_case: UseCase) -> dg.FreshnessPolicy | None:
    """A day late is a failure, where days go on; a recorded history has an end and would be late for ever."""
    if use_case.last_partition is not None:
        return None
    return dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=36), warn_window=timedelta(hours=26))


def data_version(fingerprints: Mapping[str, str]) -> dg.DataVersion:
    """Version of the partitions of one run, by their contents: of one partition, its own fingerprint.

    Dagster gives all partitions of a run one version; each partition's own is in its metadata.
    """
    if len(fingerprints) == 1:
        return dg.DataVersion(next(iter(fingerprints.values())))
    return dg.DataVersion(hashlib.sha256(repr(sorted(fingerprints.items())).encode()).hexdigest())


def days(partition_keys: Iterable[str]) -> list[date]:
    """Partition keys as days, in order."""
    return sorted(date.fromisoformat(key) for key in partition_keys)


def start_of(day: date) -> datetime:
    """First instant of a UTC day."""
    return datetime.combine(day, time.min, tzinfo=UTC)


def end_of(day: date) -> datetime:
    """First instant behind a UTC day."""
    return start_of(day) + timedelta(days=1)


def require_days(what: str, present: Iterable[date], first: date, last: date) -> None:
    """Raise ``NotEnoughData`` naming the days from first to last that are not there; absence must not read as truth."""
    known = set(present)
    wanted = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    absent = [day for day in wanted if day not in known]
    if absent:
        raise NotEnoughData(
            f"{what}: {len(absent)} of {len(wanted)} days are missing, the first is {absent[0]}; materialize them first"
        )


def gapless_end(present: Sequence[date]) -> datetime | None:
    """End of the last day before the first gap in sorted days; ``None`` without days.

    >>> gapless_end([date(2024, 1, 1), date(2024, 1, 2), date(2024, 1, 4)]).isoformat()
    '2024-01-03T00:00:00+00:00'
    """
    end: datetime | None = None
    for day in present:
        if end is not None and start_of(day) != end:
            break
        end = end_of(day)
    return end


def moment(text: str | None, now: datetime) -> datetime:
    """Time of an ISO 8601 text, UTC unless it says otherwise; without a text, ``now``.

    Raises:
        ShadowPlatformError: the text is no time.

    >>> moment("2013-04-01", datetime.max).isoformat()
    '2013-04-01T00:00:00+00:00'
    """
    try:
        found = datetime.fromisoformat(text) if text else now
    except ValueError:
        raise ShadowPlatformError(f"{text!r} is no time; write it as 2013-04-01 or 2013-04-01T12:00, UTC") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def labels_known_until(label_days: Sequence[date], wanted: datetime) -> datetime:
    """As :func:`tabled_until`; behind a gap are only labels that came early, no fair sample of their cohort.

    Raises:
        NotEnoughData: no day of labels was made.
    """
    if not label_days:
        raise NotEnoughData("labels: no day was made, so nothing can be judged on them; materialize labels first")
    return tabled_until(label_days, wanted)


def tabled_until(present: Sequence[date], wanted: datetime) -> datetime:
    """The time wanted, or the last instant of the gapless days of a table if that is earlier; without days, wanted.

    A midnight means the last instant before it, whether or not the day that it opens was made; asked again, it is the
    same.
    """
    reached = min(wanted, gapless_end(present) or wanted)
    return reached - INSTANT if reached == start_of(reached.astimezone(UTC).date()) else reached
