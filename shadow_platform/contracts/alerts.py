"""Alerts: what a person on call must know, and where the runbook says what to do.

Upstream: nothing. Downstream: ``domain.alerts`` (from facts to alerts), ``adapters.alerts`` (sending), ``alerts``.
"""

from datetime import datetime
from enum import StrEnum

from shadow_platform.contracts.verdicts import Frozen


class AlertKind(StrEnum):
    """What happened; each has a section of docs/alerts.md of the same name."""

    DRIFT_FAILED = "drift_failed"
    PERFORMANCE_FAILED = "performance_failed"
    APPROVAL_WANTED = "approval_wanted"
    PROMOTED = "promoted"
    ROLLED_BACK = "rolled_back"
    CANARY_HALTED = "canary_halted"
    ROLLOUT_FAILED = "rollout_failed"
    ROLLOUT_STUCK = "rollout_stuck"
    RUN_FAILED = "run_failed"
    TRIGGER_STUCK = "trigger_stuck"
    DECISION_REOPENED = "decision_reopened"


class Severity(StrEnum):
    """How soon somebody must look."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class Alert(Frozen):
    """One alert.

    Attributes:
        alert_id: fingerprint of use case, kind and what it is about: the same thing is told once.
        title: one line.
        text: what happened, with figures, and what to do.
        subject: what it is about: a version, an evaluation, a run, a rollout.
    """

    alert_id: str
    use_case: str
    kind: AlertKind
    severity: Severity
    title: str
    text: str
    subject: str
    occurred_at: datetime
