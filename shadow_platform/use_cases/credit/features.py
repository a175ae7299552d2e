"""What the models see: the feature view with its SQL, and every input with its range.

Belongs here: declarations. Does not belong here: computing them (the features stage runs the SQL). Upstream: events.
Downstream: the UseCase value, and through it Feast, training, serving and drift.

The applicant states four numbers; the rest is the bureau's. Its report is stamped at the end of the hour in which it
came in, so that a request reads it up to an hour late and never early.
"""

from datetime import timedelta
from importlib.resources import files

from shadow_platform.contracts.use_case import Entity, Feature, FeatureView


def sql(name: str) -> str:
    """Text of one of this package's SQL files."""
    return (files(__package__) / "sql" / f"{name}.sql").read_text(encoding="utf-8")


ENTITIES = (Entity("applicant_id", "Person who applies for a loan", "APP_00123"),)

BUREAU_FILE = "bureau_file"
VIEWS = (
    FeatureView(
        name=BUREAU_FILE,
        entity="applicant_id",
        ttl=timedelta(days=30),
        lookback=timedelta(hours=1),
        sql=sql(BUREAU_FILE),
        description="Latest report of the credit bureau on the applicant",
    ),
)

REQUEST_FEATURES = (
    Feature("age", "Age of the applicant", unit="years", low=18, high=120, example=25),
    Feature("income", "Stated income", unit="USD a year", low=0, high=10_000_000, example=50_000),
    Feature("credit_score", "Score that the applicant brings", unit="points", low=300, high=850, example=750),
    Feature("employment_years", "In the present employment", unit="years", low=0, high=80, example=3),
)


def _reported(name: str, description: str, unit: str, high: float, example: float) -> Feature:
    return Feature(name, description, unit=unit, view=BUREAU_FILE, low=0, high=high, example=example)


VIEW_FEATURES = (
    _reported("open_accounts", "Credit accounts in use", "accounts", 1_000, 4),
    _reported("utilisation_pct", "Granted revolving credit in use", "percent", 500, 38.5),
    _reported("inquiries_6m", "Credit inquiries of the last 6 months", "inquiries", 1_000, 1),
    _reported("delinquencies_2y", "Payments over 30 days late in the last 2 years", "payments", 1_000, 0),
    _reported("oldest_account_months", "Age of the oldest account", "months", 1_500, 64),
    _reported("total_debt", "Debt on all accounts", "USD", 100_000_000, 21_400),
    Feature(
        "worst_status",
        "Worst state that an account was in, in the bureau's own words",
        kind="categorical",
        view=BUREAU_FILE,
        example="current",
    ),
)

FEATURES = REQUEST_FEATURES + VIEW_FEATURES
