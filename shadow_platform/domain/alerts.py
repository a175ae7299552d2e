"""Alerts: from what tables, logs and run records say to what a person on call must know.

Belongs here: which facts are an alert, how bad each is, and its words. Does not belong here: where facts are read
(``automation.alerts``), who is told (``adapters.alerts``). Upstream: ``contracts.alerts``. Downstream: the sensor.
"""

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from shadow_platform.contracts.alerts import Alert, AlertKind, Severity
from shadow_platform.contracts.rollouts import Rollout, RolloutState
from shadow_platform.contracts.verdicts import Outcome

Row = Mapping[str, Any]
Rows = Sequence[Row]

DEFERRED_TOO_LONG = timedelta(hours=24)
RUNS_TOO_LONG = timedelta(hours=6)

SEVERITIES: Mapping[AlertKind, Severity] = {
    AlertKind.DRIFT_FAILED: Severity.WARNING,
    AlertKind.PERFORMANCE_FAILED: Severity.CRITICAL,
    AlertKind.APPROVAL_WANTED: Severity.WARNING,
    AlertKind.PROMOTED: Severity.WARNING,
    AlertKind.ROLLED_BACK: Severity.CRITICAL,
    AlertKind.CANARY_HALTED: Severity.CRITICAL,
    AlertKind.ROLLOUT_FAILED: Severity.WARNING,
    AlertKind.ROLLOUT_STUCK: Severity.WARNING,
    AlertKind.RUN_FAILED: Severity.WARNING,
    AlertKind.TRIGGER_STUCK: Severity.WARNING,
    AlertKind.DECISION_REOPENED: Severity.WARNING,
}
ADVICE: Mapping[AlertKind, str] = {
    AlertKind.DRIFT_FAILED: "Open the drift report of the window; a retraining starts by itself, unless held back.",
    AlertKind.PERFORMANCE_FAILED: "Look at the performance timeline; roll back if the champion was replaced lately.",
    AlertKind.APPROVAL_WANTED: "Read the page of the decision, then approve or refuse the rollout.",
    AlertKind.PROMOTED: "Nothing, if the decision convinces you; `shadow rollback` undoes it within seconds.",
    AlertKind.ROLLED_BACK: "The champion before serves again. Find out what was wrong before a new attempt.",
    AlertKind.CANARY_HALTED: "The champion answers everyone again. Look at `shadow canary status` and the reason.",
    AlertKind.ROLLOUT_FAILED: "The state before stays in force. Remove what made the step fail.",
    AlertKind.ROLLOUT_STUCK: "See what the rollout waits for: traffic, a person, or a step that fails.",
    AlertKind.RUN_FAILED: "Open the run in the Dagster UI and read its first error.",
    AlertKind.TRIGGER_STUCK: "Remove what holds it back, or launch the job by hand.",
    AlertKind.DECISION_REOPENED: "Compare the decision's page with what is known now; roll back if it was wrong.",
}
RANKS = (Severity.INFO, Severity.WARNING, Severity.CRITICAL)


@dataclass(frozen=True, slots=True)
class Facts:
    """What alerts are made of; rows as their tables and logs hold them, in any order.

    Attributes:
        drift: rows of drift_verdicts.
        performance: rows of performance_verdicts.
        transitions: rows of model_transitions, of the generations told of all of them.
        steps: rows of rollout_steps.
        rollout: as it stands; ``None`` before the first.
        triggers: rows of pipeline_runs.
        reviews: rows of gate_reviews.
        failed_runs: ``run_id, job, error, failed_at`` of Dagster runs.
        unfinished_runs: ``run_id, job, status, created_at`` of Dagster runs.
        stuck_after: time after which a step of a rollout is stuck.
    """

    drift: Rows = ()
    performance: Rows = ()
    transitions: Rows = ()
    steps: Rows = ()
    rollout: Rollout | None = None
    triggers: Rows = ()
    reviews: Rows = ()
    failed_runs: Rows = ()
    unfinished_runs: Rows = ()
    stuck_after: timedelta = field(default=timedelta(days=2))


def alerts_of(facts: Facts, use_case: str, now: datetime) -> list[Alert]:
    """Every alert that the facts give, oldest first, each once; the same facts give the same alerts."""
    told = [
        *_verdicts(facts.drift, AlertKind.DRIFT_FAILED),
        *_verdicts(facts.performance, AlertKind.PERFORMANCE_FAILED),
        *_transitions(facts.transitions, {(row["decision_id"], row["version"]) for row in facts.steps}),
        *_steps(facts.steps),
        *_stuck(facts.rollout, facts.stuck_after, now),
        *_triggers(facts.triggers, now),
        *_runs(facts.failed_runs, facts.unfinished_runs, now),
        *_reviews(facts.reviews),
    ]
    alerts = {(alert := news.alert(use_case)).alert_id: alert for news in told}
    return sorted(alerts.values(), key=lambda alert: (alert.occurred_at, alert.alert_id))


def fingerprint(use_case: str, kind: AlertKind, about: str) -> str:
    """Id of an alert: the same thing, told twice, is one alert.

    >>> fingerprint("churn", AlertKind.RUN_FAILED, "r1") == fingerprint("churn", AlertKind.RUN_FAILED, "r1")
    True
    """
    return hashlib.sha256("\0".join((use_case, kind, about)).encode()).hexdigest()[:32]


def is_at_least(severity: Severity | str, lowest: Severity | str) -> bool:
    """Whether an alert is bad enough to be sent.

    >>> is_at_least("critical", "warning"), is_at_least("info", "warning")
    (True, False)
    """
    return RANKS.index(Severity(severity)) >= RANKS.index(Severity(lowest))


@dataclass(frozen=True, slots=True)
class _News:
    """One thing to tell; ``about`` tells it from others of its kind, by default its subject."""

    kind: AlertKind
    subject: str
    title: str
    what: str
    at: datetime
    about: str | None = None

    def alert(self, use_case: str) -> Alert:
        return Alert(
            alert_id=fingerprint(use_case, self.kind, self.about or self.subject),
            use_case=use_case,
            kind=self.kind,
            severity=SEVERITIES[self.kind],
            title=_one_line(f"{use_case}: {self.title}"),
            text=f"{self.what.strip()}\n\nWhat to do: {ADVICE[self.kind]} See docs/alerts.md#{self.kind}.",
            subject=self.subject,
            occurred_at=self.at,
        )


def _verdicts(rows: Rows, kind: AlertKind) -> Iterator[_News]:
    """Failing verdicts that stand: one that was judged anew since, on other data, is told by its successor.

    What goes on failing is told once a day (UTC). Whether a verdict is told depends on the one before it alone, so that
    it stays as it is when older ones are looked at no more.
    """
    replaced = {row["replaces"] for row in rows}
    standing = [
        row for row in rows if row["outcome"] != Outcome.INSUFFICIENT.value and row["evaluation_id"] not in replaced
    ]
    tell = _drift if kind is AlertKind.DRIFT_FAILED else _performance
    before: dict[Any, Row] = {}
    for row in sorted(standing, key=lambda row: (_utc(row["evaluated_at"]), _utc(row["window_end"]))):
        judged = row.get("scope"), row.get("model_version")
        last, before[judged] = before.get(judged), row
        if row["outcome"] == Outcome.FAIL.value and not (last and _fails_on_the_day_of(row, last)):
            title, what = tell(row)
            yield _News(kind, row["evaluation_id"], title, what, _utc(row["evaluated_at"]))


def _fails_on_the_day_of(row: Row, last: Row) -> bool:
    is_same_day = _utc(row["evaluated_at"]).date() == _utc(last["evaluated_at"]).date()
    return is_same_day and last["outcome"] == Outcome.FAIL.value


def _drift(row: Row) -> tuple[str, str]:
    title = f"drift until {_time(row['window_end'])}: {row['headline']}"
    figures = (
        f"Drift score {_number(row['drift_score'])}, {_count(row['n_current'])} requests against "
        f"{_count(row['n_reference'])} of the reference; evaluation {row['evaluation_id']} ({row['scope']})."
    )
    return title, f"{row['explanation']}\n{figures}"


def _performance(row: Row) -> tuple[str, str]:
    title = f"version {row['model_version']} became worse: log loss {_signed(row['increase'])} a request"
    figures = (
        f"Log loss {_number(row['log_loss_reference'])} -> {_number(row['log_loss_current'])} on "
        f"{_count(row['n_current'])} labelled requests until {_time(row['window_end'])}, lower end of the increase "
        f"{_signed(row['increase_low'])}; evaluation {row['evaluation_id']}."
    )
    return title, f"{row['explanation']}\n{figures}"


def _transitions(rows: Rows, rolled: set[tuple[str, str]]) -> Iterator[_News]:
    """Changes of the champion, and canaries that were taken back; a first champion is no news.

    A new champion that was the previous one until then came back: that is a rollback, unless its own rollout did it.

    Args:
        rolled: decision and version of every rollout.
    """
    by_generation: dict[Any, dict[str, Row]] = {}
    for row in rows:
        by_generation.setdefault(row["generation"], {})[row["alias"]] = row
    for moved in by_generation.values():
        champion, canary = moved.get("champion"), moved.get("canary")
        if champion is not None and _is_moved(champion):
            was_previous = moved.get("previous", {}).get("from_version") == champion["to_version"]
            is_back = was_previous and (champion["evidence_id"], champion["to_version"]) not in rolled
            yield _new_champion(champion, is_back)
        elif champion is None and canary is not None and canary["to_version"] is None:
            title = f"canary {canary['from_version']} was taken back by {canary['actor']}"
            yield _transition(AlertKind.CANARY_HALTED, canary, canary["from_version"], title)


def _is_moved(row: Row) -> bool:
    return row["from_version"] not in (None, row["to_version"]) and row["to_version"] is not None


def _new_champion(row: Row, is_back: bool) -> _News:
    new, old = row["to_version"], row["from_version"]
    if is_back:
        title = f"rolled back from version {old} to {new} by {row['actor']}"
        return _transition(AlertKind.ROLLED_BACK, row, old, title)
    return _transition(AlertKind.PROMOTED, row, new, f"version {new} is champion instead of {old}, by {row['actor']}")


def _transition(kind: AlertKind, row: Row, subject: str, title: str) -> _News:
    evidence = f" Evidence: {row['evidence_id']}." if row["evidence_id"] else ""
    what = (
        f"{row['reason']}\nGeneration {row['generation']} of the deployment, {_time(row['transitioned_at'])}.{evidence}"
    )
    return _News(kind, subject, title, what, _utc(row["transitioned_at"]), row["transition_id"])


def _steps(rows: Rows) -> Iterator[_News]:
    """Wanted approval, the first failure in a row, and a rollout that was given up."""
    failing: set[str] = set()
    for row in sorted(rows, key=lambda row: (_utc(row["stepped_at"]), row["step_id"])):
        rollout_id, at = row["rollout_id"], _utc(row["stepped_at"])
        words, about = f"{row['detail']}\n{_of_rollout(row)}", f"{rollout_id}/{row['step_id']}"
        if row["is_failure"] and rollout_id in failing:
            continue
        (failing.add if row["is_failure"] else failing.discard)(rollout_id)
        if row["is_failure"] or row["state"] == RolloutState.HALTED:
            what = f"failed in {_state(row)}" if row["is_failure"] else "was given up"
            title = f"rollout {rollout_id} of version {row['version']} {what}: {row['detail']}"
            yield _News(AlertKind.ROLLOUT_FAILED, rollout_id, title, words, at, about)
        elif row["state"] == RolloutState.AWAITING_APPROVAL:
            title = f"version {row['version']} waits for approval: shadow promote --approve {rollout_id}"
            yield _News(AlertKind.APPROVAL_WANTED, rollout_id, title, words, at)


def _stuck(rollout: Rollout | None, stuck_after: timedelta, now: datetime) -> Iterator[_News]:
    """The step in force, if it lasts for too long."""
    if rollout is None or rollout.state.is_end or now - rollout.step_started_at <= stuck_after:
        return
    row, began = rollout.model_dump(), rollout.step_started_at
    title = f"rollout {rollout.rollout_id} of version {rollout.version} stands in {_state(row)} since {_time(began)}"
    what = f"{rollout.detail}\nA step may last {_span(stuck_after)}. {_of_rollout(row)}"
    about = f"{rollout.rollout_id}/{began.isoformat()}"
    yield _News(AlertKind.ROLLOUT_STUCK, rollout.rollout_id, title, what, began + stuck_after, about)


def _of_rollout(row: Row) -> str:
    return f"Against champion {row['expected_champion']}, decision {row['decision_id']}, by {row['actor']}."


def _state(row: Row) -> str:
    share = row["canary_share"]
    is_none = share is None or math.isnan(share)
    return f"state {row['state']}" + ("" if is_none else f" at {share:.1%} of subjects")


def _triggers(rows: Rows, now: datetime) -> Iterator[_News]:
    for row in rows:
        considered = _utc(row["considered_at"])
        if row["outcome"] == "deferred" and now - considered > DEFERRED_TOO_LONG:
            title = f"no training answers the {row['trigger']} trigger of {_time(considered)} yet"
            what = (
                f"Held back: {row['reason']}\nTrigger {row['trigger_id']} has been waiting since {_time(considered)}, "
                f"longer than {_span(DEFERRED_TOO_LONG)}."
            )
            yield _News(AlertKind.TRIGGER_STUCK, row["trigger_id"], title, what, considered + DEFERRED_TOO_LONG)


def _runs(failed: Rows, unfinished: Rows, now: datetime) -> Iterator[_News]:
    for row in failed:
        title = f"run of {row['job']} failed: {row['error']}"
        what = f"{row['error']}\nRun {row['run_id']} of {row['job']}, {_time(row['failed_at'])}."
        yield _News(AlertKind.RUN_FAILED, row["run_id"], title, what, _utc(row["failed_at"]))
    for row in unfinished:
        created = _utc(row["created_at"])
        if now - created > RUNS_TOO_LONG:
            title = f"run of {row['job']} of {_time(created)} is not finished"
            what = (
                f"Run {row['run_id']} of {row['job']} is {row['status']} for longer than {_span(RUNS_TOO_LONG)}; "
                "other runs of the job wait for it."
            )
            yield _News(AlertKind.TRIGGER_STUCK, row["run_id"], title, what, created + RUNS_TOO_LONG)


def _reviews(rows: Rows) -> Iterator[_News]:
    for row in rows:
        if row["outcome"] == "reopened":
            title = f"decision {row['decision_id'][:12]} would be {row['decision_now']} on what is known now"
            what = f"{row['reason']}\nChanged since: {row['changed']}. Decision {row['decision_id']}."
            about = f"{row['decision_id']}/{row['review_id']}"
            yield _News(AlertKind.DECISION_REOPENED, row["decision_id"], title, what, _utc(row["reviewed_at"]), about)


def digest(alerts: Sequence[Row], n_listed: int = 50) -> tuple[str, str]:
    """Title and text of one message for many alerts: their first lines, the worst first.

    Args:
        alerts: rows of one use case's alerts.
    """
    worst_first = sorted(alerts, key=lambda row: (-RANKS.index(Severity(row["severity"])), _utc(row["occurred_at"])))
    counts = [(rank, sum(row["severity"] == rank for row in alerts)) for rank in reversed(RANKS)]
    counted = ", ".join(f"{n} {rank}" for rank, n in counts if n)
    lines = [f"- [{row['severity']}] {_time(row['occurred_at'])} {row['title']}" for row in worst_first[:n_listed]]
    more = f"\nand {len(alerts) - n_listed} more" if len(alerts) > n_listed else ""
    ending = "All of them, with what to do: `shadow alerts list --text`. See docs/alerts.md."
    title = f"{alerts[0]['use_case']}: {len(alerts)} alerts ({counted})"
    return title, "\n".join(lines) + f"{more}\n\n{ending}"


def worst(severities: Iterable[str]) -> Severity:
    """The worst of them.

    >>> worst(["info", "critical", "warning"]).value
    'critical'
    """
    return max((Severity(severity) for severity in severities), key=RANKS.index)


def _utc(at: datetime | str) -> datetime:
    parsed = datetime.fromisoformat(at) if isinstance(at, str) else at
    return datetime.fromtimestamp(parsed.timestamp(), UTC) if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def _time(at: datetime | str) -> str:
    return f"{_utc(at):%Y-%m-%d %H:%M} UTC"


def _span(span: timedelta) -> str:
    return f"{span / timedelta(hours=1):g} h"


def _number(value: float | None) -> str:
    return "unknown" if value is None or math.isnan(value) else f"{value:.3g}"


def _signed(value: float | None) -> str:
    return "unknown" if value is None or math.isnan(value) else f"{value:+.3g}"


def _count(value: float | None) -> str:
    return "unknown" if value is None or math.isnan(value) else f"{value:,.0f}"


def _one_line(text: str, longest: int = 200) -> str:
    line = " ".join(text.split())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"
