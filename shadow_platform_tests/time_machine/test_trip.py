"""Guarantees of what can be played."""

from datetime import date, timedelta

import pytest

from shadow_platform.contracts.errors import ShadowPlatformError
from shadow_platform.contracts.simulation import SimulationPlan
from shadow_platform.time_machine import plan_trip
from shadow_platform.use_cases import load_use_case
from shadow_platform_tests.tiny import USE_CASE


def test_the_steps_of_a_trip_are_its_days() -> None:
    steps = plan_trip(USE_CASE, "never", start=date(2024, 2, 5), n_days=10, step_days=4).steps()

    assert [first for first, _ in steps[1:]] == [until for _, until in steps[:-1]]
    assert (steps[0][0], steps[-1][1]) == (date(2024, 2, 5), date(2024, 2, 15))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"policy": "hope"}, "known: never, newest, monthly, naive, ours"),
        ({"policy": "ours", "n_days": 400}, "at most 25 days can be played"),
        ({"policy": "ours", "start": date(2024, 1, 1)}, "another --start"),
        ({"policy": "ours", "n_days": 5, "model": "oracle"}, "known: line, trees"),
        ({"policy": "ours", "n_days": 0}, "at least 1"),
    ],
)
def test_what_cannot_be_played_is_refused_with_the_reason(given: dict[str, object], told: str) -> None:
    with pytest.raises(ShadowPlatformError, match=told):
        plan_trip(USE_CASE, **{"start": date(2024, 2, 5), **given})  # type: ignore[arg-type]


def test_a_world_that_can_go_on_lasts_until_the_truth_about_the_last_answer_is_known() -> None:
    use_case = load_use_case("churn")
    trip = plan_trip(use_case, "ours", SimulationPlan(n_entities=20), n_days=180)
    assert use_case.simulation is not None
    assert trip.plan is not None

    last = use_case.simulation.open(trip.plan).last_day()
    assert trip.n_days == 180
    assert last >= trip.end + use_case.label.horizon - timedelta(days=1)


def test_a_longer_world_tells_the_same_of_its_first_days() -> None:
    use_case = load_use_case("churn")
    assert use_case.simulation is not None
    usual, longer = (use_case.simulation.simulator(SimulationPlan(n_entities=20, n_days=n)) for n in (None, 300))

    assert longer.last_day() == usual.last_day() + timedelta(days=40)
    for n in (0, 100, (usual.last_day() - usual.first_day()).days):
        day = usual.first_day() + timedelta(days=n)
        assert longer.received_on(day) == usual.received_on(day)
    assert any(longer.received_on(longer.last_day()).values())
