"""Sensors and schedules of ``tiny``, ticked as the daemon ticks them, over an instance without processes.

Belongs here: what several tests of triggers need. Upstream: automation. Downstream: the tests beside it.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pandas as pd
from dagster._core.events import JobFailureData, RunFailureReason
from dagster._core.test_utils import create_run_for_test

from shadow_platform.adapters.lake import Lake
from shadow_platform.automation.nightly import build_schedule
from shadow_platform.automation.requests import TRIGGER_ID_TAG
from shadow_platform.automation.verdicts import DRIFT, VerdictTrigger, build_retrain_sensor
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.tables import LABELS, MODEL_VERSIONS, PIPELINE_RUNS
from shadow_platform.contracts.use_case import RetrainPolicy, UseCase
from shadow_platform.resources import PlatformResource
from shadow_platform_tests.automation.location import EAGER, JOB
from shadow_platform_tests.tiny import USE_CASE as TINY

PATIENT = replace(TINY, retrain=RetrainPolicy(cooldown=timedelta(hours=6), min_new_labels=200))
SUCCESS = dg.DagsterRunStatus.SUCCESS


class Daemon:
    """Ticks a retrain sensor: launches what it requests and keeps its cursor."""

    def __init__(
        self,
        layout: Layout,
        instance: dg.DagsterInstance,
        use_case: UseCase = EAGER,
        trigger: VerdictTrigger = DRIFT,
    ) -> None:
        self.instance = instance
        self.sensor = build_retrain_sensor(use_case, JOB, trigger)
        self.schedule = build_schedule(use_case, JOB)
        self.platform = PlatformResource(shadow_home=str(layout.home))
        self.lake = Lake(layout)
        self.cursor: str | None = None

    def evaluate(self) -> Any:
        """What a tick asks for, before anything is launched or kept."""
        context = dg.build_sensor_context(
            instance=self.instance, cursor=self.cursor, resources={"platform": self.platform}
        )
        return self.sensor.evaluate_tick(context)

    def tick(self, status: dg.DagsterRunStatus = SUCCESS, *, dies: bool = False) -> Any:
        """One tick; with ``dies`` the run is launched but the cursor is not stored."""
        data = self.evaluate()
        self.launch(data, status)
        if not dies:
            self.cursor = data.cursor
        return data

    def launch(self, data: Any, status: dg.DagsterRunStatus = SUCCESS) -> None:
        """The runs that a tick asked for."""
        for request in data.run_requests or []:
            self.run(request.tags, status)

    def run(self, tags: Mapping[str, str], status: dg.DagsterRunStatus = SUCCESS) -> str:
        """A run of the retrain job, recorded without doing anything."""
        run = create_run_for_test(self.instance, job_name=JOB.name, tags=dict(tags), status=status)
        return str(run.run_id)

    def gives_up(self, run_id: str) -> None:
        """Let run monitoring give a run up that did not begin in time."""
        run = self.instance.get_run_by_id(run_id)
        assert run is not None
        late = JobFailureData(error=None, failure_reason=RunFailureReason.START_TIMEOUT)
        self.instance.report_run_failed(run, "Run timed out due to taking longer than 180 seconds to start.", late)

    def night(
        self, at: datetime, status: dg.DagsterRunStatus = SUCCESS, schedule: dg.ScheduleDefinition | None = None
    ) -> Any:
        """One tick of the nightly training, or of another schedule."""
        # Left open, it would leave an instance behind that later tests find closed.
        with dg.build_schedule_context(
            instance=self.instance, scheduled_execution_time=at, resources={"platform": self.platform}
        ) as context:
            data = (schedule or self.schedule).evaluate_tick(context)
        self.launch(data, status)
        return data

    def runs(self) -> list[str | None]:
        """Requests of the runs so far, oldest first."""
        return [run.tags.get(TRIGGER_ID_TAG) for run in reversed(self.instance.get_runs())]

    def decisions(self) -> dict[str, tuple[str, str]]:
        """Outcome and reason in pipeline_runs by request."""
        rows = self.lake.read_table(PIPELINE_RUNS, TINY)
        assert rows["trigger_id"].is_unique
        return {str(row.trigger_id): (str(row.outcome), str(row.reason)) for row in rows.itertuples(index=False)}

    def run_ids(self) -> dict[str, str]:
        """Run in pipeline_runs by request, of requests that have one."""
        rows = self.lake.read_table(PIPELINE_RUNS, TINY).dropna(subset="run_id")
        return dict(zip(rows["trigger_id"], rows["run_id"], strict=True))

    def trained(self, as_of: datetime, created_at: datetime | None = None) -> None:
        """Let a model have been trained."""
        row = {
            "use_case": TINY.name, "version": "1", "model_name": "line", "bundle_hash": "x", "run_id": "x",
            "created_at": created_at or as_of, "trained_as_of": as_of, "metrics": "{}", "parameters": "{}",
            "fingerprints": "{}",
        }  # fmt: skip
        self.lake.append_rows(MODEL_VERSIONS, TINY, [row])

    def labelled(self, at: datetime, n: int) -> None:
        """Let labels have become known."""
        times = pd.to_datetime([at] * n, utc=True)
        rows = {"use_case": TINY.name, "subject_id": [f"s{i}" for i in range(n)], "requested_at": times}
        known = {"label": True, "event_at": times, "known_at": times, "source": "events"}
        self.lake.write_table(LABELS, TINY, at.astimezone(UTC).date(), pd.DataFrame({**rows, **known}))
