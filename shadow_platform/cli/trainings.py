"""Runs the retrain job for a person, held back as a trigger would be, and says what came of it.

Forced, it is held back only by a training that runs, or is about to.

Upstream: ``retraining``. Downstream: the job retrain, pipeline_runs.
"""

from dataclasses import dataclass
from typing import Any

import dagster as dg
from rich.console import Console

from shadow_platform.automation.ledger import Ledger
from shadow_platform.automation.requests import TrainingRequest
from shadow_platform.automation.restraints import Restraints
from shadow_platform.cli.runs import prepare_dagster_home, run_job
from shadow_platform.contracts.retraining import HOLDS_TAG, NOTHING_TO_DO_TAG
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.definitions import build_definitions
from shadow_platform.partitions import moment
from shadow_platform.resources import PlatformResource
from shadow_platform.use_cases import load_use_case

CONSOLE = Console(soft_wrap=True)


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person asks for; names and meanings as in the launchpad of the job."""

    force_retrain: bool
    promote_challenger: bool
    drift_threshold: float | None
    environment: str
    as_of: str | None

    def run_config(self, use_case: UseCase) -> dict[str, Any]:
        """The wish as the job reads it."""
        asked = {
            "force_retrain": self.force_retrain,
            "promote_challenger": self.promote_challenger,
            "drift_threshold": self.drift_threshold,
            "environment": self.environment,
        }
        config: dict[str, Any] = {f"{use_case.name}__retraining_request": {"config": asked}}
        if self.as_of:
            config[f"{use_case.name}__training_frame"] = {"config": {"as_of": self.as_of}}
        return {"ops": config}


def start_retraining(address: str, wish: Wish) -> int:
    """Train, or say why not; returns the exit code: 1 when there is nothing to do, or something holds it back."""
    platform, use_case = PlatformResource(), load_use_case(address)
    prepare_dagster_home(platform.settings)
    job = build_definitions([use_case]).resolve_job_def(f"{use_case.name}_retrain")
    now = platform.now()
    request = TrainingRequest("manual", f"by-hand-{now:%Y-%m-%dT%H:%M:%S.%f}", moment(wish.as_of, now), now)
    with dg.DagsterInstance.get() as instance:
        ledger, restraints = Ledger(platform, use_case, instance), Restraints(instance, platform, use_case, job.name)
        with restraints.deciding():
            in_the_way = restraints.reason_to_stand_back(request)
            reason = in_the_way if wish.force_retrain else restraints.reason_to_wait(request)
            if reason:
                ledger.record([request], "skipped", reason)
                remedy = "try again when it is over" if in_the_way else "--force trains all the same"
                CONSOLE.print(f"held back: {reason}; {remedy}")
                return 1
            restraints.grant(request)
        try:
            run_id = run_job(job, instance, run_config=wish.run_config(use_case), tags=request.tags)
        finally:
            ledger.record_runs(job.name, None)
        return _told(instance, use_case, run_id)


def _told(instance: dg.DagsterInstance, use_case: UseCase, run_id: str) -> int:
    run = instance.get_run_by_id(run_id)
    nothing_to_do = run.tags.get(NOTHING_TO_DO_TAG) if run else None
    if nothing_to_do:
        CONSOLE.print(nothing_to_do)
        return 1
    made = instance.get_latest_materialization_event(dg.AssetKey([use_case.name, "challenger_model"]))
    facts = made.asset_materialization.metadata if made and made.asset_materialization else {}
    CONSOLE.print(f"version {facts['version'].value} was trained; the gate judges it, `shadow models` shows it")
    if run and (holds := run.tags.get(HOLDS_TAG)):
        CONSOLE.print(holds)
    return 0
