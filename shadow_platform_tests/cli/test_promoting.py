"""What a person says to a rollout, and what ``shadow rollout show`` tells of one."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from typer.testing import CliRunner, Result

from shadow_platform.cli import typer_app
from shadow_platform.contracts.errors import ShadowPlatformError
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.rollouts import RolloutState
from shadow_platform.contracts.use_case import RolloutPolicy
from shadow_platform.contracts.verdicts import Decision
from shadow_platform_tests.assets.rolling import Rolling
from shadow_platform_tests.bento import shop
from shadow_platform_tests.rollouts import HARMED, UNSURE

Command = Callable[..., Result]


@pytest.fixture
def rolling(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> Rolling:
    """A rollout that waits for a person."""
    monkeypatch.setenv("COLUMNS", "200")
    made = Rolling(layout, RolloutPolicy(approval={}), datetime.now(UTC))
    made.decide()
    made.promote()
    return made


@pytest.fixture
def shadow(monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run ``shadow`` as ann; an error is raised."""
    monkeypatch.setenv("LOGNAME", "ann")

    def run(*arguments: str) -> Result:
        found = CliRunner().invoke(typer_app, [*arguments, "--use-case", shop.NAME])
        if isinstance(found.exception, ShadowPlatformError):
            raise found.exception
        return found

    return run


def test_an_approved_rollout_goes_on_and_names_who_approved_it(rolling: Rolling, shadow: Command) -> None:
    said = shadow("promote", "--approve", rolling.rollout.rollout_id)

    assert "approved by ann" in said.output
    rolling.promote()
    assert rolling.manifest.champion.version == "2"
    last = [row for row in rolling.platform.transitions(rolling.use_case) if row["alias"] == "champion"][-1]
    assert "approved by ann" in last["reason"]
    assert [(step["state"], step["actor"]) for step in rolling.steps][:2] == [
        ("awaiting_approval", "gate"),
        ("approved", "ann"),
    ]


def test_a_refused_rollout_ends_with_its_reason_and_no_decision_begins_it_again(
    rolling: Rolling, shadow: Command
) -> None:
    shadow("promote", "--refuse", rolling.rollout.rollout_id, "--reason", "a holiday")

    assert (rolling.rollout.state, rolling.rollout.detail) == (RolloutState.REFUSED, "refused by ann: a holiday")
    rolling.decide()
    assert "was refused (refused by ann: a holiday); only a person" in rolling.promote()["outcome_2"]
    assert rolling.manifest.champion.version == "1"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--approve", "ffff"], "rollout 'ffff' of shop is unknown; there: rollout 000000000000 of version 2"),
        (["--refuse", "000000000000"], "--reason is missing"),
        (["2"], "--reason is missing"),
        ([], "give one of VERSION, --approve ID and --refuse ID"),
        (["2", "--approve", "000000000000"], "give one of VERSION, --approve ID and --refuse ID"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line(
    rolling: Rolling, shadow: Command, arguments: list[str], said: str
) -> None:
    before = rolling.steps
    with pytest.raises(ShadowPlatformError, match=said):
        shadow("promote", *arguments)
    assert rolling.steps == before


def test_a_rollout_that_asks_nobody_cannot_be_approved_again(rolling: Rolling, shadow: Command) -> None:
    shadow("promote", "--approve", rolling.rollout.rollout_id)
    with pytest.raises(ShadowPlatformError, match="is approved and asks nobody"):
        shadow("promote", "--approve", rolling.rollout.rollout_id)


def test_a_rollout_is_not_approved_over_a_newer_decision_that_fails_a_criterion(
    rolling: Rolling, shadow: Command
) -> None:
    against = rolling.decide(Decision.WAIT, criteria=(HARMED,), reason="segments fail: harmed")
    before = rolling.steps

    said = f"is held by decision {against.decision_id[:12]}: segments fail: harmed.*`shadow promote 2 --reason"
    with pytest.raises(ShadowPlatformError, match=said):
        shadow("promote", "--approve", rolling.rollout.rollout_id)

    assert rolling.steps == before
    shown = shadow("rollout", "show").output
    assert f"{against.decision_id[:12]} as of 2024-03-01 00:00 UTC: wait, segments fail: harmed" in shown
    assert f"next: wait, held by decision {against.decision_id[:12]}" in shown
    shadow("promote", "--refuse", rolling.rollout.rollout_id, "--reason", "harm")


def test_whoever_approves_is_told_what_the_gate_says_by_now(rolling: Rolling, shadow: Command) -> None:
    rolling.decide(Decision.WAIT, criteria=(UNSURE,), reason="log_loss_gain insufficient: bounds")

    said = shadow("promote", "--approve", rolling.rollout.rollout_id).output

    assert "wait, log_loss_gain insufficient: bounds" in said
    assert rolling.rollout.state is RolloutState.APPROVED


def test_a_rollout_is_shown_with_its_steps_and_what_comes_next(
    rolling: Rolling, shadow: Command, layout: Layout
) -> None:
    shown = shadow("rollout", "show").output

    assert "rollout 000000000000 of version 2 in place of 1: awaiting_approval" in shown
    assert "next: wait, a person must approve it: `shadow promote --approve 000000000000`" in shown
    layout.rollout("shop").unlink()
    assert "no rollout of shop in" in shadow("rollout", "show").output
