"""Whichever offline store is configured, a request sees what was known when it was made, and nothing else."""

from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings

from shadow_platform_tests.adapters.feature_rows import HISTORY, HOUR, START
from shadow_platform_tests.adapters.point_in_time.conftest import OfflineColumn
from shadow_platform_tests.adapters.point_in_time.reference import (
    MOMENT,
    ODD_KEYS,
    Asked,
    Row,
    answer,
    every_request,
    feature_rows,
)

USERS = ["u1", "u2", "u 3"]


def row(hour: float, visits: float, created: float | None = None, user: str = "u1") -> Row:
    return Row(user, START + hour * HOUR, START + (hour if created is None else created) * HOUR, visits)


def visits(column: OfflineColumn, *hours: float) -> list[float | None]:
    return [found for found, _ in column.ask([Asked("u1", START + hour * HOUR) for hour in hours])]


def told_apart(rows: list[Row]) -> list[Row]:
    """Nothing says which of two rows counts that are alike in all but their values; every store may choose."""
    return list({row[:3]: row for row in rows}.values())


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(rows=feature_rows(USERS))
def test_values_are_those_of_the_reference(offline_column: OfflineColumn, rows: list[Row]) -> None:
    asked = every_request([*USERS, "u4"])
    held = offline_column.hold(told_apart(rows))
    expected = [answer(held, request, HISTORY.ttl) for request in asked]
    assert offline_column.ask(asked) == [(None, None) if row is None else (row.visits, row.device) for row in expected]


def test_no_value_that_became_true_later_is_seen(offline_column: OfflineColumn) -> None:
    offline_column.hold([row(1, 10), row(2, 20)])
    assert visits(offline_column, 1 - 1e-9, 1, 2 - 1e-9, 2) == [None, 10, 10, 20]


def test_no_value_that_was_created_later_is_seen(offline_column: OfflineColumn) -> None:
    """The newest event came in late: until then, the one before it is the answer."""
    offline_column.hold([row(1, 10), row(2, 20, created=4)])
    assert visits(offline_column, 1, 2, 3, 4 - 1e-9, 4) == [10, 10, 10, 10, 20]


def test_a_late_row_is_no_answer_where_a_newer_one_was_known(offline_column: OfflineColumn) -> None:
    offline_column.hold([row(1, 10, created=3), row(2, 20)])
    assert visits(offline_column, 1, 2, 3, 4) == [None, 20, 20, 20]


def test_a_correction_counts_from_its_creation_on(offline_column: OfflineColumn) -> None:
    offline_column.hold([row(1, 11, created=3), row(1, 10), row(1, 12, created=4)])
    assert visits(offline_column, 1, 2, 3, 3.5, 4, 5) == [10, 10, 11, 11, 12, 12]


def test_a_value_lives_as_long_as_declared_and_not_a_microsecond_longer(offline_column: OfflineColumn) -> None:
    offline_column.hold([row(1, 10)])
    last = START + HOUR + HISTORY.ttl
    found = offline_column.ask([Asked("u1", last), Asked("u1", last + MOMENT)])
    assert [value for value, _ in found] == [10, None]


def test_an_expired_value_does_not_bring_back_an_older_one(offline_column: OfflineColumn) -> None:
    offline_column.hold([row(1, 10, created=8), row(2, 20)])
    assert visits(offline_column, 7, 8, 8.5) == [20, 20, None]


def test_rows_held_twice_answer_once(offline_column: OfflineColumn) -> None:
    offline_column.hold([row(1, 10), row(1, 10), row(1, 10), row(2, 20), row(2, 20)])
    assert visits(offline_column, 1, 2, 2, 1) == [10, 20, 20, 10]


def test_a_null_is_a_value_and_hides_the_one_before(offline_column: OfflineColumn) -> None:
    offline_column.hold([row(1, 10), row(2, 20)._replace(visits=None)])
    assert visits(offline_column, 1, 2) == [10, None]


def test_keys_are_compared_character_by_character(offline_column: OfflineColumn) -> None:
    offline_column.hold([row(1, n, user=key) for n, key in enumerate(ODD_KEYS)])
    found = offline_column.ask([Asked(key, START + HOUR) for key in [*ODD_KEYS, "U1", "u1 ", "%", None]])
    assert [value for value, _ in found] == [*range(len(ODD_KEYS)), None, None, None, None]


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/St_Johns", "Pacific/Kiritimati"])
def test_a_request_is_an_instant_whatever_its_time_zone(offline_column: OfflineColumn, zone: str) -> None:
    offline_column.hold([row(1, 10), row(2, 20), row(3, 30)])
    times = pd.Series(pd.to_datetime([START + hour * HOUR for hour in (0.5, 1.5, 2.5, 3.5)]))
    entities = pd.DataFrame({"user": "u1", "event_timestamp": times.dt.tz_convert(zone)})
    assert [value for value, _ in offline_column.ask_frame(entities)] == [None, 10, 20, 30]


def test_a_request_without_time_zone_is_in_utc(offline_column: OfflineColumn) -> None:
    offline_column.hold([row(1, 10), row(2, 20)])
    times = pd.to_datetime([START + hour * HOUR for hour in (1.5, 2.5)]).tz_localize(None)
    entities = pd.DataFrame({"user": "u1", "event_timestamp": times})
    assert [value for value, _ in offline_column.ask_frame(entities)] == [10, 20]


@pytest.mark.parametrize("night", [datetime(2024, 10, 27, tzinfo=UTC), datetime(2024, 3, 31, tzinfo=UTC)])
def test_the_nights_in_which_clocks_change_have_no_hour_too_many_or_too_few(
    offline_column: OfflineColumn, night: datetime
) -> None:
    """One row a half hour of real time; on local clocks an hour comes twice, or never."""
    moments = [night + n * HOUR / 2 for n in range(8)]
    offline_column.hold([Row("u1", at, at, float(n)) for n, at in enumerate(moments)])
    local = pd.Series(pd.to_datetime(moments)).dt.tz_convert("Europe/Berlin") + timedelta(minutes=1)
    entities = pd.DataFrame({"user": "u1", "event_timestamp": local})
    assert [value for value, _ in offline_column.ask_frame(entities)] == list(range(8))


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(rows=feature_rows(USERS), others=feature_rows(USERS))
def test_late_rows_change_no_answer_of_the_past(
    offline_column: OfflineColumn, rows: list[Row], others: list[Row]
) -> None:
    """What comes in tomorrow, of whatever day, changes nothing that was asked today."""
    asked = every_request(USERS)
    today = max(request.at for request in asked)
    offline_column.hold(told_apart(rows))
    before = offline_column.ask(asked)
    late = [row._replace(created_at=today + MOMENT, visits=-1.0) for row in others]
    offline_column.hold([*told_apart(rows), *late])
    assert offline_column.ask(asked) == before
