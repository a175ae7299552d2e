"""The sensor of rollouts: one run a step that is due, none while one waits, and again, later, after one that broke."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
from dagster._core.test_utils import create_run_for_test

from shadow_platform.assets.promotion.promoting import GRACE
from shadow_platform.automation.promoting import build_rollout_sensor
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.use_case import CanaryStep, RolloutPolicy
from shadow_platform.contracts.verdicts import Decision, Purpose
from shadow_platform.definitions import build_definitions
from shadow_platform_tests.assets.rolling import Rolling
from shadow_platform_tests.tiny import USE_CASE as TINY

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
FAILED, SUCCESS, STARTED, NOT_STARTED = (
    dg.DagsterRunStatus[name] for name in ("FAILURE", "SUCCESS", "STARTED", "NOT_STARTED")
)
Tick = Callable[..., Any]


@pytest.fixture
def rolling(layout: Layout) -> Rolling:
    """A canary of 5 %, since now."""
    made = Rolling(layout, RolloutPolicy(canary_steps=(CanaryStep(0.05, HOUR, 0),)), datetime.now(UTC))
    made.decide()
    made.promote()
    return made


@pytest.fixture
def tick(rolling: Rolling, instance: dg.DagsterInstance) -> Tick:
    """One tick some time later; what it asks for is recorded as a run that ends like this."""
    sensor = build_rollout_sensor(rolling.use_case, dg.define_asset_job("shop_promote"))

    def later(by: timedelta, status: dg.DagsterRunStatus = SUCCESS) -> Any:
        rolling.now += by
        context = dg.build_sensor_context(instance=instance, resources={"platform": rolling.platform})
        data = sensor.evaluate_tick(context)
        for request in data.run_requests or []:
            create_run_for_test(instance, job_name="shop_promote", tags=request.tags, status=status)
        return data

    return later


def key(data: Any) -> str | None:
    return data.run_requests[0].run_key if data.run_requests else None


def test_a_step_that_is_due_is_asked_for_once_and_a_step_that_waits_says_why(rolling: Rolling, tick: Tick) -> None:
    assert "canary at 5.0%: not before" in tick(HOUR / 2).skip_message
    due = tick(HOUR / 2, STARTED)
    assert key(due) == f"{rolling.rollout.step_id}:build"
    assert "is not finished" in tick(MINUTE).skip_message


def test_what_is_done_is_no_longer_due(rolling: Rolling, tick: Tick) -> None:
    tick(HOUR)
    rolling.promote()

    assert tick(MINUTE).skip_message == "no rollout is under way"


def test_a_run_that_broke_is_made_up_for_after_a_growing_pause(rolling: Rolling, tick: Tick) -> None:
    _make_due(rolling)

    assert key(tick(timedelta(0), FAILED)) == "due:build"
    assert "1 runs did not take the step that is due" in tick(MINUTE / 2).skip_message
    assert key(tick(MINUTE, FAILED)) == "due:build:attempt-2"
    assert "2 runs did not take the step that is due" in tick(2 * MINUTE).skip_message
    assert key(tick(4 * MINUTE, FAILED)) == "due:build:attempt-3"


def test_a_run_that_was_never_submitted_is_asked_for_under_its_own_key(rolling: Rolling, tick: Tick) -> None:
    _make_due(rolling)

    assert key(tick(timedelta(0), NOT_STARTED)) == "due:build"
    assert key(tick(MINUTE / 4, FAILED)) == "due:build"


def test_a_run_of_another_step_that_was_never_submitted_holds_up_nothing(
    rolling: Rolling, tick: Tick, instance: dg.DagsterInstance
) -> None:
    create_run_for_test(instance, job_name="shop_promote", tags={"shadow/due": "earlier"}, status=NOT_STARTED)
    _make_due(rolling)

    assert key(tick(timedelta(0))) == "due:build"


def test_the_end_of_a_watch_is_due(rolling: Rolling, tick: Tick) -> None:
    rolling.promote(later=HOUR)
    generation = rolling.manifest.generation

    assert tick(29 * 24 * HOUR + rolling.use_case.label.horizon).run_requests == []
    assert key(tick(24 * HOUR)) == f"watch:{generation}"


def test_a_rollback_that_was_decided_and_not_carried_out_is_due(rolling: Rolling, tick: Tick) -> None:
    rolling.promote(later=HOUR)
    regret = rolling.decide(champion_version="2", challenger_version="1", purpose=Purpose.WATCH)

    assert key(tick(MINUTE)) == f"roll_back:{regret.decision_id[:12]}"
    rolling.promote()
    assert tick(MINUTE).skip_message == "no rollout is under way"


@pytest.mark.parametrize(("verdict", "action"), [(Decision.PROMOTE, "promote"), (Decision.REJECT, "archive")])
def test_a_decision_whose_run_died_before_it_acted_is_due_after_a_while(
    rolling: Rolling, tick: Tick, verdict: Decision, action: str
) -> None:
    rolling.promote(later=HOUR)
    rolling.shadow((0.05, -2.0))
    left = rolling.decide(verdict, champion_version="2", challenger_version="3")

    assert tick(MINUTE).run_requests == []
    assert key(tick(GRACE)) == f"{action}:{left.decision_id[:12]}"
    rolling.promote()
    assert action not in str(key(tick(MINUTE)))


def test_a_decision_that_promotion_only_reported_on_waits_for_the_gate(
    rolling: Rolling, tick: Tick, instance: dg.DagsterInstance
) -> None:
    rolling.now -= 2 * HOUR
    rolling.platform.deploy(rolling.use_case, "promote", version="2", actor="person", reason="by hand")
    rolling.promote()
    rolling.shadow((0.05, -2.0))
    rolling.now = datetime.now(UTC) - HOUR
    rolling.decide(Decision.REJECT, champion_version="2", challenger_version="3")
    assert key(tick(HOUR / 2)) is not None
    instance.report_runless_asset_event(dg.AssetMaterialization([rolling.use_case.name, "promotion"]))

    assert tick(HOUR / 2).run_requests == []


def test_aliases_that_an_emergency_left_behind_are_due(rolling: Rolling, tick: Tick) -> None:
    manifest = rolling.manifest
    rolling.halt_by_guard("slow")
    assert key(tick(MINUTE)) == f"{rolling.rollout.step_id}:end"
    rolling.away("registry")
    rolling.promote()
    rolling.away(None)

    assert key(tick(MINUTE)) == f"registry:{manifest.generation + 1}"
    rolling.promote()
    assert tick(MINUTE).skip_message == "no rollout is under way"


def test_it_runs_by_default_and_asks_for_the_job_promote() -> None:
    definitions = build_definitions([TINY])
    sensor = definitions.resolve_sensor_def("tiny_rollouts")

    assert sensor.default_status is dg.DefaultSensorStatus.RUNNING
    assert sensor.job_name == "tiny_promote"
    selected = definitions.resolve_job_def("tiny_promote").asset_layer.selected_asset_keys
    assert {asset.path[-1] for asset in selected} == {"promotion", "rollout_steps", "model_transitions", "warehouse"}


def _make_due(rolling: Rolling) -> None:
    """The canary's hour is over, and it is as late as on the wall, whose clock stamps runs."""
    rolling.now = datetime.now(UTC)
    rolling.platform.record_step(
        rolling.use_case,
        rolling.rollout.model_copy(update={"step_started_at": rolling.now - HOUR, "step_id": "due"}),
        rolling.rollout.step_id,
    )
