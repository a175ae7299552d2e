"""A day is compared with the days before it: what vanished is told from what chance gives."""

from datetime import timedelta

import numpy as np
import pytest

from shadow_platform.contracts.partition_records import FeaturesRecord
from shadow_platform.domain.features import by_weekday, rises, vanished
from shadow_platform_tests.tiny import FIRST_DAY


def record(n_rows: int, n_entities: int | None = None, **nulls: int) -> FeaturesRecord:
    return FeaturesRecord(
        fingerprint="", inputs="", n_rows=n_rows, n_entities=n_rows if n_entities is None else n_entities, nulls=nulls
    )


def accepted(known: FeaturesRecord, *names: str) -> FeaturesRecord:
    return known.model_copy(update={"accepted": names})


WEEK = [record(100, 50, gap=10, rare=95)] * 7


def test_a_feature_without_any_value_that_had_values_before_has_vanished() -> None:
    assert vanished(record(100, 50, gap=100), WEEK) == ["gap"]
    assert vanished(record(100, 50, gap=99), WEEK) == []
    assert vanished(record(100, 50, never=100), WEEK) == ["never"]


def test_a_few_entities_without_values_by_chance_accept_nothing() -> None:
    assert vanished(record(2, 2, gap=2), WEEK) == []
    assert vanished(record(100, 50, gap=100), [record(2, 2, gap=2), *WEEK[:6]]) == ["gap"]


def test_a_feature_that_was_accepted_and_came_back_can_vanish_again() -> None:
    came_back = [record(100, 50, gap=10), accepted(record(100, 50, gap=100), "gap"), *WEEK[:5]]
    assert vanished(record(100, 50, gap=100), came_back) == ["gap"]


@pytest.mark.parametrize(
    ("today", "before"),
    [
        (record(0), WEEK),
        (record(100, 50, gap=100), []),
        (record(100, 50, gap=100), [record(100, 50, gap=100)] * 7),
        (record(100, 50, rare=100), WEEK),
        (record(40, 2, gap=40), WEEK),
        (record(100, 50, gap=100), [record(0), accepted(record(100, 50, gap=100), "gap"), *WEEK[:5]]),
        (accepted(record(100, 50, gap=100), "gap"), WEEK),
    ],
    ids=["no rows", "no days before", "null before too", "mostly null before", "two entities", "accepted", "accepts"],
)
def test_what_chance_or_a_beginning_may_give_has_not_vanished(
    today: FeaturesRecord, before: list[FeaturesRecord]
) -> None:
    assert vanished(today, before) == []


def test_a_rise_of_nulls_is_told_by_size_and_by_chance() -> None:
    assert rises(record(200, 100, gap=80), WEEK) == {"gap": 0.4}
    assert rises(record(200, 100, gap=40), WEEK) == {}
    assert rises(record(10, 5, gap=4), WEEK) == {}
    assert rises(record(10, 5), WEEK) == {}


def test_nothing_is_said_of_ten_thousand_days_without_a_change() -> None:
    rng = np.random.default_rng(1)
    for rate in (0.02, 0.2, 0.5, 0.9):
        nulls = rng.binomial(60, rate, 2_500)
        days = [record(60, 60, gap=int(n)) for n in nulls]
        for place in range(7, len(days)):
            assert vanished(days[place], days[place - 7 : place]) == []
            assert rises(days[place], days[place - 7 : place]) == {}


def test_a_weekday_is_compared_with_the_fewest_of_its_kind() -> None:
    day = FIRST_DAY + timedelta(weeks=8)
    weeks = {day - timedelta(weeks=n): record(500, n_entities) for n, n_entities in enumerate((0, 90, 80, 100, 95))}
    assert by_weekday(day, {**weeks, day: record(99, 39)}) == (39, 80)
    assert by_weekday(day, {**weeks, day: record(99, 40)}) is None
    one_week = {day: record(0, 0), day - timedelta(weeks=1): record(500, 90)}
    assert by_weekday(day, one_week) is None
    assert by_weekday(day, {**dict.fromkeys(weeks, record(30, 19)), day: record(0, 0)}) is None
