"""Choosing the world that a home plays: options become a plan, and a plan holds for what was landed."""

from datetime import UTC, date, datetime, time
from pathlib import Path

import pytest

from shadow_platform.cli.simulation import choose, planned
from shadow_platform.contracts.errors import ShadowPlatformError, UseCaseError
from shadow_platform.contracts.simulation import DriftInjection, SimulationPlan
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.resources import PlatformResource
from shadow_platform.use_cases import load_use_case, use_case_names

SIMULATED = tuple(name for name in use_case_names() if load_use_case(name).simulation)


@pytest.fixture(params=SIMULATED)
def use_case(request: pytest.FixtureRequest) -> UseCase:
    """A simulated use case."""
    return load_use_case(request.param)


@pytest.fixture
def platform(tmp_path: Path) -> PlatformResource:
    """An empty home."""
    return PlatformResource(shadow_home=str(tmp_path))


def _story(use_case: UseCase) -> SimulationPlan:
    assert use_case.simulation is not None
    return use_case.simulation.default


def _plan(use_case: UseCase, drift: str | None = None, **options: object) -> SimulationPlan:
    chosen = {"start": None, "size": 0.5, "shape": "sudden", "duration_days": 30, "entities": None, "seed": 0}
    return planned(use_case, drift, **{**chosen, **options})  # type: ignore[arg-type]


def _land(platform: PlatformResource, use_case: UseCase, day: date) -> None:
    path = platform.layout.raw_events(use_case.name, use_case.events[0].name, day)
    path.parent.mkdir(parents=True)
    path.write_text("")


def test_without_options_the_story_of_the_use_case_is_played(use_case: UseCase, platform: PlatformResource) -> None:
    assert _plan(use_case) == _story(use_case)
    assert platform.simulation_plan(use_case) == _story(use_case)
    assert _plan(use_case, "none").drifts == ()


def test_a_chosen_plan_is_what_the_home_plays_from_then_on(use_case: UseCase, platform: PlatformResource) -> None:
    plan = _plan(
        use_case, "concept", start=datetime(2024, 5, 1, tzinfo=UTC), size=0.8, shape="gradual", entities=7, seed=3
    )
    choose(platform, use_case, plan)
    drift = DriftInjection(kind="concept", start=date(2024, 5, 1), size=0.8, shape="gradual", duration_days=30)
    assert platform.simulation_plan(use_case) == SimulationPlan(seed=3, n_entities=7, drifts=(drift,))


def test_days_that_were_landed_keep_the_world_they_came_from(use_case: UseCase, platform: PlatformResource) -> None:
    day = use_case.first_partition
    choose(platform, use_case, _plan(use_case, "none"))
    _land(platform, use_case, day)
    later = _plan(use_case, "concept", start=datetime(2100, 1, 1, tzinfo=UTC))
    choose(platform, use_case, later)
    for other in (
        _plan(use_case, "none", seed=1),
        _plan(use_case, "concept", start=datetime.combine(day, time.min, tzinfo=UTC)),
    ):
        with pytest.raises(ShadowPlatformError, match=f"already holds events of {use_case.name} until {day}"):
            choose(platform, use_case, other)
    assert platform.simulation_plan(use_case) == later


def test_a_plan_that_cannot_be_read_is_named_with_what_to_do(use_case: UseCase, platform: PlatformResource) -> None:
    path = platform.layout.simulation(use_case.name)
    path.parent.mkdir(parents=True)
    path.write_text('{"seed": "many"}')
    with pytest.raises(UseCaseError, match=r"no simulation plan.*seed.*shadow simulation set"):
        platform.event_source(use_case)


def test_real_events_cannot_be_told_what_to_play(platform: PlatformResource) -> None:
    real = next(value for value in map(load_use_case, use_case_names()) if value.simulation is None)
    with pytest.raises(UseCaseError, match=r"the events of .* are real"):
        _plan(real, "none")
    assert platform.simulation_plan(real) is None


def test_a_drift_before_the_first_events_is_refused(use_case: UseCase) -> None:
    first = use_case.first_partition
    with pytest.raises(
        ShadowPlatformError, match=f"--drift-start 1999-01-01 lies before the first events .*, of {first}"
    ):
        _plan(use_case, "label", start=datetime(1999, 1, 1, tzinfo=UTC))


def test_a_size_beyond_belief_is_refused(use_case: UseCase) -> None:
    with pytest.raises(ShadowPlatformError, match=r"--drift-size 1.5 is not in \(0, 1\]"):
        _plan(use_case, "label", size=1.5)
