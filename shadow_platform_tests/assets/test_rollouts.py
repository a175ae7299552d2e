"""A rollout on a real deployment: what each step does, what stays when one fails, who may begin the next."""

from datetime import timedelta
from typing import Any

import pytest

from shadow_platform.contracts.rollouts import RolloutState
from shadow_platform.contracts.tables import MODEL_TRANSITIONS, ROLLOUT_STEPS
from shadow_platform.contracts.verdicts import Decision, Purpose
from shadow_platform_tests.assets.rolling import CANARIES, DAY, HOUR, STEPS, TRANSITIONS, Play, versions


def test_without_canary_steps_one_run_builds_promotes_and_begins_the_watch(play: Play) -> None:
    rolling = play()
    made = rolling.decide()

    told = rolling.promote(promote_challenger=True)

    assert versions(rolling) == ("2", ["1"])
    assert rolling.manifest.probation_until is not None
    assert (told["rollout_state"], told["bento"]) == ("promoted", "shop:g3-0")
    rolling.materialize(TRANSITIONS, STEPS)
    steps = rolling.platform.lake().read_table(ROLLOUT_STEPS, rolling.use_case).sort_values("step_id")
    assert steps["state"].tolist() == ["approved", "approved", "promoted"]
    assert steps["decision_id"].unique().tolist() == [made.decision_id]
    moved = rolling.platform.lake().read_table(MODEL_TRANSITIONS, rolling.use_case)
    swap = moved[moved["alias"].eq("champion") & moved["to_version"].eq("2")].iloc[0]
    assert (swap["actor"], swap["evidence_id"]) == ("gate", made.decision_id)
    assert "approved by policy: because" in swap["reason"]


def test_the_bento_holds_the_deployment_to_come_and_is_built_before_the_alias_moves(play: Play) -> None:
    rolling = play(watch=timedelta(0))
    rolling.away("bento")
    rolling.decide()
    before = rolling.manifest

    rolling.promote()
    assert rolling.manifest == before
    rolling.away(None)
    rolling.promote(later=2 * HOUR)

    held, in_force = rolling.built()[-1], rolling.manifest
    assert (held.generation, held.champion.version, held.challengers) == (in_force.generation, "2", ())
    assert held.champion.bundle_hash == in_force.champion.bundle_hash
    assert held.previous == in_force.previous


def test_a_canary_grows_by_time_and_evidence_until_it_is_champion(play: Play) -> None:
    rolling = play(canary_steps=CANARIES)
    rolling.decide()
    shares = []
    for _ in CANARIES:
        rolling.promote()
        assert rolling.manifest.canary is not None
        shares.append(rolling.manifest.canary.share)
        assert "not before" in rolling.promote(later=HOUR / 2)["rollout_detail"]
        assert "no traffic so far" in rolling.promote(later=HOUR)["rollout_detail"]
        rolling.answer_as_canary(99)
        assert "99 requests so far of the 100" in rolling.promote()["rollout_detail"]
        rolling.answer_as_canary(1)
    rolling.promote()

    assert shares == [0.05, 0.25]
    assert versions(rolling) == ("2", ["1"])
    assert rolling.manifest.canary is None
    assert [step["canary_share"] for step in rolling.steps] == [None, None, None, 0.05, 0.25, 0.25, 0.25]
    assert rolling.rollout.bento == f"shop:g{rolling.manifest.generation - 1}-0"


@pytest.mark.parametrize(
    ("answers", "said"),
    [({"latency_ms": 900.0}, "p95 900 ms"), ({"is_failed": True}, "300 of 300 requests failed")],
    ids=["slow", "failing"],
)
def test_a_canary_that_breaches_the_objectives_is_taken_back_and_not_tried_again(
    play: Play, answers: dict[str, Any], said: str
) -> None:
    rolling = play(canary_steps=CANARIES)
    rolling.decide()
    rolling.promote()
    rolling.now += HOUR / 2
    rolling.answer_as_canary(300, **answers)

    rolling.promote(later=HOUR / 2)

    canary = rolling.manifest.canary
    assert canary is not None
    assert (canary.share, said in (canary.halted_reason or "")) == (0.0, True)
    assert versions(rolling) == ("1", ["2"])
    rolling.decide()
    assert "only a person promotes it" in rolling.promote(later=DAY)["outcome_2"]
    assert rolling.rollout.state is RolloutState.HALTED


def test_a_stall_of_all_workers_takes_no_canary_back(play: Play) -> None:
    """Each worker has a segment of its own, and they are read one after another."""
    rolling = play(canary_steps=CANARIES)
    rolling.decide()
    rolling.promote()
    rolling.now += HOUR
    phases = ((15, 5.0), (10, 900.0), (5, 5.0), (1, 5.0))
    for _ in range(4):
        rolling.log_of_a_worker(
            [
                rolling.canary_answer(i, latency_ms, ago=timedelta(minutes=minutes))
                for minutes, latency_ms in phases
                for i in range(50)
            ]
        )

    rolling.promote()

    assert rolling.manifest.canary is not None
    assert rolling.manifest.canary.halted_reason is None


def test_a_rejected_canary_answers_nobody_and_leaves_the_shadow_with_the_evidence(play: Play) -> None:
    rolling = play(canary_steps=CANARIES)
    rolling.decide()
    rolling.promote()

    harm = rolling.decide(Decision.REJECT, reason="harmful")
    told = rolling.promote(later=HOUR / 2)

    assert (versions(rolling), rolling.manifest.canary) == (("1", []), None)
    assert (told["rollout_state"], "harmful" in told["rollout_detail"]) == ("halted", True)
    rows = rolling.platform.transitions(rolling.use_case)
    assert {row["evidence_id"] for row in rows[-2:]} == {harm.decision_id}


def test_a_person_approves_where_the_policy_says_so(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENVIRONMENT", "production")
    rolling = play()
    rolling.decide()

    told = rolling.promote()

    assert (versions(rolling), told["rollout_state"]) == (("1", ["2"]), "awaiting_approval")
    assert f"shadow promote --approve {rolling.rollout.rollout_id}" in told["rollout_detail"]
    rolling.decide()
    assert "is awaiting_approval" in rolling.promote(later=DAY)["outcome_2"]
    rolling.promote(later=7 * DAY)
    assert rolling.rollout.state is RolloutState.OUTDATED
    rolling.decide()
    assert "began: awaiting_approval" in rolling.promote(later=DAY)["outcome_2"]


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ({"shadow/environment": "production"}, "awaiting_approval"),
        ({"shadow/environment": "staging"}, "approved"),
        ({"shadow/promote": "false"}, "asked not to promote"),
    ],
)
def test_whoever_had_a_version_trained_may_ask_for_more_care_with_it(
    play: Play, tags: dict[str, str], said: str
) -> None:
    rolling = play()
    rolling.home.platform.registry().get("shop", "2").tags.update(tags)
    rolling.decide()

    assert said in rolling.promote()["outcome_2"]


def test_a_failing_build_leaves_the_old_state_waits_longer_each_time_and_gives_up(play: Play) -> None:
    rolling = play()
    rolling.decide()
    rolling.away("bento")
    before, failures = rolling.manifest, []
    for minutes in [0, 0.5, 0.6, 4, 1.1, 31, 59, 2]:
        rolling.promote(later=timedelta(minutes=minutes))
        failures.append(rolling.rollout.n_failures)

    assert failures == [1, 1, 2, 2, 3, 4, 4, 5]
    rolling.promote()
    assert (rolling.manifest, rolling.rollout.state) == (before, RolloutState.HALTED)
    assert "no space left on device" in rolling.rollout.detail
    assert [step["is_failure"] for step in rolling.steps] == [False, *[True] * 6]
    rolling.away(None)
    rolling.decide()
    rolling.promote(later=DAY)
    assert versions(rolling) == ("2", ["1"])


def test_an_outage_of_the_registry_in_the_middle_leaves_nothing_half_done_and_is_made_up_for(play: Play) -> None:
    rolling = play(canary_steps=CANARIES)
    rolling.decide()
    rolling.promote()
    rolling.now += HOUR / 2
    rolling.answer_as_canary(100)
    before = rolling.manifest
    rolling.away("registry")

    told = rolling.promote(later=HOUR)

    assert (rolling.manifest, rolling.rollout.n_failures) == (before, 1)
    assert "does not answer" in told["registry"]
    rolling.away(None)
    rolling.promote(later=HOUR)
    assert (rolling.rollout.canary_share, rolling.rollout.n_failures) == (0.25, 0)


@pytest.mark.parametrize("refusal", ["bundle is torn", None], ids=["refused", "silent"])
def test_a_champion_that_a_worker_does_not_load_is_rolled_back(play: Play, refusal: str | None) -> None:
    rolling = play()
    generation = rolling.manifest.generation
    rolling.worker(generation, refusal, refused=(generation + 1, "2") if refusal else None)
    rolling.decide()

    told = rolling.promote()

    assert versions(rolling)[0] == "1"
    assert (told["rollout_state"], (refusal or "did not load it") in told["rollout_detail"]) == ("halted", True)
    assert rolling.platform.registry().alias("shop", "champion") == "1"


@pytest.mark.parametrize(
    "refused",
    [None, (2, "2"), (99, "3"), (None, None)],
    ids=["nothing refused", "the same model in a deployment before", "a canary beside it", "nobody says what"],
)
def test_a_worker_that_follows_lets_the_promotion_stand(play: Play, refused: tuple[int, str] | None) -> None:
    rolling = play()
    rolling.worker(99, "something is torn" if refused else None, refused)
    rolling.decide()

    assert rolling.promote()["rollout_state"] == "promoted"


def test_a_canary_that_a_worker_does_not_load_is_taken_back(play: Play) -> None:
    rolling = play(canary_steps=CANARIES)
    rolling.worker(99, "canary 2 refused", refused=(99, "2"))
    rolling.decide()

    told = rolling.promote()

    assert (told["rollout_state"], "canary 2 refused" in told["rollout_detail"]) == ("halted", True)
    assert rolling.manifest.canary is not None
    assert rolling.manifest.canary.share == 0


def test_a_watch_brings_the_champion_before_back_at_once(play: Play) -> None:
    rolling = play()
    rolling.decide()
    rolling.promote()

    regret = rolling.decide(reason="it was better", champion_version="2", challenger_version="1", purpose=Purpose.WATCH)
    told = rolling.promote(later=DAY)

    assert (versions(rolling), told["action_1"]) == (("1", []), "roll_back")
    last = [row for row in rolling.platform.transitions(rolling.use_case) if row["alias"] == "champion"][-1]
    assert (last["actor"], last["evidence_id"], last["to_version"]) == ("gate", regret.decision_id, "1")
    assert "it was better" in last["reason"]
    assert rolling.platform.registry().alias("shop", "champion") == "1"


def test_a_watch_ends_after_its_time(play: Play) -> None:
    rolling = play(watch=10 * DAY)
    rolling.decide()
    rolling.promote()
    rolling.promote(later=9 * DAY + rolling.use_case.label.horizon)
    assert versions(rolling) == ("2", ["1"])

    rolling.promote(later=DAY)

    assert versions(rolling) == ("2", [])
    assert "its watch over version 2 ended" in rolling.platform.transitions(rolling.use_case)[-1]["reason"]


def test_a_further_promotion_ends_the_watch_over_the_champion_before(play: Play) -> None:
    rolling = play()
    rolling.decide()
    rolling.promote()
    third = rolling.shadow((0.05, -2.5))
    rolling.decide(champion_version="2", challenger_version=third)

    rolling.promote(later=DAY)

    assert versions(rolling) == (third, ["2"])


def test_a_decision_about_another_champion_is_outdated(play: Play) -> None:
    rolling = play(canary_steps=CANARIES)
    rolling.decide()
    rolling.promote()
    third = rolling.home.register(0.05, -2.5)
    rolling.platform.deploy(rolling.use_case, "promote", version=third, actor="person", reason="by hand")

    told = rolling.promote(later=HOUR)

    assert (told["rollout_state"], "serves now" in told["rollout_detail"]) == ("outdated", True)
    assert versions(rolling) == (third, ["2"])


def test_two_promotions_at_once_end_in_one_champion_and_the_other_is_outdated(play: Play) -> None:
    rolling = play()
    third = rolling.shadow((0.05, -2.5))
    rolling.decide()
    rolling.decide(challenger_version=third)

    told = rolling.promote()

    assert versions(rolling)[0] == "2"
    assert "of version 2 is approved" in told[f"outcome_{third}"]
    again = rolling.promote(later=HOUR)
    assert again[f"action_{third}"] == "nothing"
    assert "version 2 serves now" in again[f"reason_{third}"]


def test_asked_only_to_report_it_begins_nothing(play: Play) -> None:
    rolling = play()
    rolling.decide()

    told = rolling.promote(promote_challenger=False)

    assert told["action_2"] == "promote"
    assert rolling.platform.rollout(rolling.use_case) is None
    assert rolling.steps == []


def test_a_step_that_a_dead_process_did_not_log_is_logged_by_the_next(play: Play) -> None:
    rolling = play(canary_steps=CANARIES)
    rolling.decide()
    rolling.promote()
    before = rolling.steps
    last = sorted(rolling.layout.log("rollouts", "shop").rglob("*.jsonl"))[-1]
    lines = last.read_bytes().splitlines(keepends=True)
    last.write_bytes(b"".join(lines[:-1]))
    assert len(rolling.steps) == len(before) - 1

    rolling.promote()

    assert [step["step_id"] for step in rolling.steps] == [step["step_id"] for step in before]


def test_a_canary_whose_start_was_not_noted_is_noted_and_not_started_again(play: Play) -> None:
    rolling = play(canary_steps=CANARIES)
    rolling.decide()
    rolling.away("registry")
    with pytest.raises(Exception, match="does not answer"):
        rolling.promote()
    rolling.away(None)
    rolling.platform.deploy(
        rolling.use_case, "start_canary", version="2", share=0.05, actor="gate", reason="died behind this"
    )
    before = rolling.manifest

    rolling.promote()

    assert rolling.manifest == before
    assert (rolling.rollout.state, rolling.rollout.canary_share) == (RolloutState.CANARY, 0.05)
