"""What an event of this use case must look like; a row that does not is quarantined with the reason.

Belongs here: columns, types and ranges of the payload. Does not belong here: parsing, quarantine (the events stage).
Upstream: source. Downstream: the event tables that the SQL of this package reads.
"""

import pandas as pd
import pandera.pandas as pa

from shadow_platform.contracts.use_case import EventKind

ORIGINS = ("EWR", "JFK", "LGA")
DAY_MINUTES = 24 * 60
UTC_MICROSECONDS = pd.DatetimeTZDtype(unit="us", tz="UTC")


def _text(pattern: str) -> pa.Column:
    return pa.Column(str, pa.Check.str_matches(pattern), coerce=True)


def _whole(low: float, high: float) -> pa.Column:
    return pa.Column("int64", pa.Check.in_range(low, high), coerce=True)


def _measured(low: float, high: float) -> pa.Column:
    return pa.Column("float64", pa.Check.in_range(low, high), nullable=True, coerce=True)


def _time() -> pa.Column:
    return pa.Column(UTC_MICROSECONDS, coerce=True)


def _event(payload: dict[str, pa.Column]) -> pa.DataFrameSchema:
    moments = {"event_id": _text(r"^\S{1,64}$"), "event_at": _time(), "received_at": _time()}
    return pa.DataFrameSchema({**moments, **payload})


def _flight() -> dict[str, pa.Column]:
    return {
        "flight_id": _text(r"^\d{4}-\d\d-\d\d-[0-9A-Z]{2}\d{1,4}-[A-Z]{3}-\d{4}$"),
        "carrier": _text(r"^[0-9A-Z]{2}$"),
        "origin": pa.Column(str, pa.Check.isin(ORIGINS), coerce=True),
        "dest": _text(r"^[A-Z]{3}$"),
        "route": _text(r"^[A-Z]{3}-[A-Z]{3}$"),
        "tailnum": _text(r"^[0-9A-Z]{3,8}$"),
    }


SCHEDULES = EventKind(
    name="schedules",
    description="A flight as published 24 hours before its scheduled departure",
    schema=_event(
        {
            **_flight(),
            "flight_number": _whole(1, 9999),
            "scheduled_departure_at": _time(),
            "scheduled_arrival_at": _time(),
            "scheduled_duration_min": _whole(1, DAY_MINUTES - 1),
            "distance_miles": _whole(1, 12_000),
        }
    ),
)
DEPARTURES = EventKind(
    name="departures",
    description="A flight has left; received as it leaves. A cancelled flight has none",
    schema=_event({**_flight(), "departure_delay_min": _whole(-180, 3 * DAY_MINUTES)}),
)
ARRIVALS = EventKind(
    name="arrivals",
    description="A flight has arrived at its destination; received as it arrives. Cancelled and diverted: none",
    schema=_event({**_flight(), "arrival_delay_min": _whole(-300, 3 * DAY_MINUTES)}),
)
WEATHER = EventKind(
    name="weather",
    description="Hourly observation at an airport of origin; received when its hour is over",
    schema=_event(
        {
            "origin": pa.Column(str, pa.Check.isin(ORIGINS), coerce=True),
            "temperature_f": _measured(-60, 140),
            "humidity_pct": _measured(0, 100),
            "wind_speed_mph": _measured(0, 200),
            "wind_gust_mph": _measured(0, 250),
            "precipitation_in": _measured(0, 20),
            "pressure_mbar": _measured(850, 1100),
            "visibility_miles": _measured(0, 100),
        }
    ),
)

EVENTS = (SCHEDULES, DEPARTURES, ARRIVALS, WEATHER)
