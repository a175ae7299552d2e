"""What may begin a rollout, and how long the champion before watches."""

from datetime import timedelta
from typing import Any

import pytest

from shadow_platform.contracts.deployment import DeploymentManifest
from shadow_platform.contracts.rollouts import Rollout, RolloutState
from shadow_platform.domain.promotion import (
    History,
    obstacle_to_begin,
    watch_ends_at,
)
from shadow_platform_tests.rollouts import AT, canary, decision, in_canary, manifest, model, rollout

DAY = timedelta(days=1)
PROMOTED, HALTED, OUTDATED = RolloutState.PROMOTED, RolloutState.HALTED, RolloutState.OUTDATED


def row(
    state: RolloutState, version: str = "2", is_failure: bool = False, decision_id: str = "earlier"
) -> dict[str, Any]:
    told = {"version": version, "state": state.value, "is_failure": is_failure, "decision_id": decision_id}
    return {**told, "rollout_id": "r", "detail": "a reason"}


@pytest.mark.parametrize(
    ("current", "rows", "deployed", "said"),
    [
        pytest.param(None, [], manifest(), None, id="the first"),
        pytest.param(rollout(PROMOTED), [row(PROMOTED, "1")], manifest(), None, id="after another"),
        pytest.param(in_canary(version="3"), [], manifest(), "of version 3 is canary", id="another is under way"),
        pytest.param(
            None, [row(OUTDATED, decision_id="d" * 64)], manifest(), "began a rollout already", id="same decision"
        ),
        pytest.param(None, [row(OUTDATED)], manifest(), None, id="nobody had approved it"),
        pytest.param(
            None, [row(RolloutState.REFUSED)], manifest(), "was refused (a reason); only a person", id="refused"
        ),
        pytest.param(None, [row(HALTED)], manifest(), "was halted (a reason); only a person", id="halted"),
        pytest.param(None, [row(HALTED, is_failure=True)], manifest(), None, id="halted by an outage"),
        pytest.param(None, [row(HALTED, "7")], manifest(), None, id="another was halted"),
        pytest.param(
            None,
            [],
            manifest(canary=canary(share=0.0, reason="slow")),
            "was halted as canary (slow)",
            id="canary by hand",
        ),
        pytest.param(
            None,
            [row(HALTED, is_failure=True)],
            manifest(canary=canary(share=0.0, reason="a reason")),
            None,
            id="taken back because steps failed",
        ),
        pytest.param(
            None,
            [row(HALTED, is_failure=True)],
            manifest(canary=canary(share=0.0, reason="slow")),
            "was halted as canary (slow)",
            id="halted by the guard behind failures",
        ),
    ],
)
def test_a_decision_begins_a_rollout_unless(
    current: Rollout | None, rows: list[dict[str, Any]], deployed: DeploymentManifest, said: str | None
) -> None:
    found = obstacle_to_begin(decision(), current, History(tuple(rows)), deployed)

    assert (found is None) == (said is None)
    assert (said or "") in (found or "")


def test_a_watch_lasts_from_the_promotion_for_as_long_as_the_policy_says() -> None:
    watched = manifest("2", ("3", "1"), previous=model("1"))

    assert watch_ends_at(watched, 30 * DAY) == AT + timedelta(days=30)
    assert watch_ends_at(watched, timedelta(0)) is None
    assert watch_ends_at(manifest("2", ("3",), previous=model("1")), 30 * DAY) is None
    assert watch_ends_at(manifest(), 30 * DAY) is None
