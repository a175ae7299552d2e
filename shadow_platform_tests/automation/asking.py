"""One request of every trigger, a home for the daemon that answers them, and how often each was answered.

Belongs here: what the test and the benchmark of daemon kills share. Upstream: tiny, run records. Downstream: both.
"""

from collections import Counter
from collections.abc import Collection
from datetime import UTC, date, datetime, timedelta
from importlib.resources import files
from pathlib import Path

import dagster as dg
import pandas as pd

from shadow_platform.automation.requests import TRIGGER_ID_TAG
from shadow_platform.contracts.layout import Layout
from shadow_platform.partitions import start_of
from shadow_platform_tests.automation.ticking import Daemon
from shadow_platform_tests.automation.verdicts import report_performance, report_verdict
from shadow_platform_tests.tiny import FIRST_DAY, USE_CASE, TinySource

DATA_DAY = FIRST_DAY + timedelta(days=1)
BY_DAY = {"e1", "p2", f"day-{DATA_DAY}"}
"""Ids of the requests but the night's: evaluation of drift, of performance, day of data."""


def requests() -> set[str]:
    """Ids of the requests, the night's of today included."""
    return {*BY_DAY, f"{datetime.now(UTC):%Y-%m-%d}"}


def nights_since(first: date) -> list[str]:
    """Ids of the nights that may have asked since a day: two where midnight has passed."""
    n_days = (datetime.now(UTC).date() - first).days + 1
    return [str(first + timedelta(days=n)) for n in range(n_days)]


def ask_everything(layout: Layout, instance: dg.DagsterInstance) -> None:
    """Let every trigger have something to ask for."""
    home = Daemon(layout, instance)
    home.trained(start_of(FIRST_DAY))
    for kind in USE_CASE.events:
        rows = pd.DataFrame(list(TinySource().received_on(DATA_DAY)[kind.name]))[list(kind.schema.columns)]
        home.lake.write_events(USE_CASE, kind, DATA_DAY, kind.schema.validate(rows))
    home.labelled(start_of(DATA_DAY) + timedelta(hours=12), 10)
    report_verdict(instance, 1)
    report_verdict(instance, 1)
    report_performance(instance, 2)


def daemon_home(folder: Path, poll_s: int, start_timeout_s: int = 180) -> Path:
    """A ``DAGSTER_HOME`` with the platform's settings, in which a dead run is noticed sooner."""
    folder.mkdir(parents=True)
    settings = (files("shadow_platform") / "dagster.yaml").read_text()
    settings = settings.replace("poll_interval_seconds: 10", f"poll_interval_seconds: {poll_s}")
    settings = settings.replace("start_timeout_seconds: 180", f"start_timeout_seconds: {start_timeout_s}")
    (folder / "dagster.yaml").write_text(settings)
    return folder


def answers(instance: dg.DagsterInstance) -> Counter[str]:
    """How many runs of each request succeeded, or still may."""
    gone = {dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED}
    return Counter(run.tags[TRIGGER_ID_TAG] for run in instance.get_runs() if run.status not in gone)


def is_answered(instance: dg.DagsterInstance, wanted: Collection[str]) -> bool:
    """Whether a run of every request that is wanted succeeded."""
    done = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.SUCCESS]))
    return {run.tags[TRIGGER_ID_TAG] for run in done} >= set(wanted)
