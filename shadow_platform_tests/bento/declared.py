"""Use cases of other shapes than ``tiny``: a nested event as the request, and answers under other names.

Belongs here: declarations that serving must cope with; they are never trained. Upstream: tiny. Downstream: tests of
the HTTP contract.
"""

from dataclasses import replace
from datetime import timedelta

from shadow_platform.contracts.use_case import (
    AnswerSpec,
    ContextField,
    Entity,
    Envelope,
    Feature,
    FeatureView,
    LabelPolicy,
    UseCase,
)
from shadow_platform_tests.tiny import USE_CASE as TINY

PAYMENTS: UseCase = replace(
    TINY,
    name="payments",
    title="Fraudulent payments",
    description="Will a payment be charged back? Asked while it waits to be authorised.",
    subject="user_id",
    subject_example="user-0042",
    entities=(Entity("user_id", "Who pays", "user-0042"),),
    views=(
        FeatureView("user_payments", "user_id", timedelta(days=7), timedelta(days=8), "", "What the user paid lately"),
    ),
    features=(
        Feature("transaction_amount", "Amount", unit="USD", low=0.01, high=1_000_000, example=121.4),
        Feature("country", "Where the card is used", kind="categorical", example="US"),
        Feature("device", "What it is used on", kind="categorical", example="android"),
        Feature("payments_1h", "Payments, last hour", unit="payments", view="user_payments", low=0, example=2),
        Feature("amount_sum_24h", "Sum, last 24 hours", unit="USD", view="user_payments", low=0, example=310.5),
    ),
    envelope=Envelope(
        "event",
        "The payment",
        (
            ContextField("event_id", "Id of the payment", "01HM5ZC9V7Q8R3N2K1J0G4F6E5"),
            ContextField("user_id", "Who pays", "user-0042"),
            ContextField("event_ts", "When it was asked for", "2024-01-15T10:29:58Z", kind="timestamp"),
        ),
    ),
    label=LabelPolicy("is_fraud", "Charged back within 60 days", timedelta(days=60), ""),
    answer=AnswerSpec(probability="fraud_probability", prediction="is_fraud"),
    demo=None,
)

LOANS: UseCase = replace(
    TINY,
    name="loans",
    title="Loans that default",
    description="Will an applicant default within a year?",
    subject="applicant_id",
    subject_example="APP_00123",
    entities=(),
    views=(),
    features=(
        Feature("age", "Age", unit="years", low=18, high=120, example=25),
        Feature("income", "Yearly income", unit="EUR", low=0, high=100_000_000, example=50_000),
        Feature("credit_score", "Score of the bureau", low=300, high=850, example=750),
        Feature("employment_years", "With the present employer", unit="years", low=0, high=80, example=3),
    ),
    label=LabelPolicy("is_default", "In default within a year", timedelta(days=365), ""),
    answer=AnswerSpec(
        probability="probability", prediction="prediction", risk_category=None, request_id="prediction_id"
    ),
    demo=None,
)
