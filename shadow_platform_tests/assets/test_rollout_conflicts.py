"""A rollout among others: people who act by hand, a registry that is away, retraining, decisions that are used up."""

from datetime import timedelta
from typing import Any

import pytest

from shadow_platform.assets.promotion import promoting
from shadow_platform.contracts.errors import RegistryError
from shadow_platform.contracts.rollouts import RolloutState
from shadow_platform.contracts.verdicts import Decision, Purpose
from shadow_platform.domain.promotion import Plan, plan
from shadow_platform_tests.assets.rolling import CANARIES, DAY, HOUR, Play, RollingPlatform, versions
from shadow_platform_tests.assets.served import ServedPlatform


def test_a_watch_brings_the_champion_before_back_while_the_registry_is_away(play: Play) -> None:
    rolling = play()
    rolling.decide()
    rolling.promote()
    rolling.decide(champion_version="2", challenger_version="1", purpose=Purpose.WATCH)
    rolling.away("registry")

    told = rolling.promote(later=DAY)

    assert (versions(rolling), told["action_1"]) == (("1", []), "roll_back")
    assert "does not answer" in told["registry"]
    rolling.away(None)
    assert rolling.platform.registry().alias("shop", "champion") == "2"
    rolling.promote()
    assert rolling.platform.registry().alias("shop", "champion") == "1"


def test_a_used_decision_of_a_watch_does_not_act_against_a_person(play: Play) -> None:
    rolling = play()
    rolling.decide()
    rolling.promote()
    rolling.decide(champion_version="2", challenger_version="1", purpose=Purpose.WATCH)
    rolling.promote(later=DAY)
    rolling.now += DAY
    said = {"actor": "person", "reason": "labels were wrong"}
    rolling.platform.deploy(rolling.use_case, "promote", version="2", **said)
    rolling.platform.deploy(rolling.use_case, "add_challenger", version="1", **said)

    told = rolling.promote(later=DAY)

    assert versions(rolling) == ("2", ["1"])
    assert "became champion again after this decision" in told["reason_1"]


def test_a_version_that_was_promoted_by_hand_and_rolled_back_is_not_promoted_by_the_decision_of_before(
    play: Play,
) -> None:
    rolling = play()
    rolling.decide()
    rolling.now += DAY
    said = {"actor": "person", "reason": "by hand"}
    rolling.platform.deploy(rolling.use_case, "promote", version="2", **said)
    rolling.now += DAY
    rolling.platform.deploy(rolling.use_case, "rollback", **said)
    rolling.platform.deploy(rolling.use_case, "add_challenger", version="2", **said)

    told = rolling.promote(later=DAY)

    assert versions(rolling) == ("1", ["2"])
    assert "became champion again after this decision; evaluate the gate again" in told["reason_2"]


def test_a_person_who_changes_the_deployment_after_the_plan_wins(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    rolling = play()
    rolling.decide()
    rolling.promote()
    rolling.decide(champion_version="2", challenger_version="1", purpose=Purpose.WATCH)
    third = rolling.home.register(0.05, -2.5)

    def planned(*facts: Any) -> Plan:
        found = plan(*facts)
        if rolling.manifest.champion.version == "2":
            rolling.platform.deploy(rolling.use_case, "promote", version=third, actor="person", reason="by hand")
        return found

    monkeypatch.setattr(promoting, "plan", planned)
    told = rolling.promote(later=DAY)

    assert versions(rolling)[0] == third
    assert told["outcome_1"].startswith("outdated: ")


@pytest.mark.parametrize("environment", ["development", "production"], ids=["watched", "awaiting approval"])
def test_retraining_displaces_neither_a_watch_nor_a_version_on_its_way(
    play: Play, environment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENVIRONMENT", environment)
    rolling = play()
    rolling.decide()
    rolling.promote()
    kept = versions(rolling)[1][0]

    newest = [rolling.shadow((0.05, -2.5 - i)) for i in range(3)]

    assert versions(rolling)[1] == [newest[2], newest[1], kept]


def test_a_full_shadow_of_versions_that_are_kept_takes_no_other(play: Play) -> None:
    rolling = play()
    rolling.decide()
    rolling.promote()
    third, fourth = rolling.shadow((0.05, -2.5)), rolling.shadow((0.05, -2.6))
    rolling.platform.deploy(
        rolling.use_case, "start_canary", version=fourth, share=0.05, actor="person", reason="try it"
    )
    rolling.decide(champion_version="2", challenger_version=third)
    rolling.away("bento")
    rolling.promote()

    with pytest.raises(RegistryError, match=r"is full: versions 4, 3, 1 are watched, answer as canary"):
        rolling.shadow((0.05, -2.7))


def test_a_version_that_was_taken_out_of_the_shadow_is_not_barred(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENVIRONMENT", "production")
    rolling = play()
    rolling.decide()
    rolling.promote()
    rolling.platform.deploy(rolling.use_case, "remove_challenger", version="2", actor="person", reason="room")

    told = rolling.promote()

    assert (told["rollout_state"], told["rollout_detail"]) == ("outdated", "version 2 was taken out of the shadow")
    rolling.platform.deploy(rolling.use_case, "add_challenger", version="2", actor="person", reason="again")
    rolling.decide()
    assert "began: awaiting_approval" in rolling.promote()["outcome_2"]


def test_a_promotion_by_hand_ends_the_rollout_and_the_watch_and_is_not_booked_to_the_gate(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    rolling = play()
    rolling.decide()
    rolling.promote()
    third = rolling.shadow((0.05, -2.5))
    rolling.decide(champion_version="2", challenger_version=third)
    monkeypatch.setenv("ENVIRONMENT", "production")
    rolling.promote()

    rolling.platform.deploy(rolling.use_case, "promote", version=third, actor="person", reason="by hand")
    rolling.promote(later=HOUR)

    last = rolling.steps[-1]
    assert (last["state"], last["actor"]) == ("outdated", "person")
    assert last["detail"] == f"version {third} was promoted by hand by person"
    assert versions(rolling) == (third, [])


def test_who_refuses_a_rollout_while_its_canary_begins_is_told_or_leaves_no_canary(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    rolling = play(canary_steps=CANARIES)
    rolling.decide()
    seen = []

    def deploy(self: RollingPlatform, use_case: Any, change: Any, **arguments: Any) -> Any:
        seen.append((change, rolling.rollout.state))
        return ServedPlatform.deploy(self, use_case, change, **arguments)

    monkeypatch.setattr(RollingPlatform, "deploy", deploy)
    rolling.promote()

    assert seen == [("start_canary", RolloutState.CANARY)]


def test_a_rejected_canary_is_taken_back_and_then_waits_for_the_registry(play: Play) -> None:
    rolling = play(canary_steps=CANARIES)
    rolling.decide()
    rolling.promote()
    rolling.decide(Decision.REJECT, reason="harmful")
    rolling.away("registry")

    failures = []
    for minutes in (5, 0.5, 0.6):
        rolling.promote(later=timedelta(minutes=minutes))
        failures.append(rolling.rollout.n_failures)

    assert failures == [1, 1, 2]
    assert rolling.manifest.canary is not None
    assert rolling.manifest.canary.share == 0
    rolling.away(None)
    rolling.promote(later=HOUR)
    assert (versions(rolling), rolling.rollout.state) == (("1", []), RolloutState.HALTED)


def test_five_failures_during_a_canary_do_not_bar_the_version(play: Play) -> None:
    rolling = play(canary_steps=CANARIES)
    rolling.decide()
    rolling.promote()
    rolling.now += HOUR
    rolling.answer_as_canary(100)
    rolling.away("registry")
    for minutes in (2, 2, 6, 31, 61, 1):
        rolling.promote(later=timedelta(minutes=minutes))
    assert rolling.rollout.state is RolloutState.HALTED
    rolling.away(None)
    rolling.decide()

    rolling.promote(later=DAY)

    assert rolling.manifest.canary is not None
    assert (rolling.manifest.canary.share, rolling.rollout.state) == (0.05, RolloutState.CANARY)
