"""One tick of a sensor that asks for trainings: from requests that wait to a run, or to the reason why there is none.

Belongs here: what sensors on verdicts and on data do alike. Does not belong here: what asks. Upstream: restraints,
attempts, the ledger. Downstream: ``verdicts``, ``pushed``.
"""

from dataclasses import dataclass

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from shadow_platform.automation.evaluations import Cursor, Pending
from shadow_platform.automation.ledger import Ledger
from shadow_platform.automation.requests import RunConfigOf, TrainingRequest
from shadow_platform.automation.restraints import Restraints
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.resources import PlatformResource

Job = dg.JobDefinition | UnresolvedAssetJobDefinition


@dataclass(frozen=True, slots=True)
class Tick:
    """One evaluation of a sensor."""

    cursor: Cursor
    ledger: Ledger
    restraints: Restraints
    use_case: UseCase
    job_name: str
    run_config: RunConfigOf

    @classmethod
    def of(
        cls,
        context: dg.SensorEvaluationContext,
        platform: PlatformResource,
        use_case: UseCase,
        job: Job,
        run_config: RunConfigOf,
    ) -> "Tick":
        """The tick that a context stands for."""
        return cls(
            Cursor.parse(context.cursor),
            Ledger(platform, use_case, context.instance),
            Restraints(context.instance, platform, use_case, job.name),
            use_case,
            job.name,
            run_config,
        )

    def record_runs(self) -> None:
        """Let pipeline_runs know the runs that started, or ended, since the last tick."""
        self.cursor.recorded_run = self.ledger.record_runs(self.job_name, self.cursor.recorded_run)

    def answer(self, pending: Pending) -> dg.SensorResult:
        """Request the run of the latest request, or say on record why there is none.

        A run that a dying daemon created and never submitted is asked for once more, under its run key.
        """
        held_back = self._held_back(pending)
        return self._start(pending) if held_back is None else held_back

    def _held_back(self, pending: Pending) -> dg.SensorResult | None:
        latest = pending.requests[-1]
        attempts = self.restraints.attempts_at(latest.trigger_id)
        if attempts.is_stranded:
            return None
        if run := attempts.answer:
            self._answered_by(latest, pending)
            told = f"run {run.run_id} was already started for {latest.told}"
            return self.skip(pending, told) if run.is_finished else self.wait(told)
        if reason := self.restraints.reason_to_drop(latest):
            self.ledger.record(pending.requests, "skipped", reason)
            return self.skip(pending, reason)
        if reason := self.restraints.reason_to_wait(latest):
            self.ledger.record(pending.requests, "deferred", reason)
            return self.wait(f"deferred: {reason}")
        return None

    def _start(self, pending: Pending) -> dg.SensorResult:
        """The run of the latest request; the others are answered by it, all of them once it succeeded."""
        latest = pending.requests[-1]
        attempt = self.restraints.attempts_at(latest.trigger_id).next_number
        self.restraints.grant(latest)
        self._answered_by(latest, pending)
        self.ledger.record([latest], "started")
        run = latest.run_request(self.use_case, self.run_config, attempt)
        return dg.SensorResult(run_requests=[run], cursor=self.cursor.text())

    def skip(self, pending: Pending, reason: str) -> dg.SensorResult:
        """Nothing to do; what was read is dealt with."""
        self.cursor.after = pending.seen
        return dg.SensorResult(skip_reason=reason, cursor=self.cursor.text())

    def wait(self, reason: str) -> dg.SensorResult:
        """Nothing to do now; what was read is read again."""
        return dg.SensorResult(skip_reason=reason, cursor=self.cursor.text())

    def _answered_by(self, latest: TrainingRequest, pending: Pending) -> None:
        older = [request for request in pending.requests if request is not latest]
        self.ledger.record(older, "skipped", f"answered by the run for {latest.told}")
