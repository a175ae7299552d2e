"""How a day of a view compares with the days before it: features that vanish, nulls that rise, entities that stay away.

Belongs here: rules on counts, each with its reason. Does not belong here: rules on single rows (``rows``), and served
features (the stages of drift and data quality). Upstream: records of partitions. Downstream: checks of view assets.

Rows of one entity repeat each other, so chances are reckoned with entities, not rows.
"""

import math
from collections.abc import Mapping, Sequence
from datetime import date, timedelta

from shadow_platform.contracts.partition_records import FeaturesRecord

DAYS_BEFORE = 7
# A day in which a feature has no value, by luck: one in a million, over all features of all days of years.
MAX_CHANCE = 1e-6
# A rise that would be seen in a picture, and that chance does not give: five standard deviations.
MIN_RISE, MIN_DEVIATIONS = 0.2, 5.0
# Storms and holidays halve a day; of fewer than so many entities, half is nothing.
MIN_SHARE, MIN_ENTITIES, WEEKS, MIN_WEEKS = 0.5, 20, 4, 2


def vanished(record: FeaturesRecord, before: Sequence[FeaturesRecord]) -> list[str]:
    """Features without any value in a day that had values in the days before, too often for chance.

    A column that is gone or was renamed upstream looks so. A model would be trained, and would answer, on imputed
    values alone; that is worth stopping for. A day that somebody accepted without values is the end of it, until the
    feature has values again.

    Args:
        before: the nearest day first.
    """
    gone = [name for name in without_values(record) if not _is_accepted(name, (record, *before))]
    return [name for name in gone if _expected(name, before) ** max(record.n_entities, 1) < MAX_CHANCE]


def rises(record: FeaturesRecord, before: Sequence[FeaturesRecord]) -> dict[str, float]:
    """Share of nulls of the features that are null far more often than in the days before."""
    found: dict[str, float] = {}
    for name, n in record.nulls.items():
        expected, rate = _expected(name, before), n / max(record.n_rows, 1)
        deviation = math.sqrt(expected * (1 - expected) / max(record.n_entities, 1))
        if rate - expected > max(MIN_RISE, MIN_DEVIATIONS * deviation):
            found[name] = round(rate, 6)
    return found


def by_weekday(day: date, records: Mapping[date, FeaturesRecord]) -> tuple[int, int] | None:
    """Entities of a day, and the fewest of the same weekday in the weeks before, when it has less than half of these.

    Weekdays, because a Sunday is no fallen Saturday; the fewest, because one of the weeks may have been a storm.
    """
    weeks = [records[then] for n in range(1, WEEKS + 1) if (then := day - timedelta(weeks=n)) in records]
    fewest = min((record.n_entities for record in weeks), default=0)
    n_entities = records[day].n_entities
    if len(weeks) < MIN_WEEKS or fewest < MIN_ENTITIES or n_entities >= MIN_SHARE * fewest:
        return None
    return n_entities, fewest


def without_values(record: FeaturesRecord) -> list[str]:
    """Features that have rows in a day, and no value."""
    return [name for name, n in record.nulls.items() if n == record.n_rows > 0]


def _is_accepted(name: str, records: Sequence[FeaturesRecord]) -> bool:
    """Whether somebody accepted a day since the feature last had a value; the newest day first."""
    for record in records:
        if record.n_rows and name not in without_values(record):
            return False
        if name in record.accepted:
            return True
    return False


def _expected(name: str, before: Sequence[FeaturesRecord]) -> float:
    """Share of nulls to be expected, by the rule of succession, so that it is never quite 0; 1 without days before."""
    n_rows, n_nulls = sum(r.n_rows for r in before), sum(r.nulls.get(name, 0) for r in before)
    return (n_nulls + 1) / (n_rows + 2) if n_rows and n_nulls < n_rows else 1.0
