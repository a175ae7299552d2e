"""A rollout that something speaks against while it is under way: the guard, a person, or a newer decision."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from shadow_platform.contracts.rollouts import RolloutState
from shadow_platform.contracts.verdicts import Decision
from shadow_platform_tests.assets.rolling import CANARIES, DAY, HOUR, Play, Rolling, RollingPlatform, versions
from shadow_platform_tests.assets.served import ServedPlatform
from shadow_platform_tests.rollouts import HARMED, UNSURE

HAND = {"actor": "person", "reason": "by hand"}


def halted_by_the_guard(rolling: Rolling) -> None:
    rolling.halt_by_guard("p95 900 ms")


def stopped(rolling: Rolling) -> None:
    ServedPlatform.deploy(rolling.platform, rolling.use_case, "stop_canary", **HAND)


def removed(rolling: Rolling) -> None:
    ServedPlatform.deploy(rolling.platform, rolling.use_case, "remove_challenger", version="2", **HAND)


@pytest.mark.parametrize("change", ["set_canary_share", "promote"])
@pytest.mark.parametrize(
    ("act", "state", "said"),
    [
        (halted_by_the_guard, RolloutState.HALTED, "the canary was halted: p95 900 ms"),
        (stopped, RolloutState.HALTED, "the canary was halted: by hand"),
        (removed, RolloutState.OUTDATED, "version 2 was taken out of the shadow"),
    ],
    ids=["halted", "stopped", "removed"],
)
def test_a_canary_that_is_taken_away_behind_the_last_look_is_not_let_on(
    play: Play,
    monkeypatch: pytest.MonkeyPatch,
    change: str,
    act: Callable[[Rolling], None],
    state: RolloutState,
    said: str,
) -> None:
    """Reading what a canary answered takes as long as its step was; what happens meanwhile counts."""
    rolling = play(canary_steps=CANARIES)
    rolling.decide()
    rolling.promote()
    deploy = RollingPlatform.deploy

    def behind(self: RollingPlatform, use_case: Any, what: Any, **arguments: Any) -> Any:
        if what == change and rolling.rollout.canary_share is not None:
            monkeypatch.setattr(RollingPlatform, "deploy", deploy)
            act(rolling)
        return ServedPlatform.deploy(self, use_case, what, **arguments)

    monkeypatch.setattr(RollingPlatform, "deploy", behind)
    for _ in CANARIES:
        rolling.now += HOUR / 2
        if rolling.manifest.canary is not None and rolling.manifest.canary.share > 0:
            rolling.answer_as_canary(100)
        told = rolling.promote(later=HOUR / 2)

    assert (told["rollout_state"], told["rollout_detail"]) == (state.value, said)
    assert versions(rolling)[0] == "1"
    canary = rolling.manifest.canary
    assert canary is None or canary.share == 0
    assert not any(step["is_failure"] for step in rolling.steps)


def test_a_canary_is_held_while_the_newest_decision_fails_a_criterion_and_goes_on_with_the_next(play: Play) -> None:
    rolling = play(canary_steps=CANARIES)
    began = rolling.decide(reason="a gain is shown")
    rolling.promote()
    rolling.now += HOUR / 2
    rolling.answer_as_canary(100)
    against = rolling.decide(Decision.WAIT, criteria=(HARMED,), reason="segments fail: harmed")
    before = rolling.manifest

    told = rolling.promote(later=HOUR / 2)

    held = f"held by decision {against.decision_id[:12]}: segments fail: harmed: channel=mail +0.0900"
    assert (rolling.manifest, told["rollout_state"], told["rollout_detail"]) == (before, "canary", held)
    assert rolling.rollout.detail == held
    rolling.now += HOUR
    rolling.decide(Decision.WAIT, criteria=(UNSURE,), reason="log_loss_gain insufficient: bounds")
    rolling.promote()
    rolling.now += HOUR / 2
    rolling.answer_as_canary(100)
    rolling.promote(later=HOUR / 2)
    assert versions(rolling)[0] == "2"
    rows = [row for row in rolling.platform.transitions(rolling.use_case) if row["actor"] == "gate"]
    assert {row["evidence_id"] for row in rows} == {began.decision_id}
    assert all(row["reason"].endswith("approved by policy: a gain is shown") for row in rows)


def test_a_rollout_that_is_held_until_nobody_can_approve_it_is_given_up(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENVIRONMENT", "production")
    rolling = play()
    rolling.decide()
    rolling.promote()
    rolling.now += DAY
    rolling.decide(Decision.WAIT, criteria=(HARMED,))

    assert "held by decision" in rolling.promote()["rollout_detail"]
    rolling.promote(later=7 * DAY + timedelta(seconds=1))
    assert (versions(rolling)[0], rolling.rollout.state) == ("1", RolloutState.OUTDATED)
