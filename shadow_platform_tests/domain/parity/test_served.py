"""What the log tells of a request: milliseconds, values that the request brought, records of earlier versions."""

from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadow_platform.domain.parity import served_requests
from shadow_platform.domain.parity.values import as_values, differs
from shadow_platform_tests.domain.parity.world import START, USE_CASE, Row, World

MICROSECOND = timedelta(microseconds=1)
numbers = st.none() | st.floats(allow_nan=False, allow_infinity=False, width=32)


def told(**changes: object) -> Row:
    record: Row = {
        "request_id": "r1",
        "requested_at": START,
        "logged_at": START,
        "entities": '{"user":"u1"}',
        "features": '{"amount":3.0,"spent":6.0,"visits":null,"device":"phone","share":0.5}',
        "feature_times": '{"history":"2024-03-09T23:00:00.000001Z"}',
        "overridden": [],
        "features_from_request": 1,
        "features_from_online": 2,
    }
    return record | changes


def test_values_and_the_row_that_was_read_are_told_by_the_log() -> None:
    served = served_requests(USE_CASE, pd.DataFrame([told()]))

    assert served.values["spent"].tolist() == [6.0]
    assert np.isnan(served.values["visits"]).all()
    assert served.values["device"].tolist() == ["phone"]
    assert served.read_at["history"].tolist() == [pd.Timestamp("2024-03-09T23:00:00.000001Z")]
    assert served.asked["user"].tolist() == ["u1"]


def test_a_row_of_the_same_millisecond_shows_that_the_request_came_after_it() -> None:
    read_at = (START + 500 * MICROSECOND).isoformat()
    served = served_requests(USE_CASE, pd.DataFrame([told(feature_times=f'{{"history":"{read_at}"}}')]))

    assert served.asked["requested_at"].tolist() == [pd.Timestamp(START + 500 * MICROSECOND)]


@pytest.mark.parametrize(
    ("changes", "is_overridden"),
    [
        ({}, False),
        ({"overridden": ["spent"], "features_from_request": 2}, True),
        # Before version 5 a record told how many features the request brought, and not which.
        ({"feature_times": "{}", "features_from_request": 1}, False),
        ({"feature_times": "{}", "features_from_request": 2}, True),
    ],
)
def test_a_value_that_the_request_may_have_brought_is_not_compared(changes: Row, is_overridden: bool) -> None:
    served = served_requests(USE_CASE, pd.DataFrame([told(**changes)]))

    assert served.overridden["spent"].tolist() == [is_overridden]


def test_requests_without_their_entities_are_left_out() -> None:
    served = served_requests(USE_CASE, pd.DataFrame([told(), told(request_id="r0", entities=None)]))

    assert served.asked["request_id"].tolist() == ["r1"]


def test_a_request_that_names_no_entity_was_rightly_served_nothing() -> None:
    world = World(changed=lambda record: record | {"entities": {}, "feature_times": {}, "features_from_online": 0})

    assert world.served().asked["user"].isna().all()


def test_old_records_are_compared_by_value_and_no_cause_is_claimed_that_needs_their_rows() -> None:
    world = World(reached=lambda _: START - timedelta(hours=6), changed=lambda record: record | {"feature_times": {}})

    assert set(world.causes()) <= {"same", "default_used", "in_transit", "unexplained"}
    assert "stale_online" not in world.causes()


@given(values=st.lists(numbers, min_size=1))
def test_a_value_that_went_through_float32_is_the_same(values: list[float | None]) -> None:
    served = as_values([None if value is None else float(np.float32(value)) for value in values], "numeric")

    assert not differs(served, as_values(values, "numeric")).any()


@given(value=st.floats(1e-3, 1e6), factor=st.floats(1.00001, 10) | st.floats(0.1, 0.99999) | st.floats(-10, -0.1))
def test_a_difference_in_the_sixth_digit_is_one_in_either_direction(value: float, factor: float) -> None:
    left, right = as_values([value], "numeric"), as_values([value * factor], "numeric")

    assert differs(left, right).all()
    assert differs(right, left).all()


@given(size=st.floats(1e-6, 1e9), share=st.floats(-1e-13, 1e-13))
def test_what_rounding_leaves_of_nothing_is_nothing(size: float, share: float) -> None:
    served, offline = as_values([0.0, 0.0, size], "numeric"), as_values([share * size, 0.0, size], "numeric")

    assert not differs(served, offline).any()


@given(size=st.floats(1.0, 1e9), share=st.floats(1e-11, 1.0))
def test_what_is_more_than_rounding_leaves_differs_from_nothing(size: float, share: float) -> None:
    served, offline = as_values([0.0, 0.0, size], "numeric"), as_values([share * size, 0.0, size], "numeric")

    assert differs(served, offline).tolist() == [True, False, False]


@given(values=st.lists(st.none() | st.text(), min_size=1))
def test_text_is_compared_as_it_is_and_null_equals_null_alone(values: list[str | None]) -> None:
    column = as_values(values, "categorical")
    other = as_values(["another" if value is None else None for value in values], "categorical")

    assert not differs(column, as_values(list(values), "categorical")).any()
    assert differs(column, other).all()
