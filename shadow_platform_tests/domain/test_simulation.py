"""The ground truth of injected drift says what was played, day by day."""

from datetime import UTC, date, datetime

from shadow_platform.contracts.simulation import DriftInjection, Simulation, SimulationPlan, Simulator
from shadow_platform.contracts.tables import SIMULATED_DRIFT
from shadow_platform.domain.simulation import injected_drift

DRIFTS = (
    DriftInjection(kind="concept", start=date(2024, 3, 2), size=0.5),
    DriftInjection(kind="quality", start=date(2024, 3, 1), size=1.0, shape="gradual", duration_days=2),
)


def _never_opened(plan: SimulationPlan) -> Simulator:
    raise AssertionError("the truth follows from the plan alone")


SIMULATION = Simulation(
    _never_opened,
    SimulationPlan(n_entities=10),
    "parcels",
    {"covariate": "a", "label": "b", "concept": "routes slow down", "quality": "weights in grams"},
)


def test_there_is_one_row_a_day_and_drift_with_the_intensity_of_that_day() -> None:
    plan = SimulationPlan(seed=4, n_entities=10, drifts=DRIFTS)
    rows = injected_drift("post", SIMULATION, plan, [date(2024, 3, 1), date(2024, 3, 2)])
    assert list(rows.columns) == list(SIMULATED_DRIFT.column_names)
    assert list(zip(rows["injection"], rows["intensity"], strict=True)) == [(1, 0.0), (2, 0.5), (1, 0.5), (2, 1.0)]
    assert rows["effect"].tolist() == ["routes slow down", "weights in grams"] * 2
    assert rows["day_at"].iloc[0] == datetime(2024, 3, 1, tzinfo=UTC)


def test_a_world_without_drift_has_no_rows() -> None:
    assert injected_drift("post", SIMULATION, SimulationPlan(n_entities=1, drifts=()), [date(2024, 3, 1)]).empty
