"""Samples of a use case's tables and logs: drift, performance, the gate, transitions, labels.

Belongs here: which rows are read. Does not belong here: what they mean (``domain.figures``). Upstream: the lake, the
log of transitions. Downstream: the collector. Large tables are read in their newest partitions only; the warehouse is
not opened at all.
"""

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pandas as pd

from shadow_platform.adapters.lake.newest import newest_time
from shadow_platform.contracts import metrics
from shadow_platform.contracts.tables import (
    DRIFT_VERDICTS,
    GATE_DECISIONS,
    LABELS,
    PERFORMANCE_DAILY,
    PERFORMANCE_VERDICTS,
    PREDICTIONS,
    TableSchema,
)
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.domain.figures import (
    VerdictFigures,
    decision_counts,
    labels_behind,
    newest_log_loss,
    newest_verdicts,
    transition_counts,
)
from shadow_platform.exporter.readings import Reader, Sample
from shadow_platform.resources import PlatformResource

NEWEST_DAYS = 8
"""Partitions that hold the newest verdicts: of a week, and of the day that is not over."""
LABEL_DAYS = 31
_VERDICT = ["evaluation_id", "window_end", "evaluated_at", "outcome", "replaces"]


class UseCaseTables:
    """Reads what the exporter says of one use case."""

    def __init__(self, platform: PlatformResource, use_case: UseCase) -> None:
        self._platform, self._use_case = platform, use_case
        self._lake = platform.lake()

    def readers(self) -> list[Reader]:
        """One reader a source."""
        reads = {
            "drift": self.drift,
            "performance": self.performance,
            "gate": self.gate,
            "transitions": self.transitions,
            "labels": self.labels,
        }
        return [Reader(source, read) for source, read in reads.items()]

    def drift(self) -> Iterable[Sample]:
        """Newest verdicts of each scope."""
        found = self._newest_rows(DRIFT_VERDICTS, [*_VERDICT, "drift_score", "scope"])
        for scope, verdicts in found.groupby("scope"):
            if figures := newest_verdicts(verdicts):
                yield from self._drift_of(str(scope), figures)

    def _drift_of(self, scope: str, figures: VerdictFigures) -> Iterable[Sample]:
        labels = (self._use_case.name, scope)
        if figures.score is not None:
            yield Sample(metrics.DRIFT_SCORE, figures.score, labels)
        if figures.is_failing is not None:
            yield Sample(metrics.DRIFT_FAILING, figures.is_failing, labels)
        yield Sample(metrics.DRIFT_INSUFFICIENT, figures.is_insufficient, labels)
        yield Sample(metrics.DRIFT_EVALUATED, figures.evaluated_at.timestamp(), labels)

    def performance(self) -> Iterable[Sample]:
        """Log loss by day, and the newest verdict on the champion that serves."""
        name = self._use_case.name
        columns = ["day_at", "role", "model_version", "n_labelled", "log_loss"]
        champion, versions = newest_log_loss(self._newest_rows(PERFORMANCE_DAILY, columns))
        if champion is not None:
            yield Sample(metrics.CHAMPION_LOG_LOSS, champion, (name,))
        for (role, version), value in versions.items():
            yield Sample(metrics.MODEL_LOG_LOSS, value, (name, role, version))
        manifest = self._platform.manifest(self._use_case)
        verdicts = self._newest_rows(PERFORMANCE_VERDICTS, [*_VERDICT, "model_version"])
        if manifest is not None:
            figures = newest_verdicts(verdicts[verdicts["model_version"] == manifest.champion.version])
            if figures is not None and figures.is_failing is not None:
                yield Sample(metrics.PERFORMANCE_FAILING, figures.is_failing, (name,))

    def gate(self) -> Iterable[Sample]:
        """Decisions so far."""
        name, columns = self._use_case.name, ["decision", "purpose", "decided_at"]
        decisions = self._lake.read_table(GATE_DECISIONS, name, columns=columns)
        for outcome, n in decision_counts(decisions).items():
            yield Sample(metrics.GATE_DECISIONS, n, (name, outcome))
        if len(decisions):
            newest = decisions["decided_at"].max().timestamp()
            yield Sample(metrics.GATE_LAST_DECISION, newest, (name,))

    def transitions(self) -> Iterable[Sample]:
        """Changes of the deployment so far, from their log."""
        rolled = {(step["decision_id"], step["version"]) for step in self._platform.rollout_steps(self._use_case)}
        for kind, n in transition_counts(self._platform.transitions(self._use_case), rolled).items():
            yield Sample(metrics.MODEL_TRANSITIONS, n, (self._use_case.name, kind))

    def labels(self) -> Iterable[Sample]:
        """How far labels are behind the answers whose label is due."""
        answered = self._lake.table_days(PREDICTIONS, self._use_case)
        if not answered:
            return
        due = self._platform.now() - self._use_case.label.horizon
        behind = labels_behind(
            self._newest_answer(answered, due),
            newest_time(self._newest_files(LABELS, LABEL_DAYS), "requested_at"),
            datetime.combine(answered[0], datetime.min.time(), UTC),
        )
        if behind is not None:
            yield Sample(metrics.LABELS_BEHIND, behind.total_seconds(), (self._use_case.name,))

    def _newest_answer(self, days: list[date], until: datetime) -> datetime | None:
        """Newest request up to a time; of its day there may be later ones alone, hence the days before."""
        for day in [day for day in reversed(days) if day <= until.astimezone(UTC).date()][:NEWEST_DAYS]:
            files = self._lake.files(PREDICTIONS, self._use_case, day, day + timedelta(days=1))
            if newest := newest_time(files, "requested_at", until):
                return newest
        return None

    def _newest_files(self, table: TableSchema, n_days: int) -> list[Path]:
        return self._lake.files(table, self._use_case)[-n_days:]

    def _newest_rows(self, table: TableSchema, columns: list[str]) -> pd.DataFrame:
        days = self._lake.table_days(table, self._use_case)[-NEWEST_DAYS:]
        start = days[0] if days else None
        return self._lake.read_table(table, self._use_case, start, columns=columns)
