"""Guarantees of days as evidence: a day that is missing is named, and never read as if nothing had happened on it."""

from datetime import UTC, date, datetime, timedelta

import pandas as pd
import pytest

from shadow_platform.contracts.errors import NotEnoughData, ShadowPlatformError
from shadow_platform.domain.labels import matured_cohort
from shadow_platform.partitions import gapless_end, labels_known_until, moment, require_days

DAYS = [date(2024, 1, 1), date(2024, 1, 2), date(2024, 1, 4)]
END_OF_SECOND = datetime(2024, 1, 3, tzinfo=UTC)
WANTED = datetime(2024, 1, 10, tzinfo=UTC)


def test_a_missing_day_is_named() -> None:
    with pytest.raises(NotEnoughData, match="events visits: 1 of 4 days are missing, the first is 2024-01-03"):
        require_days("events visits", DAYS, date(2024, 1, 1), date(2024, 1, 4))
    require_days("events visits", DAYS, date(2024, 1, 1), date(2024, 1, 2))


@pytest.mark.parametrize("text", ["banana", "2024-13-01", "yesterday"])
def test_a_text_that_is_no_time_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ShadowPlatformError, match=f"'{text}' is no time; write it as 2013-04-01"):
        moment(text, WANTED)


@pytest.mark.parametrize(("present", "end"), [(DAYS, END_OF_SECOND), (DAYS[:1], datetime(2024, 1, 2, tzinfo=UTC))])
def test_labels_behind_a_gap_do_not_count_nor_those_of_the_midnight_that_opens_the_next_day(
    present: list[date], end: datetime
) -> None:
    assert gapless_end(present) == end
    assert labels_known_until(present, WANTED) == labels_known_until(present, end) == end - timedelta(microseconds=1)


def test_without_a_day_of_labels_nothing_can_be_judged() -> None:
    assert gapless_end([]) is None
    with pytest.raises(NotEnoughData, match="labels: no day was made"):
        labels_known_until([], WANTED)


def test_an_evaluation_is_the_same_once_the_next_day_of_labels_is_made() -> None:
    """A request at midnight, whose silence is known a day later to the instant, when the next partition begins."""
    at = pd.Series(pd.to_datetime(["2024-01-01", "2024-01-01"], utc=True)).dt.as_unit("us")
    requests = pd.DataFrame({"request_id": ["r0", "r1"], "subject_id": ["s0", "s1"], "requested_at": at})
    known = at + pd.to_timedelta([6, 24], unit="h")
    labels = requests.assign(label=[True, False], event_at=known, known_at=known, source="events")
    made = labels[labels["known_at"] < datetime(2024, 1, 2, tzinfo=UTC)]

    as_of = labels_known_until(DAYS[:1], datetime(2024, 1, 2, tzinfo=UTC))
    assert labels_known_until(DAYS[:2], datetime(2024, 1, 2, tzinfo=UTC)) == as_of
    before, after = (matured_cohort(requests, rows, as_of, timedelta(days=1)) for rows in (made, labels))

    pd.testing.assert_frame_equal(before, after)


def test_an_earlier_time_than_the_labels_reach_stays() -> None:
    wanted = datetime(2024, 1, 2, 6, tzinfo=UTC)
    assert labels_known_until(DAYS, wanted) == wanted
