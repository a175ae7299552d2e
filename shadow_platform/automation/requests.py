"""A request to train: who asks, as of when, and the run that Dagster is asked for.

Belongs here: names and tags that tie a run to its request. Does not belong here: whether the request is granted.
Upstream: verdicts, the clock. Downstream: sensors and schedules; ``pipeline_runs`` and run tags hold what is told here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import dagster as dg

from shadow_platform.automation.attempts import run_key
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.settings import load_settings

RunConfigOf = Callable[[UseCase, datetime, str], Mapping[str, Any]]

TRIGGER_TAG = "shadow/trigger"
TRIGGER_ID_TAG = "shadow/trigger_id"
AS_OF_TAG = "shadow/as_of"
CONSIDERED_TAG = "shadow/considered_at"
ATTEMPT_TAG = "shadow/attempt"


@dataclass(frozen=True, slots=True)
class TrainingRequest:
    """What asks for a training.

    Attributes:
        trigger: ``drift``, ``performance``, ``data``, ``schedule`` or ``manual``.
        trigger_id: evaluation, day of labels or night that asks; a second request of the same id is the same request.
        as_of: the training is to use what was known then.
        considered_at: when it was asked for; the same whenever it is looked at again.
    """

    trigger: str
    trigger_id: str
    as_of: datetime
    considered_at: datetime

    @property
    def told(self) -> str:
        """The request in words."""
        return f"{self.trigger} {self.trigger_id}"

    def run_request(self, use_case: UseCase, run_config: RunConfigOf, attempt: int = 1) -> dg.RunRequest:
        """The run that is to answer it."""
        return dg.RunRequest(
            run_key=run_key(f"{self.trigger}:{self.trigger_id}", attempt),
            run_config=dict(run_config(use_case, self.as_of, self.trigger)),
            tags={**self.tags, AS_OF_TAG: self.as_of.isoformat(), ATTEMPT_TAG: str(attempt)},
        )

    @property
    def tags(self) -> dict[str, str]:
        """What ties a run to the request."""
        return {
            TRIGGER_TAG: self.trigger,
            TRIGGER_ID_TAG: self.trigger_id,
            CONSIDERED_TAG: self.considered_at.isoformat(),
        }


def retrain_run_config(use_case: UseCase, as_of: datetime, trigger: str) -> dict[str, Any]:
    """Run config of the retrain job: train on what was known at ``as_of``; whether to train is decided already."""
    asked = {"force_retrain": True, "environment": load_settings().environment}
    return {
        "ops": {
            f"{use_case.name}__retraining_request": {"config": asked},
            f"{use_case.name}__training_frame": {"config": {"as_of": as_of.isoformat()}},
            f"{use_case.name}__challenger_model": {"config": {"trigger": trigger}},
        }
    }


def told_of(run: dg.DagsterRun) -> str:
    """A training run in words: its id, and what asked for it."""
    asked_by = f"{run.tags[TRIGGER_TAG]} {run.tags.get(TRIGGER_ID_TAG, '')}" if TRIGGER_TAG in run.tags else "a person"
    return f"run {run.run_id} (asked for by {asked_by.strip()})"
