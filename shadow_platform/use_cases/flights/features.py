"""What the models see: the feature views with their SQL, and every input with its range.

Belongs here: declarations. Does not belong here: computing them (the features stage runs the SQL). Upstream: events.
Downstream: the UseCase value, and through it Feast, training, serving and drift.

A request is asked at the scheduled departure. Rows of a view are stamped at the end of an hour and use what had been
received by then, so that a request reads facts that are up to one hour old and never one that came later.
"""

from datetime import timedelta
from importlib.resources import files

from shadow_platform.contracts.use_case import Entity, Feature, FeatureView


def sql(name: str) -> str:
    """Text of one of this package's SQL files."""
    return (files(__package__) / "sql" / f"{name}.sql").read_text(encoding="utf-8")


ENTITIES = (
    Entity("carrier", "Airline, two-character IATA code", "UA"),
    Entity("origin", "Airport of departure", "EWR"),
    Entity("route", "Airports of departure and arrival", "EWR-IAH"),
    Entity("tailnum", "Aircraft, by its tail number; UNKNOWN if none is assigned", "N14228"),
)

VIEWS = (
    FeatureView(
        name="carrier_delays",
        entity="carrier",
        ttl=timedelta(days=2),
        lookback=timedelta(hours=25),
        sql=sql("carrier_delays"),
        description="How late a carrier's flights arrived over the last hours and day",
    ),
    FeatureView(
        name="origin_traffic",
        entity="origin",
        ttl=timedelta(hours=12),
        lookback=timedelta(hours=28),
        sql=sql("origin_traffic"),
        description="How late flights left an airport in the last hours, and how many should have left and did not",
    ),
    FeatureView(
        name="route_delays",
        entity="route",
        ttl=timedelta(days=7),
        lookback=timedelta(days=7, hours=1),
        sql=sql("route_delays"),
        description="How late a route's flights arrived over the last day and week",
    ),
    FeatureView(
        name="tail_rotation",
        entity="tailnum",
        ttl=timedelta(hours=24),
        lookback=timedelta(hours=25),
        sql=sql("tail_rotation"),
        description="How late an aircraft arrived on its previous flights of the last day",
    ),
    FeatureView(
        name="origin_weather",
        entity="origin",
        ttl=timedelta(hours=6),
        lookback=timedelta(hours=2),
        sql=sql("origin_weather"),
        description="Latest weather observation at the airport of departure",
    ),
)

REQUEST_FEATURES = (
    Feature("carrier", "Airline", kind="categorical", example="UA"),
    Feature("origin", "Airport of departure", kind="categorical", example="EWR"),
    Feature("dest", "Airport of arrival", kind="categorical", example="IAH"),
    Feature("weekday", "Local day of the week", kind="categorical", example="tue", is_monitored=False),
    Feature(
        "scheduled_hour_local",
        "Scheduled departure, local time of day",
        unit="hours",
        low=0,
        high=24,
        example=5.25,
    ),
    Feature("distance_miles", "Distance of the route", unit="miles", low=1, high=12_000, example=1400),
    Feature(
        "scheduled_duration_min",
        "Scheduled departure to scheduled arrival",
        unit="minutes",
        low=1,
        high=1_440,
        example=244,
    ),
)


def _delay(name: str, view: str, description: str, example: float) -> Feature:
    return Feature(
        name, description, unit="minutes", view=view, low=-600, high=4_320, example=example, is_monitored=False
    )


def _share(name: str, view: str, description: str, example: float) -> Feature:
    return Feature(name, description, unit="share", view=view, low=0, high=1, example=example, is_monitored=False)


def _count(name: str, view: str, description: str, example: float) -> Feature:
    return Feature(name, description, unit="flights", view=view, low=0, high=1_000, example=example, is_monitored=False)


def _weather(name: str, description: str, unit: str, low: float, high: float, example: float) -> Feature:
    return Feature(
        name, description, unit=unit, view="origin_weather", low=low, high=high, example=example, is_monitored=False
    )


# Trailing delays and weather follow the season: drift in them is no news, so they do not count in the verdict.
VIEW_FEATURES = (
    _delay("carrier_arrival_delay_3h_min", "carrier_delays", "Mean arrival delay of the carrier, last 3 hours", 6.5),
    _share("carrier_late_share_24h", "carrier_delays", "Carrier's arrivals over 15 min late, last 24 hours", 0.21),
    _delay("origin_departure_delay_1h_min", "origin_traffic", "Mean departure delay at the airport, last hour", 9.0),
    _delay("origin_departure_delay_3h_min", "origin_traffic", "Mean departure delay at the airport, last 3 hours", 8.0),
    _share("origin_late_share_6h", "origin_traffic", "Departures over 15 min late at the airport, last 6 hours", 0.2),
    _share("origin_overdue_share_3h", "origin_traffic", "Flights due in the last 3 hours that have not left", 0.15),
    _count("origin_departures_1h", "origin_traffic", "Flights that left the airport in the last hour", 21),
    _delay("route_arrival_delay_24h_min", "route_delays", "Mean arrival delay of the route, last 24 hours", 4.0),
    _share("route_late_share_7d", "route_delays", "Route's arrivals over 15 min late, last 7 days", 0.2),
    _delay("tail_last_arrival_delay_min", "tail_rotation", "Arrival delay of the aircraft's last flight", -4.0),
    _delay("tail_arrival_delay_24h_min", "tail_rotation", "Mean arrival delay of the aircraft, last 24 hours", 2.0),
    _count("tail_arrivals_24h", "tail_rotation", "Arrivals of the aircraft, last 24 hours", 2),
    _weather("origin_humidity_pct", "Relative humidity", "percent", 0, 100, 59.4),
    _weather("origin_wind_speed_mph", "Wind speed", "miles an hour", 0, 200, 10.4),
    _weather("origin_wind_gust_mph", "Gusts, or wind speed if none is reported", "miles an hour", 0, 250, 10.4),
    _weather("origin_precipitation_in", "Precipitation of the hour", "inches", 0, 20, 0.0),
    _weather("origin_visibility_miles", "Visibility", "miles", 0, 100, 10.0),
)

FEATURES = REQUEST_FEATURES + VIEW_FEATURES
