"""The champion before is watched after a promotion alone; what breaks beside it stops no decision."""

from datetime import timedelta

import pytest

from shadow_platform.assets.gates.sequences import gave_way_at, models_to_judge, opened
from shadow_platform.assets.promotion.promoting import follow, pending_decision
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.tables import GATE_DECISIONS, PREDICTIONS, SHADOW_COMPARISONS
from shadow_platform.contracts.use_case import RolloutPolicy
from shadow_platform.contracts.verdicts import Decision, GateSequence, Purpose
from shadow_platform.domain.promotion import Action
from shadow_platform_tests.assets.gate_home import (
    AS_OF,
    USE_CASE,
    change_rows,
    decide,
    promote,
    served_home,
    stored,
)
from shadow_platform_tests.assets.rolling import LOGGER, Rolling
from shadow_platform_tests.assets.served import CHALLENGER, CHAMPION, FIRST_DAY, Home, ServedPlatform

HAND = {"actor": "somebody", "reason": "by hand"}


@pytest.fixture
def rolling(layout: Layout) -> Rolling:
    """Champion 1, and challenger 2 in the shadow."""
    return Rolling(layout, RolloutPolicy())


@pytest.fixture(scope="module")
def decided(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A served home on which a gate has decided to promote."""
    made = served_home(Layout(tmp_path_factory.mktemp("watch") / "home"))
    decide(made)
    return made


def promoted(rolling: Rolling, version: str, watcher: str) -> None:
    """A version made champion, the one before put beside it."""
    rolling.platform.deploy(rolling.use_case, "promote", version=version, **HAND)
    rolling.platform.deploy(rolling.use_case, "add_challenger", version=watcher, **HAND)


def judged(rolling: Rolling) -> list[tuple[Purpose, str]]:
    found = models_to_judge(rolling.platform, rolling.use_case, rolling.manifest, None)
    return [(purpose, model.version) for purpose, model in found]


def challenge(rolling: Rolling, version: str) -> GateSequence:
    """The sequence of a challenger, opened or continued."""
    found = models_to_judge(rolling.platform, rolling.use_case, rolling.manifest, version)
    ((purpose, model),) = found
    assert purpose is Purpose.CHALLENGE
    return opened(rolling.platform, rolling.use_case, rolling.manifest.champion, model, purpose)


def watch(rolling: Rolling) -> GateSequence:
    """The sequence of the watch that is on."""
    (purpose, model), *_ = models_to_judge(rolling.platform, rolling.use_case, rolling.manifest, None)
    assert purpose is Purpose.WATCH
    return opened(rolling.platform, rolling.use_case, rolling.manifest.champion, model, purpose)


def test_the_champion_before_is_watched_first_and_for_as_long_as_the_policy_says(rolling: Rolling) -> None:
    promoted(rolling, "2", watcher="1")
    rolling.shadow((0.05, -2.0))

    assert judged(rolling) == [(Purpose.WATCH, "1"), (Purpose.CHALLENGE, "3")]

    rolling.now += rolling.use_case.watch_span
    assert judged(rolling) == [(Purpose.CHALLENGE, "3"), (Purpose.CHALLENGE, "1")]


def test_of_two_challengers_the_one_that_shadows_for_longer_takes_the_first_place_of_the_family(
    rolling: Rolling,
) -> None:
    rolling.now += timedelta(days=1)
    rolling.shadow((0.05, -2.0))

    assert [model.version for model in rolling.manifest.challengers] == ["3", "2"]
    assert judged(rolling) == [(Purpose.CHALLENGE, "2"), (Purpose.CHALLENGE, "3")]


@pytest.mark.parametrize("way", ["rollback", "emergency_rollback", "alias"])
def test_a_version_that_was_rolled_back_has_to_challenge_on_what_is_answered_from_then_on(
    rolling: Rolling, way: str
) -> None:
    before = challenge(rolling, "2")
    promoted(rolling, "2", watcher="1")
    rolling.now += timedelta(days=3)
    if way == "rollback":
        rolling.platform.deploy(rolling.use_case, "rollback", **HAND)
    elif way == "alias":
        rolling.platform.registry().swap_alias(rolling.use_case.name, "champion", "2", "1")
        rolling.platform.reconcile(rolling.use_case)
    else:
        at = rolling.manifest.generation
        rolling.platform.deploy_without_registry(rolling.use_case, "emergency_rollback", expected_generation=at, **HAND)
    rolling.platform.deploy(rolling.use_case, "add_challenger", version="2", **HAND)

    assert (rolling.manifest.champion.version, rolling.manifest.previous.version) == ("1", "2")  # type: ignore[union-attr]
    assert judged(rolling) == [(Purpose.CHALLENGE, "2")]
    after = challenge(rolling, "2")
    assert (after.evidence_from, after.ordinal) == (rolling.now, before.ordinal + 1)
    rolling.now += timedelta(days=1)
    assert challenge(rolling, "2") == after


def test_while_the_audit_trail_lacks_a_rollback_the_version_it_took_back_is_compared_anew_as_well(
    rolling: Rolling,
) -> None:
    promoted(rolling, "2", watcher="1")
    rows, now = rolling.platform.transitions(rolling.use_case), rolling.now + timedelta(days=3)
    champion = rolling.manifest.champion.model_copy(update={"version": "1", "since": now})

    assert gave_way_at(champion, "2", rows) == now


def test_a_challenger_that_was_never_taken_back_continues_its_sequence(rolling: Rolling) -> None:
    """Also one that was champion, as long as the champion in force had not served before."""
    third = rolling.shadow((0.05, -2.5))
    before = challenge(rolling, third)
    promoted(rolling, "2", watcher="1")
    rolling.now += rolling.use_case.watch_span
    first = challenge(rolling, "1")
    rolling.platform.deploy(rolling.use_case, "rollback", **HAND)

    assert first.evidence_from < rolling.manifest.previous.since  # type: ignore[union-attr]
    assert challenge(rolling, third) == before


def test_a_version_that_was_rolled_back_is_not_promoted_again_by_what_promoted_it(
    decided: Home, layout: Layout
) -> None:
    home = decided.copied_to(layout)
    (first,) = stored(home)
    promote(home, first.decision_id)
    home.platform.deploy(USE_CASE, "rollback", **HAND)
    home.platform.deploy(USE_CASE, "add_challenger", version=CHALLENGER, **HAND)

    decide(home, as_of=AS_OF + timedelta(days=1))

    second = next(decision for decision in stored(home) if decision.decision_id != first.decision_id)
    assert (first.decision, second.decision) == (Decision.PROMOTE, Decision.WAIT)
    assert (second.purpose, second.maturity.n_requests) == (Purpose.CHALLENGE, 0)


def test_a_version_promoted_again_is_watched_anew_on_what_it_answers_from_then_on(rolling: Rolling) -> None:
    promoted(rolling, "2", watcher="1")
    first = watch(rolling)
    rolling.now += timedelta(days=3)
    rolling.platform.deploy(rolling.use_case, "rollback", **HAND)
    rolling.now += timedelta(days=1)
    promoted(rolling, "2", watcher="1")

    second = watch(rolling)

    assert (first.evidence_from, second.evidence_from) == (rolling.now - timedelta(days=4), rolling.now)
    assert first.sequence_id != second.sequence_id
    assert (first.ordinal, second.ordinal) == (1, 2)
    assert watch(rolling) == second


def test_a_better_champion_before_is_brought_back_though_another_model_cannot_be_judged(
    decided: Home, layout: Layout
) -> None:
    """The new champion answers as the worse model did, the one before as the better one: the world has turned."""
    home = _turned(decided.copied_to(layout))
    broken = home.register(0.05, -2.0)
    home.platform.deploy(USE_CASE, "add_challenger", version=broken, **HAND)
    (layout.bundles / home.platform.registry().get(USE_CASE.name, broken).bundle_hash / "manifest.json").write_text("{")

    with pytest.raises(Exception, match=f"challenge of version {broken} cannot be judged: bundle in .* has hash"):
        decide(home)

    found = next(decision for decision in stored(home) if decision.purpose is Purpose.WATCH)
    assert (found.champion_version, found.challenger_version) == (CHALLENGER, CHAMPION)
    assert found.decision is Decision.PROMOTE, found.reason
    assert pending_decision(home.platform, USE_CASE, None) == (Action.ROLL_BACK, found)
    follow(home.platform, USE_CASE, LOGGER)
    assert home.manifest().champion.version == CHAMPION


def test_a_page_that_cannot_be_written_costs_the_page_alone(decided: Home, layout: Layout) -> None:
    home = decided.copied_to(layout)
    as_of = AS_OF - timedelta(days=1)
    pages = layout.decision_page(USE_CASE.name, "0" * 64).parent
    pages.parent.mkdir(parents=True, exist_ok=True)
    pages.write_text("a file where the folder should be")

    assert decide(home, as_of=as_of, has_page=True).success

    rows = home.lake.read_table(GATE_DECISIONS, USE_CASE).sort_values("as_of")
    assert len(rows) == 2
    assert rows["page"].isna().all()


def test_a_challenger_that_fails_every_request_of_late_is_rejected_before_their_outcomes_are_known(
    decided: Home, layout: Layout
) -> None:
    home = decided.copied_to(layout)
    change_rows(home, SHADOW_COMPARISONS, lambda rows: rows.assign(outcome="failed"), day=11)

    decide(home, as_of=AS_OF - timedelta(days=1))

    found = next(decision for decision in stored(home) if decision.as_of < AS_OF - timedelta(hours=1))
    assert found.maturity.n_pending == 60
    assert found.decision is Decision.REJECT
    assert "challenger_error_rate fail: 60 of 720 requests failed" in found.reason


def _turned(home: Home) -> Home:
    """The home with the challenger promoted before the first day, and all answers those of its watch."""
    home.platform = ServedPlatform(
        shadow_home=home.platform.shadow_home, simulated_now=(FIRST_DAY - timedelta(hours=1)).isoformat()
    )
    promote(home, stored(home)[0].decision_id)
    home.platform = ServedPlatform(shadow_home=home.platform.shadow_home, simulated_now=AS_OF.isoformat())
    other = {"model_version": CHALLENGER, "bundle_hash": home.manifest().champion.bundle_hash}
    change_rows(home, PREDICTIONS, lambda rows: rows.assign(**other, logged_at=rows["requested_at"]))
    roles = {"champion_version": CHALLENGER, "challenger_version": CHAMPION}
    change_rows(home, SHADOW_COMPARISONS, lambda rows: rows.assign(**roles, compared_at=rows["requested_at"]))
    return home
