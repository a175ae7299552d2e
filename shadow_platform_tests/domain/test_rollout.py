"""The next step of a rollout, as a table of cases; no case leads to a promotion that something speaks against."""

from dataclasses import replace
from datetime import timedelta
from itertools import product

import pytest

from shadow_platform.contracts.deployment import DeploymentManifest
from shadow_platform.contracts.policies import CanaryStep, RolloutPolicy
from shadow_platform.contracts.rollouts import Rollout, RolloutState
from shadow_platform.contracts.verdicts import Decision, Outcome
from shadow_platform.domain.promotion import (
    BACKOFF,
    MAX_FAILURES,
    Move,
    Seen,
    approval_of,
    next_step,
)
from shadow_platform_tests.rollouts import (
    AT,
    HARMED,
    HOUR,
    STEPS,
    UNSURE,
    canary,
    decision,
    in_canary,
    manifest,
    model,
    rollout,
)

DAY = timedelta(days=1)
DIRECT = RolloutPolicy()
SLOWLY = RolloutPolicy(canary_steps=(CanaryStep(0.05, 7 * DAY, 100),))
AWAITING, APPROVED, CANARY = RolloutState.AWAITING_APPROVAL, RolloutState.APPROVED, RolloutState.CANARY
PROMOTED, HALTED, OUTDATED = RolloutState.PROMOTED, RolloutState.HALTED, RolloutState.OUTDATED
REJECTED = Seen(decision=decision(Decision.REJECT))
SPEAKS_AGAINST = decision(Decision.WAIT, decision_id="e" * 64, criteria=(UNSURE, HARMED))
LACKS = decision(Decision.WAIT, decision_id="f" * 64, criteria=(UNSURE,))


ANSWERING = manifest(canary=canary())
SLOW = Seen(n_requests=400, slo=Outcome.FAIL, slo_reason="p95 900 ms")
ENOUGH = Seen(n_requests=300, slo=Outcome.PASS)


@pytest.mark.parametrize(
    ("begun", "deployed", "policy", "seen", "after", "move", "state", "said"),
    [
        pytest.param(
            rollout(AWAITING),
            manifest(),
            DIRECT,
            Seen(),
            HOUR,
            Move.WAIT,
            AWAITING,
            "--approve dddddddddddd",
            id="asks",
        ),
        pytest.param(
            rollout(AWAITING), manifest(), DIRECT, Seen(), 8 * DAY, Move.END, OUTDATED, "nobody approved", id="gives up"
        ),
        pytest.param(
            rollout(AWAITING), manifest(), DIRECT, REJECTED, HOUR, Move.ARCHIVE, HALTED, "rejected", id="late no"
        ),
        pytest.param(
            rollout(bento=None), manifest(), STEPS, Seen(), HOUR, Move.BUILD, APPROVED, "the Bento", id="builds first"
        ),
        pytest.param(rollout(), manifest(), STEPS, Seen(), HOUR, Move.SHARE, CANARY, "5.0%", id="first share"),
        pytest.param(
            rollout(),
            manifest(canary=canary("7")),
            STEPS,
            Seen(),
            HOUR,
            Move.WAIT,
            APPROVED,
            "version 7",
            id="other canary",
        ),
        pytest.param(rollout(), ANSWERING, STEPS, Seen(), HOUR, Move.SHARE, CANARY, "5.0%", id="died after its start"),
        pytest.param(rollout(), manifest(), DIRECT, Seen(), HOUR, Move.PROMOTE, PROMOTED, "every step", id="at once"),
        pytest.param(
            rollout(bento="tiny:g2-0"),
            manifest(),
            DIRECT,
            Seen(),
            HOUR,
            Move.BUILD,
            APPROVED,
            "has changed",
            id="old Bento",
        ),
        pytest.param(in_canary(), ANSWERING, STEPS, ENOUGH, HOUR / 2, Move.WAIT, CANARY, "not before", id="too early"),
        pytest.param(
            in_canary(), ANSWERING, STEPS, Seen(), HOUR, Move.WAIT, CANARY, "no traffic so far", id="no traffic"
        ),
        pytest.param(
            in_canary(),
            ANSWERING,
            STEPS,
            Seen(n_requests=99),
            HOUR,
            Move.WAIT,
            CANARY,
            "99 requests so far",
            id="too few",
        ),
        pytest.param(
            in_canary(), ANSWERING, STEPS, Seen(), 3 * DAY, Move.WAIT, CANARY, "stuck for more than 2.0", id="stuck"
        ),
        pytest.param(
            in_canary(), ANSWERING, SLOWLY, Seen(), 8 * DAY, Move.WAIT, CANARY, "no traffic", id="a long step"
        ),
        pytest.param(in_canary(), ANSWERING, STEPS, ENOUGH, HOUR, Move.SHARE, CANARY, "25.0%", id="next share"),
        pytest.param(
            in_canary(1), ANSWERING, STEPS, ENOUGH, 2 * HOUR, Move.PROMOTE, PROMOTED, "every step", id="last share"
        ),
        pytest.param(
            in_canary(1, bento="tiny:g2-0"),
            ANSWERING,
            STEPS,
            ENOUGH,
            2 * HOUR,
            Move.BUILD,
            CANARY,
            "has changed",
            id="anew",
        ),
        pytest.param(
            in_canary(1), ANSWERING, DIRECT, Seen(), HOUR, Move.PROMOTE, PROMOTED, "every", id="fewer steps now"
        ),
        pytest.param(in_canary(), ANSWERING, STEPS, SLOW, HOUR, Move.TAKE_BACK, HALTED, "p95 900 ms", id="slow"),
        pytest.param(in_canary(), ANSWERING, STEPS, REJECTED, HOUR, Move.ARCHIVE, HALTED, "rejected", id="harm"),
        pytest.param(
            in_canary(),
            manifest(canary=canary(share=0.0, reason="p95 too high")),
            STEPS,
            ENOUGH,
            HOUR,
            Move.END,
            HALTED,
            "the canary was halted: p95 too high",
            id="halted by the guard",
        ),
        pytest.param(in_canary(), manifest(), STEPS, ENOUGH, HOUR, Move.END, HALTED, "by hand", id="canary taken away"),
        pytest.param(
            in_canary(),
            manifest("7"),
            STEPS,
            ENOUGH,
            HOUR,
            Move.END,
            OUTDATED,
            "version 7 serves now",
            id="other champion",
        ),
        pytest.param(
            rollout(),
            manifest(challengers=("5",)),
            STEPS,
            Seen(),
            HOUR,
            Move.END,
            OUTDATED,
            "taken out of the shadow",
            id="gone",
        ),
        pytest.param(
            rollout(),
            manifest(champion=model("1", AT + HOUR), challengers=(), previous=model("2")),
            STEPS,
            Seen(),
            HOUR,
            Move.END,
            HALTED,
            "was rolled back to 1",
            id="rolled back",
        ),
        pytest.param(
            rollout(CANARY), manifest(), STEPS, Seen(), HOUR, Move.SHARE, CANARY, "5.0%", id="died before its start"
        ),
        pytest.param(
            rollout(past_canary="s"),
            manifest(canary=canary(share=0.0, reason="registry away")),
            STEPS,
            Seen(),
            HOUR,
            Move.SHARE,
            CANARY,
            "5.0%",
            id="an earlier rollout's canary was taken back",
        ),
        pytest.param(
            in_canary(n_failures=1),
            manifest(canary=canary(share=0.0, reason="rejected")),
            STEPS,
            REJECTED,
            timedelta(0),
            Move.WAIT,
            CANARY,
            "tried again after",
            id="harm, registry away",
        ),
        pytest.param(
            in_canary(n_failures=7), ANSWERING, STEPS, REJECTED, HOUR, Move.ARCHIVE, HALTED, "rejected", id="harm first"
        ),
        pytest.param(rollout(), None, STEPS, Seen(), HOUR, Move.END, OUTDATED, "no deployment", id="nothing deployed"),
        pytest.param(
            in_canary(1),
            manifest("2", ()),
            STEPS,
            Seen(),
            HOUR,
            Move.SETTLE,
            PROMOTED,
            "must follow",
            id="died after the swap",
        ),
        pytest.param(
            rollout(AWAITING),
            manifest("2", ()),
            STEPS,
            Seen(promoted_by="person"),
            HOUR,
            Move.END,
            OUTDATED,
            "by hand by person",
            id="by hand",
        ),
        pytest.param(
            in_canary(n_failures=1),
            ANSWERING,
            STEPS,
            ENOUGH,
            -HOUR,
            Move.WAIT,
            CANARY,
            "tried again after",
            id="clock put back",
        ),
        pytest.param(
            in_canary(), ANSWERING, STEPS, ENOUGH, -HOUR, Move.WAIT, CANARY, "not before", id="clock put back, calm"
        ),
    ],
)
def test_the_next_step_is(
    begun: Rollout,
    deployed: DeploymentManifest | None,
    policy: RolloutPolicy,
    seen: Seen,
    after: timedelta,
    move: Move,
    state: RolloutState,
    said: str,
) -> None:
    found = next_step(begun, deployed, policy, seen, AT + after)

    assert (found.move, found.state) == (move, state)
    assert said in found.reason
    assert found.is_stuck == ("stuck" in said)


@pytest.mark.parametrize(
    ("begun", "deployed", "policy", "goes_on"),
    [
        pytest.param(rollout(bento=None), manifest(), DIRECT, Move.BUILD, id="not built"),
        pytest.param(rollout(), manifest(), STEPS, Move.SHARE, id="first share"),
        pytest.param(in_canary(), ANSWERING, STEPS, Move.SHARE, id="next share"),
        pytest.param(in_canary(1), ANSWERING, STEPS, Move.PROMOTE, id="champion"),
    ],
)
def test_a_newer_decision_with_a_failed_criterion_holds_a_rollout_where_it_stands(
    begun: Rollout, deployed: DeploymentManifest, policy: RolloutPolicy, goes_on: Move
) -> None:
    held = next_step(begun, deployed, policy, replace(ENOUGH, decision=SPEAKS_AGAINST), AT + 2 * HOUR)

    assert (held.move, held.state) == (Move.WAIT, begun.state)
    assert held.reason == "held by decision eeeeeeeeeeee: segments fail: harmed: channel=mail +0.0900"
    for newer in (LACKS, decision(Decision.PROMOTE)):
        assert next_step(begun, deployed, policy, replace(ENOUGH, decision=newer), AT + 2 * HOUR).move is goes_on


def test_what_ends_a_rollout_ends_one_that_is_held() -> None:
    harmed = Seen(decision=SPEAKS_AGAINST)
    asks, late = (next_step(rollout(AWAITING), manifest(), DIRECT, harmed, AT + days * DAY) for days in (1, 8))

    assert asks.reason.startswith("held by decision eeeeeeeeeeee")
    assert (late.move, late.state) == (Move.END, OUTDATED)
    assert next_step(in_canary(), ANSWERING, STEPS, replace(SLOW, decision=SPEAKS_AGAINST), AT).move is Move.TAKE_BACK
    assert next_step(in_canary(), ANSWERING, STEPS, harmed, AT + 3 * DAY).is_stuck


@pytest.mark.parametrize("state", [PROMOTED, HALTED, OUTDATED, RolloutState.REFUSED])
def test_nothing_follows_an_end(state: RolloutState) -> None:
    assert next_step(rollout(state), manifest(), DIRECT, REJECTED, AT).move is Move.WAIT


@pytest.mark.parametrize(("n", "pause"), list(enumerate(BACKOFF, start=1)))
def test_a_step_that_failed_is_tried_again_after_a_growing_pause(n: int, pause: timedelta) -> None:
    failed = rollout(n_failures=n, detail="no space left")

    early = next_step(failed, manifest(), DIRECT, Seen(), AT + pause - timedelta(seconds=1))
    assert (early.move, "no space left" in early.reason) == (Move.WAIT, True)
    assert next_step(failed, manifest(), DIRECT, Seen(), AT + pause).move is Move.PROMOTE


@pytest.mark.parametrize(
    ("begun", "deployed", "move", "state"),
    [
        (in_canary(n_failures=MAX_FAILURES), ANSWERING, Move.TAKE_BACK, HALTED),
        (rollout(n_failures=MAX_FAILURES), manifest("2", ()), Move.END, PROMOTED),
    ],
    ids=["before the swap: the champion stays", "behind the swap: it is champion, and what lacks is said"],
)
def test_the_fifth_failure_in_a_row_ends_the_rollout_and_names_it(
    begun: Rollout, deployed: DeploymentManifest, move: Move, state: RolloutState
) -> None:
    found = next_step(begun, deployed, DIRECT, Seen(), AT)

    assert (found.move, found.state) == (move, state)
    assert "as it was" in found.reason


def test_it_promotes_exactly_what_is_approved_built_seen_for_long_enough_and_not_spoken_against() -> None:
    """Every combination of what may be found, at both sides of each limit."""
    promoted = []
    for state, serving, shadowing, answering, verdict, slo, n, hours, n_failures, bento in product(
        (AWAITING, APPROVED, CANARY),
        ("1", "2", "3"),
        (("2",), ("5",)),
        (None, canary(), canary("5"), canary(share=0.0, reason="slow")),
        (None, decision(Decision.PROMOTE), decision(Decision.REJECT), LACKS, SPEAKS_AGAINST),
        Outcome,
        (299, 300),
        (-1, 1, 2),
        (0, MAX_FAILURES),
        (None, "tiny:g2-0", "tiny:g3-0"),
    ):
        begun = rollout(state, canary_step=1 if state is CANARY else None, n_failures=n_failures, bento=bento)
        seen = Seen(n, slo, "slow", verdict)
        deployed = manifest(serving, shadowing, canary=answering)
        if next_step(begun, deployed, STEPS, seen, AT + hours * HOUR).move is Move.PROMOTE:
            assert (state, serving, shadowing, answering) == (CANARY, "1", ("2",), canary())
            assert (n, hours, n_failures, bento) == (300, 2, 0, "tiny:g3-0")
            promoted.append((verdict, slo))

    fine = (Outcome.PASS, Outcome.INSUFFICIENT)
    assert promoted == [(said, slo) for said in (None, decision(Decision.PROMOTE), LACKS) for slo in fine]


@pytest.mark.parametrize(
    ("environments", "approval"),
    [
        ({"staging"}, "automatic"),
        ({"production"}, "person"),
        ({"production", "staging"}, "person"),
        ({"development", "elsewhere"}, "person"),
    ],
)
def test_the_strictest_environment_says_who_approves(environments: set[str], approval: str) -> None:
    assert approval_of(DIRECT, environments) == approval
