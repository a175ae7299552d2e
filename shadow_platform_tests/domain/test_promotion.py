"""A decision is acted on only while it is about what is deployed."""

from datetime import UTC, datetime, timedelta

import pytest

from shadow_platform.contracts.deployment import Canary, DeployedModel, DeploymentManifest
from shadow_platform.contracts.ports import RegisteredVersion
from shadow_platform.contracts.verdicts import Criterion, Decision, GateDecision, Outcome, Purpose
from shadow_platform.domain.promotion import Action, in_order, next_challenger, plan
from shadow_platform_tests.rollouts import decision

AT, LATER = datetime(2013, 4, 1, tzinfo=UTC), datetime(2013, 4, 2, tzinfo=UTC)


def model(version: str) -> DeployedModel:
    return DeployedModel(version=version, bundle_hash=f"h{version}", model_name="m", since=AT)


def manifest(champion: str = "1", challengers: tuple[str, ...] = ("2",)) -> DeploymentManifest:
    return DeploymentManifest(
        use_case="tiny",
        generation=3,
        champion=model(champion),
        challengers=tuple(model(version) for version in challengers),
        written_at=AT,
    )


@pytest.mark.parametrize(
    ("verdict", "action"),
    [
        (Decision.PROMOTE, Action.PROMOTE),
        (Decision.REJECT, Action.ARCHIVE),
        (Decision.WAIT, Action.NOTHING),
    ],
)
def test_a_current_decision_is_acted_on(verdict: Decision, action: Action) -> None:
    found = plan(decision(verdict), manifest(), AT)

    assert (found.action, found.version, found.expected_champion) == (action, "2", "1")
    assert "because" in found.reason


@pytest.mark.parametrize(
    ("verdict", "action"),
    [
        (Decision.PROMOTE, Action.ROLL_BACK),
        (Decision.REJECT, Action.ARCHIVE),
        (Decision.WAIT, Action.NOTHING),
    ],
)
def test_a_watch_brings_the_champion_before_back_or_ends(verdict: Decision, action: Action) -> None:
    watched = manifest().model_copy(update={"previous": model("2")})

    assert plan(decision(verdict, purpose=Purpose.WATCH), watched, LATER).action is action


def test_a_watch_decides_nothing_about_a_champion_that_came_after_its_decision() -> None:
    watched = manifest().model_copy(update={"previous": model("2")})

    found = plan(decision(Decision.PROMOTE, purpose=Purpose.WATCH), watched, AT)

    assert (found.action, "became champion again" in found.reason) == (Action.NOTHING, True)


@pytest.mark.parametrize("verdict", [Decision.PROMOTE, Decision.REJECT])
def test_a_decision_from_before_its_champion_was_brought_back_decides_nothing(verdict: Decision) -> None:
    found = plan(decision(verdict), manifest(), AT - timedelta(days=1))

    assert (found.action, "became champion again" in found.reason) == (Action.NOTHING, True)


def test_a_watch_of_a_version_that_is_no_longer_the_champion_before_changes_nothing() -> None:
    watched = manifest().model_copy(update={"previous": model("9")})

    found = plan(decision(Decision.PROMOTE, purpose=Purpose.WATCH), watched, LATER)

    assert found.action is Action.NOTHING
    assert "no longer the champion before this one" in found.reason


@pytest.mark.parametrize("verdict", [Decision.PROMOTE, Decision.REJECT])
@pytest.mark.parametrize(
    ("deployed", "reason"),
    [
        (None, "serves no model yet"),
        (manifest("2", ()), "already is the champion"),
        (manifest("7"), "version 7 serves now; evaluate the gate again"),
        (manifest("1", ("5",)), "not in the shadow (there: 5)"),
        (manifest("1", ()), "there: none"),
    ],
)
def test_an_outdated_decision_changes_nothing(
    verdict: Decision, deployed: DeploymentManifest | None, reason: str
) -> None:
    found = plan(decision(verdict), deployed, AT)

    assert found.action is Action.NOTHING
    assert reason in found.reason


def test_the_promotion_with_the_largest_certain_gain_comes_first() -> None:
    def gaining(verdict: Decision, lower: float) -> GateDecision:
        gain = Criterion(name="log_loss_gain", outcome=Outcome.PASS, value=lower, limit=0.0, n=900, reason="")
        return decision(verdict).model_copy(update={"criteria": (gain,), "reason": f"{verdict} {lower}"})

    small, large = gaining(Decision.PROMOTE, 0.001), gaining(Decision.PROMOTE, 0.01)
    wait, reject = gaining(Decision.WAIT, 0.5), decision(Decision.REJECT)

    assert in_order([reject, small, wait, large])[:2] == [large, small]


def test_a_rollback_comes_before_every_promotion() -> None:
    back, onward = decision(Decision.PROMOTE, purpose=Purpose.WATCH), decision(Decision.PROMOTE)

    assert in_order([onward, back]) == [back, onward]


def versions(n: int) -> list[RegisteredVersion]:
    return [RegisteredVersion("tiny", str(i), "m", f"h{i}", "run", AT, (), {}, {}) for i in range(1, n + 1)]


@pytest.mark.parametrize(
    ("n", "champion", "challengers", "previous", "rejected", "expected"),
    [
        pytest.param(2, "1", (), None, (), "2", id="first deployment"),
        pytest.param(2, "2", (), None, (), "1", id="first deployment, challenger registered first"),
        pytest.param(1, "1", (), None, (), None, id="only the champion"),
        pytest.param(3, "1", ("2",), None, (), "3", id="a newer version"),
        pytest.param(3, "1", ("3",), None, (), None, id="already in the shadow"),
        pytest.param(2, "2", (), "1", (), None, id="after a promotion, nothing new"),
        pytest.param(3, "2", (), "1", (), "3", id="after a promotion, a new version"),
        pytest.param(2, "1", (), "2", (), None, id="after a rollback, not the one rolled back"),
        pytest.param(2, "1", (), None, ("2",), None, id="after a rejection"),
        pytest.param(3, "1", (), None, ("2",), "3", id="after a rejection, a new version"),
        pytest.param(5, "4", (), "2", (), "5", id="no old challenger comes back"),
        pytest.param(4, "4", (), "2", (), None, id="no old challenger comes back, nothing new"),
    ],
)
def test_only_a_version_that_was_never_tried_enters_the_shadow(
    n: int,
    champion: str,
    challengers: tuple[str, ...],
    previous: str | None,
    rejected: tuple[str, ...],
    expected: str | None,
) -> None:
    deployed = manifest(champion, challengers)
    deployed = deployed.model_copy(update={"previous": model(previous) if previous else None})

    found = next_challenger(versions(n), deployed, rejected)

    assert (found.version if found else None) == expected


def test_a_version_that_was_champion_once_is_not_tried_again() -> None:
    deployed = manifest("1", ()).model_copy(update={"previous": model("3")})

    assert next_challenger(versions(3), deployed, (), served=("1", "2", "3")) is None


def test_a_shadow_full_of_versions_that_are_kept_takes_no_newer_one() -> None:
    answering = Canary(model=model("4"), share=0.1, salt="s", started_at=AT)
    full = manifest("1", ("2", "3", "4")).model_copy(update={"previous": model("2"), "canary": answering})

    assert next_challenger(versions(5), full, (), rolling="3") is None
    found = next_challenger(versions(5), full, ())
    assert (found.version if found else None) == "5"
