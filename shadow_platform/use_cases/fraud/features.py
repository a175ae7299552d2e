"""What the models see: the feature views with their SQL, and every input with its range.

Belongs here: declarations. Does not belong here: computing them (the features stage runs the SQL). Upstream: events.
Downstream: the UseCase value, and through it Feast, training, serving and drift.

Rows of ``user_velocity`` are stamped a microsecond after a payment was received and use what had been received before
the stamp, so that a payment reads everything up to itself and never itself. A row is also made when a payment leaves a
window: without it a count of the last hour would stand until the user pays again.
"""

from datetime import timedelta
from importlib.resources import files

from shadow_platform.contracts.use_case import Derivation, Entity, Feature, FeatureView, Streaming
from shadow_platform.use_cases.fraud.derivations import amount_against_habit, place_against_habit
from shadow_platform.use_cases.fraud.events import HIGHEST_AMOUNT_USD


def sql(name: str) -> str:
    """Text of one of this package's SQL files."""
    return (files(__package__) / "sql" / f"{name}.sql").read_text(encoding="utf-8")


ENTITIES = (Entity("user_id", "Who pays", "user-00042"),)

VIEWS = (
    FeatureView(
        name="user_velocity",
        entity="user_id",
        ttl=timedelta(days=30),
        lookback=timedelta(hours=337),
        sql=sql("user_velocity"),
        description="How often, how much, from where and on what a user paid in the last hour, day and week",
        streaming=Streaming(leaves_after=(timedelta(hours=1), timedelta(hours=24), timedelta(days=7))),
    ),
    FeatureView(
        name="user_habits",
        entity="user_id",
        ttl=timedelta(days=30),
        lookback=timedelta(days=31),
        sql=sql("user_habits"),
        description="What is usual for a user: amounts, country and device over 30 days, as of the last midnight",
        refresh=timedelta(days=1),
    ),
)

REQUEST_FEATURES = (
    Feature(
        "transaction_amount",
        "Amount of the payment",
        unit="USD",
        low=0.01,
        high=HIGHEST_AMOUNT_USD,
        example=121.4,
    ),
    Feature("country", "Where the card is used, ISO 3166-1 alpha-2", kind="categorical", example="US"),
    Feature("device", "What it is used on", kind="categorical", example="android"),
)


def _count(name: str, unit: str, description: str, example: int) -> Feature:
    return Feature(name, description, unit=unit, view="user_velocity", low=0, high=1_000_000, example=example)


def _sum(name: str, description: str, example: float) -> Feature:
    return Feature(name, description, unit="USD", view="user_velocity", low=0, high=1e12, example=example)


VELOCITY_FEATURES = (
    _count("payments_1h", "payments", "Payments, last hour", 1),
    _count("payments_24h", "payments", "Payments, last 24 hours", 2),
    _count("payments_7d", "payments", "Payments, last 7 days", 8),
    _count("small_payments_7d", "payments", "Payments under 5 USD, last 7 days", 0),
    _sum("amount_sum_1h_usd", "Sum of amounts, last hour", 23.5),
    _sum("amount_sum_24h_usd", "Sum of amounts, last 24 hours", 61.0),
    _sum("amount_sum_7d_usd", "Sum of amounts, last 7 days", 310.5),
    _count("countries_1h", "countries", "Distinct countries, last hour", 1),
    _count("countries_24h", "countries", "Distinct countries, last 24 hours", 1),
    _count("countries_7d", "countries", "Distinct countries, last 7 days", 1),
    _count("devices_1h", "devices", "Distinct devices, last hour", 1),
    _count("devices_24h", "devices", "Distinct devices, last 24 hours", 1),
    _count("devices_7d", "devices", "Distinct devices, last 7 days", 2),
    Feature(
        "seconds_between_payments",
        "Time between the user's last two payments before this one, at most 7 days",
        unit="seconds",
        view="user_velocity",
        low=0,
        high=604_800,
        example=7_200,
    ),
)

HABIT_FEATURES = (
    Feature("user_payments_30d", "Payments, 30 days", unit="payments", view="user_habits", low=0, high=1e6, example=31),
    Feature("amount_mean_30d_usd", "Mean amount, 30 days", unit="USD", view="user_habits", low=0, high=1e6, example=38),
    Feature(
        "amount_std_30d_usd",
        "Standard deviation of the amount, 30 days",
        unit="USD",
        view="user_habits",
        low=0,
        high=1e6,
        example=29.5,
    ),
    Feature("usual_country_30d", "Country paid in most, 30 days", "categorical", view="user_habits", example="US"),
    Feature("usual_device_30d", "Device paid on most, 30 days", "categorical", view="user_habits", example="android"),
)

DERIVATIONS = (
    Derivation(
        "amount_against_habit",
        "The amount beside the user's own mean and deviation",
        inputs=("transaction_amount", "amount_mean_30d_usd", "amount_std_30d_usd"),
        compute=amount_against_habit,
    ),
    Derivation(
        "place_against_habit",
        "Country and device beside the user's usual ones",
        inputs=("country", "device", "usual_country_30d", "usual_device_30d"),
        compute=place_against_habit,
    ),
)

DERIVED_FEATURES = (
    Feature(
        "amount_to_mean_ratio_30d",
        "Amount over the user's mean of 30 days",
        unit="multiple",
        derivation="amount_against_habit",
        low=0,
    ),
    Feature(
        "amount_z_30d",
        "Amount less the user's mean of 30 days",
        unit="standard deviations",
        derivation="amount_against_habit",
    ),
    Feature(
        "is_usual_country", "yes where the country is the usual one", "categorical", derivation="place_against_habit"
    ),
    Feature(
        "is_usual_device", "yes where the device is the usual one", "categorical", derivation="place_against_habit"
    ),
)

FEATURES = REQUEST_FEATURES + VELOCITY_FEATURES + HABIT_FEATURES + DERIVED_FEATURES
