"""Guarantees of days as evidence: a day that is missing is named, and never read as if nothing had happened on it."""

from datetime import UTC, date, datetime

import pytest

from shadow_platform.contracts.errors import NotEnoughData
from shadow_platform.partitions import gapless_end, labels_known_until, require_days

DAYS = [date(2024, 1, 1), date(2024, 1, 2), date(2024, 1, 4)]
END_OF_SECOND = datetime(2024, 1, 3, tzinfo=UTC)


def test_a_missing_day_is_named() -> None:
    with pytest.raises(NotEnoughData, match="events visits: 1 of 4 days are missing, the first is 2024-01-03"):
        require_days("events visits", DAYS, date(2024, 1, 1), date(2024, 1, 4))
    require_days("events visits", DAYS, date(2024, 1, 1), date(2024, 1, 2))


@pytest.mark.parametrize(
    ("present", "end"), [(DAYS, END_OF_SECOND), (DAYS[:1], datetime(2024, 1, 2, tzinfo=UTC)), ([], None)]
)
def test_labels_behind_a_gap_do_not_count(present: list[date], end: datetime | None) -> None:
    assert gapless_end(present) == end
    wanted = datetime(2024, 1, 10, tzinfo=UTC)
    assert labels_known_until(present, wanted) == (end or wanted)


def test_an_earlier_time_than_the_labels_reach_stays() -> None:
    wanted = datetime(2024, 1, 2, 6, tzinfo=UTC)
    assert labels_known_until(DAYS, wanted) == wanted
