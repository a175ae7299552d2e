"""A few made-up flights whose every fact is known to the microsecond, for the tests of point-in-time correctness."""

from typing import Any

import pandas as pd

from shadow_platform.testing.tables import Tables, validated
from shadow_platform.use_cases import load_use_case

FLIGHTS = load_use_case("flights")
NOON = pd.Timestamp("2013-03-05T12:00:00", tz="UTC")
INSTANT = pd.Timedelta(microseconds=1)
HOUR = pd.Timedelta(hours=1)
DAY = pd.Timedelta(days=1)


def schedule(flight_id: str, departs: pd.Timestamp, **changes: Any) -> dict[str, Any]:
    """A scheduled flight of ``UA`` from EWR to IAH."""
    row = {
        **_flight(flight_id),
        "flight_number": 1,
        "scheduled_departure_at": departs,
        "scheduled_arrival_at": departs + 3 * HOUR,
        "scheduled_duration_min": 180,
        "distance_miles": 1400,
    }
    return _event(f"schedule:{flight_id}", departs - DAY, {**row, **changes})


def departure(flight_id: str, at: pd.Timestamp, delay_min: int, **changes: Any) -> dict[str, Any]:
    """It left."""
    return _event(f"departure:{flight_id}", at, {**_flight(flight_id), "departure_delay_min": delay_min, **changes})


def arrival(flight_id: str, at: pd.Timestamp, delay_min: int, **changes: Any) -> dict[str, Any]:
    """It arrived."""
    return _event(f"arrival:{flight_id}", at, {**_flight(flight_id), "arrival_delay_min": delay_min, **changes})


def weather(received_at: pd.Timestamp, visibility_miles: float) -> dict[str, Any]:
    """An observation at EWR."""
    measured = {
        "temperature_f": 40.0,
        "humidity_pct": 50.0,
        "wind_speed_mph": 10.0,
        "wind_gust_mph": None,
        "precipitation_in": 0.0,
        "pressure_mbar": None,
    }
    row = {"origin": "EWR", **measured, "visibility_miles": visibility_miles}
    return {**_event(f"weather:{received_at.isoformat()}", received_at, row), "event_at": received_at - HOUR}


def flight_id(number: int) -> str:
    """A valid flight id."""
    return f"2013-03-05-UA{number}-EWR-0700"


def tables(**rows: list[dict[str, Any]]) -> Tables:
    """Event tables of the rows given, the other kinds empty; a row that breaks its schema fails the test."""
    made: Tables = {}
    for kind in FLIGHTS.events:
        made[kind.name], failures = validated(kind, rows.get(kind.name, []))
        assert failures.empty, failures
    return made


def _flight(flight_id: str) -> dict[str, Any]:
    return {
        "flight_id": flight_id,
        "carrier": "UA",
        "origin": "EWR",
        "dest": "IAH",
        "route": "EWR-IAH",
        "tailnum": "N14228",
    }


def _event(event_id: str, at: pd.Timestamp, row: dict[str, Any]) -> dict[str, Any]:
    return {"event_id": event_id, "event_at": at, "received_at": at, **row}
