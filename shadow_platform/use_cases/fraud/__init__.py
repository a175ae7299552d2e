"""Use case ``fraud``: whether a payment will be charged back within 45 days.

Simulated events. The request is asked when a payment is received; the truth is known when a chargeback is received, or
after 45 days without one, and never for a payment that was blocked, unless it was explored. Upstream: simulator,
events, features, models. Downstream: everything, through ``USE_CASE``.
"""

from datetime import date, timedelta

from shadow_platform.contracts.simulation import DriftInjection, Simulation, SimulationPlan, Simulator
from shadow_platform.contracts.use_case import (
    ActionSpec,
    AnswerSpec,
    CanaryStep,
    ContextField,
    DecisionCosts,
    DemoPlan,
    Envelope,
    Exploration,
    GatePolicy,
    LabelPolicy,
    RolloutPolicy,
    TrainingPolicy,
    UseCase,
)
from shadow_platform.use_cases.fraud.events import EVENTS
from shadow_platform.use_cases.fraud.features import DERIVATIONS, ENTITIES, FEATURES, VIEWS, sql
from shadow_platform.use_cases.fraud.models import MODELS

HORIZON = timedelta(days=45)

# A payment blocked in error costs the margin of the sale and a call, a fraud let through its mean amount and a fee.
# Who is blocked is called the same day, and eight can be.
COSTS = DecisionCosts(false_positive=10.0, false_negative=130.0, currency="USD", capacity=8)


def _open(plan: SimulationPlan) -> Simulator:
    from shadow_platform.use_cases.fraud.simulator import FraudSimulator

    return FraudSimulator(plan)


SIMULATION = Simulation(
    open=_open,
    default=SimulationPlan(
        n_entities=2_000,
        drifts=(DriftInjection(kind="covariate", start=date(2024, 10, 15), size=0.7),),
    ),
    entities="users",
    effects={
        "covariate": "Users travel more, pay more and more often on the web: transaction_amount, country, device, the "
        "sums and the counts of countries and devices move; who is a thief does not change",
        "label": "Up to four times as many thieves, who behave as thieves always did: fraud becomes more frequent, and "
        "with it payments_1h, countries_24h and devices_24h rise a little",
        "concept": "Bold episodes become innocent and modest ones fraud: no feature moves, the label does",
        "quality": "The device android is called android_app, country is null in up to 30 % of payments, up to half of "
        "the amounts on the web are recorded in cents: device, country, transaction_amount and the sums move",
    },
)

USE_CASE = UseCase(
    name="fraud",
    title="Fraudulent payments",
    description="Will a payment be charged back within 45 days? Asked while it waits to be authorised.",
    intended_use=(
        "To allow or block one payment while it waits to be authorised. Not to judge a person, to close an account, or "
        "to report anybody."
    ),
    limits=(
        "The payments are simulated; how good it is here says nothing about a real bank.",
        "A blocked payment shows no outcome. Only the share that is let through on purpose tells what blocking does.",
        "One payment in 200 is fraud: metrics rest on few positives, and precision is low where recall is high.",
        "A chargeback may take 45 days, so a new pattern of fraud is seen late.",
    ),
    owner="team:fraud",
    subject="user_id",
    subject_example="user-00042",
    source=SIMULATION.simulator,
    events=EVENTS,
    entities=ENTITIES,
    views=VIEWS,
    features=FEATURES,
    derivations=DERIVATIONS,
    requests_sql=sql("requests"),
    envelope=Envelope(
        "event",
        "The payment",
        (
            ContextField("event_id", "Id of the payment, a ULID", "01J9ZC9V7Q8R3N2K1J0G4F6E5A"),
            ContextField("user_id", "Who pays", "user-00042"),
            ContextField("event_ts", "When it was asked for", "2024-10-12T10:29:58Z", kind="timestamp"),
        ),
        key="event_id",
    ),
    label=LabelPolicy(
        name="is_charged_back",
        description="Charged back within 45 days; unknown for a payment that was blocked",
        horizon=HORIZON,
        sql=sql("labels"),
        hidden_by="platform",
    ),
    models=MODELS,
    answer=AnswerSpec(
        probability="fraud_probability",
        prediction="fraud_prediction",
        threshold=COSTS.threshold,
        risk_bands=(0.01, COSTS.threshold),
        action=ActionSpec("action", negative="allow", positive="block"),
    ),
    first_partition=date(2024, 1, 1),
    last_partition=date(2024, 12, 15),
    training=TrainingPolicy(
        window=timedelta(days=262),
        calibration=timedelta(days=21),
        evaluation=timedelta(days=21),
        gap=HORIZON,
        min_rows=10_000,
    ),
    # One payment in 200 is fraud, which makes a Brier score of 0.005: the usual limits would pass anything.
    gate=GatePolicy(
        min_samples=2_000,
        min_label_coverage=None,
        max_brier_degradation=0.0005,
        max_calibration_error=0.01,
        tuned_at=10_000,
    ),
    # Who pays is refused or let through at once: a new model first answers few payers, and every step is a working day.
    rollout=RolloutPolicy(
        canary_steps=(
            CanaryStep(0.05, min_duration=timedelta(hours=8), min_requests=1_000),
            CanaryStep(0.25, min_duration=timedelta(hours=8), min_requests=5_000),
        )
    ),
    demo=DemoPlan(serve_from=date(2024, 10, 10), serve_until=date(2024, 10, 22), decide_at=date(2024, 12, 7)),
    simulation=SIMULATION,
    costs=COSTS,
    exploration=Exploration(share=0.05),
)
