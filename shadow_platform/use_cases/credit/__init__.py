"""Use case ``credit``: whether an applicant will default on a loan within 90 days, so that the loan is rejected.

Simulated (see world). The request is asked when an application is received; the truth is known at the default, or after
90 days without one, and never for an application that was rejected. Upstream: simulator, events, features, models.
Downstream: everything, through ``USE_CASE``.
"""

from datetime import date, timedelta

from shadow_platform.contracts.simulation import DriftInjection, Simulation, SimulationPlan, Simulator
from shadow_platform.contracts.use_case import (
    AnswerSpec,
    DecisionCosts,
    DemoPlan,
    FairnessAttribute,
    FairnessPolicy,
    GatePolicy,
    LabelPolicy,
    TrainingPolicy,
    UseCase,
)
from shadow_platform.use_cases.credit.events import EVENTS
from shadow_platform.use_cases.credit.features import ENTITIES, FEATURES, VIEWS, sql
from shadow_platform.use_cases.credit.models import MODELS

FIT = timedelta(days=120)
PART = timedelta(days=30)
HORIZON = timedelta(days=90)
COSTS = DecisionCosts(false_positive=800.0, false_negative=2_400.0, currency="USD")
"""Interest that a good loan would have brought, and the loss on one that defaults."""


def _simulator(plan: SimulationPlan) -> Simulator:
    from shadow_platform.use_cases.credit.simulator import CreditSimulator

    return CreditSimulator(plan)


SIMULATION = Simulation(
    open=_simulator,
    default=SimulationPlan(
        n_entities=30_000,
        drifts=(
            DriftInjection(kind="covariate", start=date(2024, 4, 8), size=0.6, shape="gradual", duration_days=21),
            DriftInjection(kind="concept", start=date(2024, 4, 8), size=0.5, shape="gradual", duration_days=21),
        ),
    ),
    entities="applicants",
    effects={
        "covariate": "The economy worsens: income falls, total_debt, utilisation_pct and inquiries_6m rise",
        "label": "Defaults become more frequent for everyone alike; no feature moves",
        "concept": "Defaults rise for employment_years below 2 alone; no feature moves",
        "quality": "One partner sends income in thousands, utilisation_pct is missing from some bureau reports, and "
        "the bureau renames late_30 and late_60 of worst_status to dpd_30 and dpd_60",
    },
)

USE_CASE = UseCase(
    name="credit",
    title="Defaults on consumer loans",
    description="Will the applicant default within 90 days? Asked when an application is received; yes means: reject.",
    intended_use=(
        "To propose rejecting an application whose applicant is likely to default within 90 days. Not to set a price "
        "or a limit, not without a person who may decide otherwise, and not as the reason given to the applicant."
    ),
    limits=(
        "The applicants are simulated; how good it is here says nothing about a real lender.",
        "It learned from loans that a lender approved. Nobody knows the outcome of those that were rejected, which "
        "were riskier: for their like it may be too optimistic.",
        "Age is an input; the rates of approval by age are reported. Whether that is lawful is for its user to judge.",
        "The truth takes 90 days and training needs a record of more than a year, so it learns of a crisis late.",
    ),
    owner="team:credit",
    subject="applicant_id",
    subject_example="APP_00123",
    source=SIMULATION.simulator,
    events=EVENTS,
    entities=ENTITIES,
    views=VIEWS,
    features=FEATURES,
    requests_sql=sql("requests"),
    label=LabelPolicy(
        name="has_defaulted",
        description="A default reported within 90 days; a rejected application never has a label",
        horizon=HORIZON,
        sql=sql("labels"),
        hidden_by="others",
    ),
    models=MODELS,
    answer=AnswerSpec(
        probability="probability",
        prediction="prediction",
        threshold=COSTS.threshold,
        risk_category=None,
        request_id="prediction_id",
        feature_sources=False,
        subject=False,
    ),
    first_partition=date(2023, 1, 1),
    last_partition=date(2024, 8, 22),
    training=TrainingPolicy(
        window=FIT + HORIZON + PART + HORIZON + PART + HORIZON,
        calibration=PART,
        evaluation=PART,
        gap=HORIZON,
        min_rows=2_000,
    ),
    gate=GatePolicy(
        min_samples=200,
        min_label_coverage=None,
        min_f1_improvement_pct=2.0,
        max_brier_degradation=0.01,
    ),
    demo=DemoPlan(serve_from=date(2024, 4, 1), serve_until=date(2024, 5, 11), decide_at=date(2024, 8, 10)),
    simulation=SIMULATION,
    costs=COSTS,
    fairness=FairnessPolicy(
        attributes=(FairnessAttribute("age_band", "age", (25, 40, 60)),), favourable_prediction=False
    ),
)
