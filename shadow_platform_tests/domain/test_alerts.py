"""From facts to alerts: what is told, once, with figures, and what is not."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shadow_platform.contracts.alerts import Alert, AlertKind, Severity
from shadow_platform.contracts.rollouts import Rollout, RolloutState
from shadow_platform.domain.alerts import ADVICE, SEVERITIES, Facts, alerts_of, digest, is_at_least

NOW = datetime(2024, 3, 5, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def drift(evaluation: str = "e1", outcome: str = "fail", replaces: str | None = None) -> dict[str, Any]:
    return {
        "evaluation_id": evaluation, "outcome": outcome, "replaces": replaces, "window_end": NOW - HOUR,
        "headline": "amount shifted", "explanation": "amount rose by 40 %.", "drift_score": 0.4567, "n_current": 12_345,
        "n_reference": 678, "scope": "daily", "evaluated_at": NOW,
    }  # fmt: skip


def performance(outcome: str = "fail") -> dict[str, Any]:
    return {
        "evaluation_id": "p1", "outcome": outcome, "replaces": None, "window_end": NOW - HOUR, "model_version": "3",
        "explanation": "It became worse.", "log_loss_reference": 0.31, "log_loss_current": 0.42, "increase": 0.11,
        "increase_low": 0.05, "n_current": 5_000, "evaluated_at": NOW,
    }  # fmt: skip


def moved(alias: str, before: str | None, after: str | None, **changed: Any) -> dict[str, Any]:
    return {
        "transition_id": f"{alias}{before}{after}", "alias": alias, "from_version": before, "to_version": after,
        "actor": "gate", "reason": "it is better", "evidence_id": "d1", "generation": 4,
        "transitioned_at": NOW.isoformat(), **changed,
    }  # fmt: skip


def step(state: str, step_id: str = "s1", **changed: Any) -> dict[str, Any]:
    return {
        "step_id": step_id, "rollout_id": "abc123", "version": "7", "expected_champion": "3", "decision_id": "abc123ff",
        "state": state, "canary_share": None, "is_failure": False, "actor": "policy", "detail": "as decided",
        "stepped_at": NOW.isoformat(), **changed,
    }  # fmt: skip


def rollout(state: RolloutState, since: datetime) -> Rollout:
    return Rollout(
        rollout_id="abc123", use_case="shop", version="7", expected_champion="3", decision_id="abc123ff", state=state,
        begun_at=since, step_started_at=since, step_id="s1", stepped_at=since, actor="policy", canary_share=0.05,
        detail="no request was answered by the canary",
    )  # fmt: skip


def trigger(outcome: str, considered_at: datetime) -> dict[str, Any]:
    return {
        "trigger_id": "e1", "trigger": "drift", "outcome": outcome, "reason": "cooldown", "considered_at": considered_at
    }  # fmt: skip


def review(outcome: str) -> dict[str, Any]:
    return {
        "review_id": "r1", "decision_id": "abc123ff", "outcome": outcome, "decision_now": "reject",
        "changed": "labels", "reason": "the challenger is worse by .02", "reviewed_at": NOW,
    }  # fmt: skip


FAILED_RUN = {"run_id": "run1", "job": "shop_retrain", "error": "step fit: no rows", "failed_at": NOW}
OF_EVERY_KIND: Mapping[AlertKind, Facts] = {
    AlertKind.DRIFT_FAILED: Facts(drift=[drift()]),
    AlertKind.PERFORMANCE_FAILED: Facts(performance=[performance()]),
    AlertKind.APPROVAL_WANTED: Facts(steps=[step("awaiting_approval")]),
    AlertKind.PROMOTED: Facts(transitions=[moved("champion", "3", "7"), moved("previous", "2", "3")]),
    AlertKind.ROLLED_BACK: Facts(transitions=[moved("champion", "7", "3"), moved("previous", "3", "7")]),
    AlertKind.CANARY_HALTED: Facts(transitions=[moved("canary", "7", None, actor="slo-guard")]),
    AlertKind.ROLLOUT_FAILED: Facts(steps=[step("canary", is_failure=True, detail="registry: connection refused")]),
    AlertKind.ROLLOUT_STUCK: Facts(rollout=rollout(RolloutState.CANARY, NOW - 49 * HOUR)),
    AlertKind.RUN_FAILED: Facts(failed_runs=[FAILED_RUN]),
    AlertKind.TRIGGER_STUCK: Facts(triggers=[trigger("deferred", NOW - 25 * HOUR)]),
    AlertKind.DECISION_REOPENED: Facts(reviews=[review("reopened")]),
}
FIGURES = {
    AlertKind.DRIFT_FAILED: ("0.457", "12,345"),
    AlertKind.PERFORMANCE_FAILED: ("0.31 -> 0.42", "5,000", "+0.05"),
    AlertKind.APPROVAL_WANTED: ("champion 3", "abc123ff"),
    AlertKind.PROMOTED: ("Generation 4", "d1"),
    AlertKind.ROLLED_BACK: ("Generation 4", "it is better"),
    AlertKind.CANARY_HALTED: ("Generation 4",),
    AlertKind.ROLLOUT_FAILED: ("connection refused",),
    AlertKind.ROLLOUT_STUCK: ("48 h", "no request was answered"),
    AlertKind.RUN_FAILED: ("run1", "no rows"),
    AlertKind.TRIGGER_STUCK: ("24 h", "cooldown"),
    AlertKind.DECISION_REOPENED: ("labels", "worse by .02"),
}


def told(facts: Facts) -> list[Alert]:
    return alerts_of(facts, "shop", NOW)


@pytest.mark.parametrize("kind", AlertKind)
def test_every_kind_is_told_with_figures_and_what_to_do(kind: AlertKind) -> None:
    (alert,) = told(OF_EVERY_KIND[kind])

    assert alert.kind is kind
    assert alert.severity is SEVERITIES[kind]
    assert alert.title.startswith("shop: ")
    for figure in FIGURES[kind]:
        assert figure in alert.text
    assert alert.text.endswith(f"What to do: {ADVICE[kind]} See docs/alerts.md#{kind}.")


@pytest.mark.parametrize("kind", AlertKind)
def test_the_same_thing_keeps_its_id_and_its_time_whenever_it_is_looked_at(kind: AlertKind) -> None:
    facts = OF_EVERY_KIND[kind]

    (later,) = alerts_of(facts, "shop", NOW + 3 * HOUR)

    assert [later] == told(facts)
    assert alerts_of(facts, "other", NOW)[0].alert_id != later.alert_id


@pytest.mark.parametrize(
    "facts",
    [
        Facts(drift=[drift(outcome="pass"), drift("e2", outcome="insufficient")]),
        Facts(performance=[performance("pass"), performance("insufficient")]),
        Facts(transitions=[moved("champion", None, "1", actor="bootstrap")]),
        Facts(transitions=[moved("challenger", None, "7"), moved("challenger", "7", None)]),
        Facts(transitions=[moved("canary", None, "7")]),
        Facts(transitions=[moved("canary", "7", "7")]),
        Facts(steps=[step("approved"), step("canary", "s2"), step("promoted", "s3")]),
        Facts(steps=[step("refused"), step("outdated", "s2")]),
        Facts(rollout=rollout(RolloutState.CANARY, NOW - 48 * HOUR)),
        Facts(rollout=rollout(RolloutState.PROMOTED, NOW - 480 * HOUR)),
        Facts(triggers=[trigger("deferred", NOW - 24 * HOUR), trigger("skipped", NOW - 99 * HOUR)]),
        Facts(unfinished_runs=[{"run_id": "r", "job": "j", "status": "started", "created_at": NOW - 6 * HOUR}]),
        Facts(reviews=[review("changed")]),
    ],
)
def test_what_is_as_it_should_be_is_not_told(facts: Facts) -> None:
    assert told(facts) == []


def test_a_verdict_that_was_judged_anew_is_told_by_its_successor_alone() -> None:
    again = told(Facts(drift=[drift("e1"), drift("e2", replaces="e1")]))
    passed = told(Facts(drift=[drift("e1"), drift("e2", "pass", replaces="e1")]))

    assert [alert.subject for alert in again] == ["e2"]
    assert passed == []


def test_a_canary_that_becomes_champion_was_not_taken_back() -> None:
    rows = [moved("champion", "3", "7"), moved("previous", None, "3"), moved("canary", "7", None)]

    assert [alert.kind for alert in told(Facts(transitions=rows))] == [AlertKind.PROMOTED]


def test_a_previous_champion_that_a_rollout_brings_is_promoted_and_not_rolled_back() -> None:
    rows = [moved("champion", "7", "3", evidence_id="abc123ff"), moved("previous", "3", "7")]

    found = told(Facts(transitions=rows, steps=[step("promoted", version="3")]))
    assert [alert.kind for alert in found] == [AlertKind.PROMOTED]


@pytest.mark.parametrize(
    ("before", "told_of"),
    [
        ([], ["e3"]),
        ([{"outcome": "fail"}], ["e0"]),
        ([{"outcome": "fail"}, {"outcome": "insufficient"}], ["e0"]),
        ([{"outcome": "fail"}, {"outcome": "pass"}], ["e0", "e3"]),
        ([{"outcome": "fail", "scope": "live"}], ["e0", "e3"]),
        ([{"outcome": "fail", "evaluated_at": NOW - 24 * HOUR}], ["e0", "e3"]),
        ([{"outcome": "fail", "evaluation_id": "replaced"}], ["e3"]),
    ],
)
def test_a_failing_verdict_is_news_unless_the_one_before_it_failed_the_same_day(
    before: list[dict[str, Any]], told_of: list[str]
) -> None:
    older = [{**drift(f"e{n}"), "evaluated_at": NOW - (3 - n) * HOUR, **changed} for n, changed in enumerate(before)]

    alerts = told(Facts(drift=[drift("e3", replaces="replaced"), *older]))

    assert [alert.subject for alert in alerts] == told_of


def test_a_version_that_became_worse_is_told_whatever_the_version_before_did() -> None:
    rows = [performance(), {**performance(), "evaluation_id": "p2", "model_version": "4"}]

    assert [alert.subject for alert in told(Facts(performance=rows))] == ["p1", "p2"]


def test_a_champion_that_its_rollout_takes_back_is_rolled_back() -> None:
    rows = [moved("champion", "7", "3", evidence_id="abc123ff"), moved("previous", "3", "7")]

    found = told(Facts(transitions=rows, steps=[step("approved", version="7")]))
    assert [alert.kind for alert in found] == [AlertKind.ROLLED_BACK]


def test_failures_in_a_row_are_told_once_and_the_next_ones_again() -> None:
    at = [NOW + n * HOUR for n in range(5)]
    steps = [
        step("approved", "s1", is_failure=True, stepped_at=at[0].isoformat()),
        step("approved", "s2", is_failure=True, stepped_at=at[1].isoformat()),
        step("canary", "s3", stepped_at=at[2].isoformat()),
        step("canary", "s4", is_failure=True, stepped_at=at[3].isoformat()),
        step("halted", "s5", stepped_at=at[4].isoformat(), detail="5 attempts failed"),
    ]

    alerts = told(Facts(steps=steps))

    assert [alert.occurred_at for alert in alerts] == [at[0], at[3], at[4]]
    assert "was given up: 5 attempts failed" in alerts[-1].title


def test_a_run_that_does_not_end_is_stuck() -> None:
    run = {"run_id": "r", "job": "shop_retrain", "status": "queued", "created_at": NOW - 7 * HOUR}

    (alert,) = told(Facts(unfinished_runs=[run]))

    assert (alert.kind, alert.subject, alert.occurred_at) == (AlertKind.TRIGGER_STUCK, "r", NOW - HOUR)
    assert "queued" in alert.text


def test_a_title_is_one_short_line_whatever_an_error_says() -> None:
    error = "boom\r\nBcc: everybody@example.org\n" + "x" * 500

    (alert,) = told(Facts(failed_runs=[{**FAILED_RUN, "error": error}]))

    assert len(alert.title) <= 200
    assert "\n" not in alert.title
    assert "\r" not in alert.title


def test_alerts_come_oldest_first() -> None:
    facts = Facts(drift=[drift()], triggers=[trigger("deferred", NOW - 30 * HOUR)])

    assert [alert.kind for alert in told(facts)] == [AlertKind.TRIGGER_STUCK, AlertKind.DRIFT_FAILED]


def test_many_alerts_make_one_message_with_the_worst_first() -> None:
    facts = Facts(
        transitions=[moved("champion", "7", "3"), moved("previous", "3", "7")],
        drift=[{**drift(f"e{n}"), "scope": f"live {n}"} for n in range(60)],
    )
    rows = [alert.model_dump() for alert in told(facts)]

    title, text = digest(rows)

    assert title == "shop: 61 alerts (1 critical, 60 warning)"
    lines = text.splitlines()
    assert lines[0].startswith("- [critical] 2024-03-05 12:00 UTC shop: rolled back")
    assert len([line for line in lines if line.startswith("- ")]) == 50
    assert "and 11 more" in lines


@pytest.mark.parametrize("missing", [None, float("nan")])
def test_a_figure_that_is_missing_is_called_unknown(missing: float | None) -> None:
    (alert,) = told(Facts(drift=[{**drift(), "drift_score": missing, "n_reference": missing}]))

    assert "Drift score unknown" in alert.text
    assert "None" not in alert.text
    assert "nan" not in alert.text


def test_every_kind_has_a_severity_and_advice() -> None:
    assert set(SEVERITIES) == set(ADVICE) == set(OF_EVERY_KIND) == set(AlertKind)


def test_severities_are_ordered() -> None:
    order = [Severity.INFO, Severity.WARNING, Severity.CRITICAL]

    assert [[is_at_least(a, b) for b in order] for a in order] == [
        [True, False, False],
        [True, True, False],
        [True, True, True],
    ]
