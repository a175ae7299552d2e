"""Figures of the exporter: which rows count, and that what nobody knows is no number."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pytest

from shadow_platform.domain.figures import (
    GATE_OUTCOMES,
    TRANSITION_KINDS,
    decision_counts,
    labels_behind,
    newest_log_loss,
    newest_verdicts,
    transition_counts,
)

DAY = datetime(2024, 3, 5, tzinfo=UTC)
VERDICT = ("evaluation_id", "window_end", "evaluated_at", "outcome", "replaces", "drift_score")


def verdicts(*rows: tuple[str, int, str, str | None, float | None]) -> pd.DataFrame:
    """Id, day of the window, outcome, replaced evaluation and score; judged an hour later each."""
    made = [
        (name, DAY + timedelta(days=day), DAY + timedelta(days=30, hours=place), outcome, replaces, score)
        for place, (name, day, outcome, replaces, score) in enumerate(rows)
    ]
    frame = pd.DataFrame(made, columns=VERDICT)
    return frame.assign(replaces=frame["replaces"].astype(object))


def test_the_window_that_ends_last_counts_not_the_one_that_was_judged_last() -> None:
    found = newest_verdicts(verdicts(("new", 2, "fail", None, 0.5), ("old", 1, "pass", None, 0.1)))

    assert found is not None
    assert (found.score, found.is_failing, found.is_insufficient) == (0.5, True, False)
    assert found.evaluated_at == DAY + timedelta(days=30, hours=1)


def test_a_verdict_that_could_not_tell_leaves_the_one_before_in_force() -> None:
    found = newest_verdicts(verdicts(("told", 1, "fail", None, 0.5), ("mute", 2, "insufficient", None, None)))

    assert found is not None
    assert (found.score, found.is_failing, found.is_insufficient) == (0.5, True, True)


def test_a_verdict_that_was_judged_anew_says_nothing_any_more() -> None:
    found = newest_verdicts(verdicts(("a", 1, "fail", None, 0.5), ("b", 1, "pass", "a", 0.1)))

    assert found is not None
    assert (found.score, found.is_failing) == (0.1, False)


@pytest.mark.parametrize("rows", [[], [("mute", 1, "insufficient", None, None)]])
def test_without_a_verdict_that_could_tell_there_is_no_number(rows: list[Any]) -> None:
    found = newest_verdicts(verdicts(*rows))

    assert (found is None) == (rows == [])
    assert found is None or (found.score, found.is_failing, found.is_insufficient) == (None, None, True)


def test_decisions_are_counted_by_outcome_and_a_watch_that_fired_is_a_rollback() -> None:
    made = [("promote", "challenge"), ("wait", "challenge"), ("wait", "watch"), ("promote", "watch")]
    decisions = pd.DataFrame(made, columns=["decision", "purpose"])

    assert decision_counts(decisions) == {"promote": 1, "wait": 2, "reject": 0, "rollback": 1}
    assert decision_counts(decisions[:0]) == dict.fromkeys(GATE_OUTCOMES, 0)


def moved(generation: int, alias: str, before: str | None, after: str | None, evidence: str = "") -> dict[str, Any]:
    """One alias of one generation that changed."""
    row = {"generation": generation, "alias": alias, "from_version": before, "to_version": after}
    return row | {"evidence_id": evidence}


CHANGES = {
    "first": [moved(1, "champion", None, "1")],
    "promotion": [moved(2, "champion", "1", "2"), moved(2, "previous", None, "1"), moved(2, "canary", "2", None)],
    "rollback": [moved(3, "champion", "2", "1"), moved(3, "previous", "1", "2")],
    "canary_start": [moved(4, "canary", None, "3"), moved(4, "challenger", "3", "3")],
    "canary_share": [moved(5, "canary", "3", "3")],
    "canary_stop": [moved(6, "canary", "3", None)],
    "challengers": [moved(7, "challenger", None, "4")],
}


def test_each_change_of_the_deployment_is_of_one_kind() -> None:
    assert set(CHANGES) == set(TRANSITION_KINDS)
    for kind, rows in CHANGES.items():
        assert transition_counts(rows, set()) == dict.fromkeys(TRANSITION_KINDS, 0) | {kind: 1}
    together = [row for rows in CHANGES.values() for row in rows]
    assert transition_counts(together, set()) == dict.fromkeys(TRANSITION_KINDS, 1)


def test_a_former_champion_that_comes_back_by_a_rollout_of_its_own_is_promoted() -> None:
    rows = [moved(3, "champion", "2", "1", "decision"), moved(3, "previous", "1", "2")]

    assert transition_counts(rows, {("decision", "1")})["promotion"] == 1
    assert transition_counts(rows, {("decision", "2")})["rollback"] == 1


def test_the_champion_s_loss_is_that_of_its_newest_labelled_day_weighted_by_labels() -> None:
    days = pd.DataFrame(
        [
            (DAY, "champion", "1", 10, 0.9),
            (DAY + timedelta(days=1), "champion", "1", 30, 0.4),
            (DAY + timedelta(days=1), "champion", "2", 10, 0.8),
            (DAY + timedelta(days=1), "challenger", "3", 40, 0.3),
            (DAY + timedelta(days=2), "champion", "2", 0, None),
        ],
        columns=["day_at", "role", "model_version", "n_labelled", "log_loss"],
    )
    champion, versions = newest_log_loss(days)

    assert champion == pytest.approx(0.5)
    assert versions == {("champion", "1"): 0.4, ("champion", "2"): 0.8, ("challenger", "3"): 0.3}
    assert newest_log_loss(days[:0]) == (None, {})


@pytest.mark.parametrize(
    ("due", "labelled", "hours"),
    [(None, DAY, None), (DAY, DAY - timedelta(hours=3), 3), (DAY, DAY + timedelta(hours=3), 0), (DAY, None, 48)],
)
def test_labels_are_behind_by_what_is_due_and_not_labelled(
    due: datetime | None, labelled: datetime | None, hours: int | None
) -> None:
    found = labels_behind(due, labelled, DAY - timedelta(hours=48))

    assert found == (None if hours is None else timedelta(hours=hours))
