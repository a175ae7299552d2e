"""A decision is acted on only while it is about what is deployed."""

from datetime import UTC, datetime

import pytest

from shadow_platform.contracts.deployment import DeployedModel, DeploymentManifest
from shadow_platform.contracts.ports import RegisteredVersion
from shadow_platform.contracts.verdicts import Criterion, Decision, GateDecision, Outcome
from shadow_platform.domain.promotion import Action, in_order, next_challenger, plan

AT = datetime(2013, 4, 1, tzinfo=UTC)


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


def decision(verdict: Decision) -> GateDecision:
    return GateDecision(
        decision_id="d",
        use_case="tiny",
        champion_version="1",
        challenger_version="2",
        as_of=AT,
        decision=verdict,
        criteria=(),
        reason="because",
        fingerprints={},
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
    found = plan(decision(verdict), manifest())

    assert (found.action, found.version, found.expected_champion) == (action, "2", "1")
    assert "because" in found.reason


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
    found = plan(decision(verdict), deployed)

    assert found.action is Action.NOTHING
    assert reason in found.reason


def test_the_promotion_with_the_largest_certain_gain_comes_first() -> None:
    def gaining(verdict: Decision, lower: float) -> GateDecision:
        gain = Criterion(name="log_loss_gain", outcome=Outcome.PASS, value=lower, limit=0.0, n=900, reason="")
        return decision(verdict).model_copy(update={"criteria": (gain,), "reason": f"{verdict} {lower}"})

    small, large = gaining(Decision.PROMOTE, 0.001), gaining(Decision.PROMOTE, 0.01)
    wait, reject = gaining(Decision.WAIT, 0.5), decision(Decision.REJECT)

    assert in_order([reject, small, wait, large])[:2] == [large, small]


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
