"""Use case ``churn``: whether a telecom customer will cancel within 30 days.

Simulated: sign-ups, logins, sessions, payments, support tickets and surveys of a telecom company. A subscribed customer
is scored once a week; the truth is known when the customer cancels, or 30 days later. Upstream: simulator, events,
features, models. Downstream: everything, through ``USE_CASE``.
"""

from datetime import date, timedelta

from shadow_platform.contracts.use_case import (
    AnswerSpec,
    DecisionCosts,
    DemoPlan,
    EventSource,
    GatePolicy,
    LabelPolicy,
    TrainingPolicy,
    UseCase,
)
from shadow_platform.use_cases.churn.events import EVENTS
from shadow_platform.use_cases.churn.features import ENTITIES, FEATURES, VIEWS, sql
from shadow_platform.use_cases.churn.models import MODELS
from shadow_platform.use_cases.churn.simulator import SIMULATION

HORIZON = timedelta(days=30)

# Five offers to stay are made a day, which is fewer than a good model would make on most days.
COSTS = DecisionCosts(false_positive=50.0, false_negative=150.0, currency="USD", capacity=5)


def _source() -> EventSource:
    return SIMULATION.simulator()


USE_CASE = UseCase(
    name="churn",
    title="Customers of a telecom company who are about to cancel",
    description="Will a subscribed customer cancel within 30 days? Asked once a week.",
    intended_use=(
        "To choose which customers get an offer to stay this week: a false alarm costs that offer. Not for prices, "
        "credit or the treatment of complaints, and not as a statement about one person."
    ),
    limits=(
        "The customers are simulated; how good it is here says nothing about a real company.",
        "An offer that works makes its own prediction wrong: labels then no longer show who would have left.",
        "The truth takes 30 days, so every number is at least a month old.",
        "Of a customer of a few days there is hardly any history to judge by.",
    ),
    owner="team:churn",
    subject="customer_id",
    subject_example="CUST_12345",
    source=_source,
    simulation=SIMULATION,
    events=EVENTS,
    entities=ENTITIES,
    views=VIEWS,
    features=FEATURES,
    requests_sql=sql("requests"),
    label=LabelPolicy(
        name="has_churned",
        description="Cancelled within 30 days of the request",
        horizon=HORIZON,
        sql=sql("labels"),
    ),
    models=MODELS,
    costs=COSTS,
    answer=AnswerSpec(
        probability="churn_probability",
        prediction="churn_prediction",
        threshold=COSTS.threshold,
        risk_bands=(0.1, 0.25),
    ),
    first_partition=date(2024, 1, 1),
    last_partition=date(2024, 9, 16),
    training=TrainingPolicy(
        window=timedelta(days=174),
        calibration=timedelta(days=14),
        evaluation=timedelta(days=14),
        gap=HORIZON,
    ),
    demo=DemoPlan(serve_from=date(2024, 6, 24), serve_until=date(2024, 7, 22), decide_at=date(2024, 8, 21)),
    gate=GatePolicy(segments=("contract_type", "region")),
)
