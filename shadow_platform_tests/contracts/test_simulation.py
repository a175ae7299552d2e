"""What a simulation can be told: plans that complete each other, drift whose strength follows its shape."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from shadow_platform.contracts.simulation import DriftInjection, SimulationPlan

START = date(2024, 3, 1)
INJECTIONS = st.builds(
    DriftInjection,
    kind=st.sampled_from(["covariate", "label", "concept", "quality"]),
    start=st.just(START),
    size=st.floats(0.01, 1.0),
    shape=st.sampled_from(["sudden", "gradual", "seasonal"]),
    duration_days=st.integers(1, 400),
)


@given(INJECTIONS, st.integers(-500, 1000))
def test_drift_is_never_felt_before_its_start_nor_above_its_size(drift: DriftInjection, offset: int) -> None:
    intensity = drift.intensity(START + timedelta(days=offset))
    assert 0.0 <= intensity <= drift.size * (1 + 1e-12)
    assert offset >= 0 or intensity == 0.0


@given(INJECTIONS)
def test_sudden_is_whole_at_once_gradual_at_the_end_of_its_ramp_and_seasonal_at_half_its_period(
    drift: DriftInjection,
) -> None:
    days = drift.duration_days
    if drift.shape == "sudden":
        assert drift.intensity(START) == drift.size
    elif drift.shape == "gradual":
        assert drift.intensity(START + timedelta(days=days - 1)) == pytest.approx(drift.size)
        assert drift.intensity(START + timedelta(days=3 * days)) == drift.size
    else:
        assert drift.intensity(START + timedelta(days=days)) == pytest.approx(0.0, abs=1e-9)
        assert days % 2 or drift.intensity(START + timedelta(days=days // 2)) == pytest.approx(drift.size)


def test_a_plan_takes_from_the_default_what_it_leaves_open() -> None:
    story = (DriftInjection(kind="concept", start=START),)
    default = SimulationPlan(n_entities=500, drifts=story)
    assert SimulationPlan(seed=3).or_default(default) == SimulationPlan(seed=3, n_entities=500, drifts=story)
    assert SimulationPlan(n_entities=9, drifts=()).or_default(default) == SimulationPlan(n_entities=9, drifts=())


@given(st.lists(INJECTIONS, max_size=3))
def test_a_plan_survives_its_file(drifts: list[DriftInjection]) -> None:
    plan = SimulationPlan(seed=1, n_entities=10, drifts=tuple(drifts))
    assert SimulationPlan.model_validate_json(plan.model_dump_json()) == plan


@pytest.mark.parametrize(
    ("field", "value"), [("size", 0.0), ("size", 1.5), ("kind", "weather"), ("duration_days", 0), ("shape", "odd")]
)
def test_a_drift_that_cannot_be_played_is_refused_naming_the_field(field: str, value: object) -> None:
    with pytest.raises(ValidationError, match=field):
        DriftInjection.model_validate({"kind": "label", "start": START, field: value})
