"""What an event of this use case must look like; a row that does not is quarantined with the reason.

Belongs here: columns, types and ranges of the payload. Does not belong here: parsing, quarantine (the events stage).
Upstream: source. Downstream: the event tables that the SQL of this package reads.
"""

import pandera.pandas as pa

from shadow_platform.contracts.use_case import EventKind
from shadow_platform.use_case_kit.schemas import event_schema, measured, moment, one_of, text, whole

ORIGINS = ("EWR", "JFK", "LGA")
DAY_MINUTES = 24 * 60


def _flight() -> dict[str, pa.Column]:
    return {
        "flight_id": text(r"^\d{4}-\d\d-\d\d-[0-9A-Z]{2}\d{1,4}-[A-Z]{3}-\d{4}$"),
        "carrier": text(r"^[0-9A-Z]{2}$"),
        "origin": one_of(ORIGINS),
        "dest": text(r"^[A-Z]{3}$"),
        "route": text(r"^[A-Z]{3}-[A-Z]{3}$"),
        "tailnum": text(r"^[0-9A-Z]{3,8}$"),
    }


SCHEDULES = EventKind(
    name="schedules",
    description="A flight as published 24 hours before its scheduled departure",
    schema=event_schema(
        {
            **_flight(),
            "flight_number": whole(1, 9999),
            "scheduled_departure_at": moment(),
            "scheduled_arrival_at": moment(),
            "scheduled_duration_min": whole(1, DAY_MINUTES - 1),
            "distance_miles": whole(1, 12_000),
        }
    ),
)
DEPARTURES = EventKind(
    name="departures",
    description="A flight has left; received as it leaves. A cancelled flight has none",
    schema=event_schema({**_flight(), "departure_delay_min": whole(-180, 3 * DAY_MINUTES)}),
)
ARRIVALS = EventKind(
    name="arrivals",
    description="A flight has arrived at its destination; received as it arrives. Cancelled and diverted: none",
    schema=event_schema({**_flight(), "arrival_delay_min": whole(-300, 3 * DAY_MINUTES)}),
)
WEATHER = EventKind(
    name="weather",
    description="Hourly observation at an airport of origin; received when its hour is over",
    schema=event_schema(
        {
            "origin": one_of(ORIGINS),
            "temperature_f": measured(-60, 140),
            "humidity_pct": measured(0, 100),
            "wind_speed_mph": measured(0, 200),
            "wind_gust_mph": measured(0, 250),
            "precipitation_in": measured(0, 20),
            "pressure_mbar": measured(850, 1100),
            "visibility_miles": measured(0, 100),
        }
    ),
)

EVENTS = (SCHEDULES, DEPARTURES, ARRIVALS, WEATHER)
