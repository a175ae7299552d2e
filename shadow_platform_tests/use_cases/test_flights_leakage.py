"""Point-in-time correctness of flights: what is known a second too late, or a microsecond, never shows up.

A request at noon reads the row that is stamped noon. Each test moves one fact from the last instant that counts to the
first that does not.
"""

from typing import Any

import pandas as pd
import pytest

from shadow_platform.testing.tables import Tables, labels_of, requests_of, run
from shadow_platform_tests.use_cases.flights_events import (
    DAY,
    FLIGHTS,
    HOUR,
    INSTANT,
    NOON,
    arrival,
    departure,
    flight_id,
    schedule,
    tables,
    weather,
)

FIRST, OTHER = flight_id(1), flight_id(2)


def _seen_at(moment: pd.Timestamp, view_name: str, events: Tables) -> dict[str, Any] | None:
    """What a request at ``moment`` reads from a view: its latest row, if younger than the TTL."""
    view = next(view for view in FLIGHTS.views if view.name == view_name)
    rows = run(view.sql, events, start=moment - 3 * DAY, end=moment + DAY)
    rows = rows[(rows["created_at"] <= moment) & (rows["event_at"] <= moment) & (rows["event_at"] > moment - view.ttl)]
    if rows.empty:
        return None
    latest = rows.sort_values("event_at").iloc[-1]
    return {str(name): None if pd.isna(value) else value for name, value in latest.items()}


@pytest.mark.parametrize(
    ("view", "feature"),
    [
        ("carrier_delays", "carrier_arrival_delay_3h_min"),
        ("carrier_delays", "carrier_late_share_24h"),
        ("route_delays", "route_arrival_delay_24h_min"),
        ("route_delays", "route_late_share_7d"),
        ("tail_rotation", "tail_last_arrival_delay_min"),
        ("tail_rotation", "tail_arrival_delay_24h_min"),
        ("tail_rotation", "tail_arrivals_24h"),
    ],
)
def test_an_arrival_counts_from_the_instant_it_is_received(view: str, feature: str) -> None:
    known = arrival(OTHER, NOON - 2 * HOUR, 0)
    in_time = _seen_at(NOON, view, tables(arrivals=[known, arrival(FIRST, NOON, 90)]))
    too_late = _seen_at(NOON, view, tables(arrivals=[known, arrival(FIRST, NOON + INSTANT, 90)]))
    without = _seen_at(NOON, view, tables(arrivals=[known]))
    assert too_late == without
    assert in_time is not None
    assert without is not None
    assert in_time[feature] > without[feature]


def test_a_delay_known_an_instant_after_the_request_is_not_there_at_all() -> None:
    events = tables(arrivals=[arrival(FIRST, NOON + INSTANT, 90)])
    for view in ("carrier_delays", "route_delays", "tail_rotation"):
        assert _seen_at(NOON, view, events) is None
        assert _seen_at(NOON + HOUR, view, events) is not None


@pytest.mark.parametrize(
    "feature",
    ["origin_departure_delay_1h_min", "origin_departure_delay_3h_min", "origin_late_share_6h", "origin_departures_1h"],
)
def test_a_departure_counts_from_the_instant_it_is_received(feature: str) -> None:
    known = departure(OTHER, NOON - 10 * INSTANT, 0)
    in_time = _seen_at(NOON, "origin_traffic", tables(departures=[known, departure(FIRST, NOON, 60)]))
    too_late = _seen_at(NOON, "origin_traffic", tables(departures=[known, departure(FIRST, NOON + INSTANT, 60)]))
    without = _seen_at(NOON, "origin_traffic", tables(departures=[known]))
    assert too_late == without
    assert in_time is not None
    assert without is not None
    assert in_time[feature] > without[feature]


@pytest.mark.parametrize(("left_at", "share"), [(NOON, 0.0), (NOON + INSTANT, 1.0), (None, 1.0)])
def test_a_flight_is_overdue_until_its_departure_is_received(left_at: pd.Timestamp | None, share: float) -> None:
    left = [] if left_at is None else [departure(FIRST, left_at, 60)]
    seen = _seen_at(NOON, "origin_traffic", tables(schedules=[schedule(FIRST, NOON - HOUR)], departures=left))
    assert seen is not None
    assert seen["origin_overdue_share_3h"] == share


def test_a_flight_that_is_not_yet_due_is_not_overdue() -> None:
    seen = _seen_at(NOON, "origin_traffic", tables(schedules=[schedule(FIRST, NOON + INSTANT)]))
    assert seen is None


def test_a_flight_stops_being_overdue_after_three_hours() -> None:
    due = tables(schedules=[schedule(FIRST, NOON - 3 * HOUR + INSTANT), schedule(OTHER, NOON - 3 * HOUR)])
    seen = run(
        next(view.sql for view in FLIGHTS.views if view.name == "origin_traffic"), due, start=NOON - DAY, end=NOON + DAY
    )
    assert seen["event_at"].max() == NOON


def test_weather_counts_from_the_instant_it_is_received() -> None:
    known = weather(NOON - HOUR, 10.0)
    in_time = _seen_at(NOON, "origin_weather", tables(weather=[known, weather(NOON, 0.5)]))
    too_late = _seen_at(NOON, "origin_weather", tables(weather=[known, weather(NOON + INSTANT, 0.5)]))
    assert in_time is not None
    assert in_time["origin_visibility_miles"] == 0.5
    assert too_late is not None
    assert too_late["origin_visibility_miles"] == 10.0


def test_missing_gusts_are_as_strong_as_the_wind() -> None:
    seen = _seen_at(NOON, "origin_weather", tables(weather=[weather(NOON, 10.0)]))
    assert seen is not None
    assert seen["origin_wind_gust_mph"] == seen["origin_wind_speed_mph"] == 10.0


def test_windows_forget_to_the_instant() -> None:
    recent = arrival(OTHER, NOON, 0)
    for age, mean in ((3 * HOUR - INSTANT, 30.0), (3 * HOUR, 0.0)):
        seen = _seen_at(NOON, "carrier_delays", tables(arrivals=[recent, arrival(FIRST, NOON - age, 60)]))
        assert seen is not None
        assert seen["carrier_arrival_delay_3h_min"] == mean


def test_an_unknown_aircraft_has_no_history() -> None:
    events = tables(arrivals=[arrival(FIRST, NOON, 90, tailnum="UNKNOWN")])
    assert _seen_at(NOON, "tail_rotation", events) is None
    assert _seen_at(NOON, "carrier_delays", events) is not None


def _label(as_of: pd.Timestamp, *arrivals: dict[str, Any]) -> dict[str, Any] | None:
    events = tables(schedules=[schedule(FIRST, NOON)], arrivals=list(arrivals))
    requests = requests_of(FLIGHTS, events, NOON, NOON + INSTANT)
    assert list(requests["subject_id"]) == [FIRST]
    labels = labels_of(FLIGHTS, events, requests, as_of)
    return None if labels.empty else {str(name): value for name, value in labels.iloc[0].items()}


@pytest.mark.parametrize(("delay_min", "is_late"), [(15, False), (16, True)])
def test_a_label_is_known_from_the_instant_of_arrival_and_not_before(delay_min: int, is_late: bool) -> None:
    arrived_at = NOON + 4 * HOUR
    landed = arrival(FIRST, arrived_at, delay_min)
    assert _label(arrived_at - INSTANT, landed) is None
    label = _label(arrived_at, landed)
    assert label is not None
    assert label["label"] == is_late
    assert label["known_at"] == label["event_at"] == arrived_at
    assert _label(arrived_at + 30 * DAY, landed) == label


def test_a_flight_that_never_arrives_is_late_24_hours_after_schedule_and_not_before() -> None:
    assert _label(NOON + DAY - INSTANT) is None
    label = _label(NOON + DAY)
    assert label is not None
    assert label["label"]
    assert label["known_at"] == NOON + DAY


def test_a_flight_that_arrives_after_24_hours_is_already_known_to_be_late() -> None:
    landed = arrival(FIRST, NOON + DAY + INSTANT, 1272)
    label = _label(NOON + DAY, landed)
    assert label is not None
    assert label["label"]
    assert label["known_at"] == NOON + DAY
    assert _label(NOON + 9 * DAY, landed) == label


def test_another_flights_arrival_is_no_label() -> None:
    assert _label(NOON + 5 * HOUR, arrival(OTHER, NOON + 4 * HOUR, 90)) is None


def test_a_schedule_published_after_the_departure_makes_no_request() -> None:
    late = {**schedule(FIRST, NOON), "received_at": NOON + INSTANT}
    assert requests_of(FLIGHTS, tables(schedules=[late]), NOON, NOON + INSTANT).empty
    in_time = {**schedule(FIRST, NOON), "received_at": NOON}
    assert len(requests_of(FLIGHTS, tables(schedules=[in_time]), NOON, NOON + INSTANT)) == 1
