"""Ninety days of a feature view, filled from the Dagster UI: one run, every day green, with what it holds."""

import os
import re
import shutil
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from importlib.resources import files
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest
from dagster._core.execution.backfill import BulkActionStatus
from playwright.sync_api import Page

from shadow_platform.adapters.lake import Lake
from shadow_platform.contracts.layout import Layout
from shadow_platform_tests.browser.chromium import visit
from shadow_platform_tests.processes import Started, free_port, start
from shadow_platform_tests.sources import REPOSITORY
from shadow_platform_tests.tiny import FIRST_DAY, USE_CASE, TinySource

pytestmark = [pytest.mark.browser, pytest.mark.processes, pytest.mark.timeout(1800)]
DEFINITIONS = "shadow_platform_tests.browser.definitions"
N_DAYS = 90
LAST_DAY = FIRST_DAY + timedelta(days=N_DAYS - 1)
VIEW = USE_CASE.views[0]


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """A home with the platform's own settings of Dagster."""
    made = Layout(tmp_path_factory.mktemp("backfill"))
    made.dagster.mkdir(parents=True)
    shutil.copyfile(str(files("shadow_platform") / "dagster.yaml"), made.dagster / "dagster.yaml")
    return made


@pytest.fixture(scope="module")
def instance(layout: Layout) -> Iterator[dg.DagsterInstance]:
    """The instance that webserver and daemon use, with ninety days of events and no features."""
    lake = Lake(layout)
    for day in (FIRST_DAY + timedelta(days=n) for n in range(N_DAYS)):
        for kind in USE_CASE.events:
            raw = TinySource().received_on(day)[kind.name]
            rows = pd.DataFrame(raw, columns=[*kind.schema.columns])
            lake.write_events(USE_CASE, kind, day, kind.schema.validate(rows))
    with dg.DagsterInstance.from_config(str(layout.dagster)) as made:
        made.report_runless_asset_event(dg.AssetMaterialization(["tiny", "events"], partition=str(LAST_DAY)))
        yield made


@pytest.fixture(scope="module")
def ui(layout: Layout, instance: dg.DagsterInstance) -> Iterator[str]:
    """Address of a webserver with a daemon beside it."""
    port = free_port()
    environment = {
        **os.environ,
        "DAGSTER_HOME": str(layout.dagster),
        "SHADOW_HOME": str(layout.home),
        "PYTHONPATH": str(REPOSITORY),
    }
    webserver = ["dagster_webserver", "-m", DEFINITIONS, "-h", "127.0.0.1", "-p", str(port)]
    started: list[Started] = []
    try:
        for command in (webserver, ["dagster._daemon", "run", "-m", DEFINITIONS]):
            output = layout.home / f"{command[0]}.log"
            started.append(start([sys.executable, "-m", *command], output, environment, layout.home))
        started[0].wait_for_port(port, 240)
        yield f"http://127.0.0.1:{port}"
    finally:
        for process in reversed(started):
            process.stop()


def _launch(page: Page, address: str) -> None:
    """Ask for the ninety days as a person does."""
    page.goto(f"{address}/assets/tiny/{VIEW.name}?view=partitions")
    page.get_by_role("button", name=re.compile("Materialize")).first.click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("Show all partitions").click()
    box = dialog.locator("input[type=text]").first
    box.fill(f"[{FIRST_DAY}...{LAST_DAY}]")
    box.press("Enter")
    dialog.get_by_text(f"{N_DAYS} partitions").first.wait_for()
    dialog.get_by_text("Backfills all partitions in a single run.").wait_for()
    dialog.get_by_role("button", name="Launch backfill").click()
    dialog.wait_for(state="hidden")


def _wait_until_done(instance: dg.DagsterInstance) -> None:
    ended, deadline = {BulkActionStatus.COMPLETED_SUCCESS, BulkActionStatus.COMPLETED_FAILED}, time.monotonic() + 900
    while {backfill.status in ended for backfill in instance.get_backfills()} != {True}:
        assert time.monotonic() < deadline, "the backfill is not done"
        time.sleep(0.2)


def test_ninety_days_of_a_view_are_filled_from_the_ui_by_one_run_and_each_says_what_it_holds(
    ui: str, instance: dg.DagsterInstance, layout: Layout, tmp_path: Path
) -> None:
    with visit() as seen:
        page = seen.page
        _launch(page, ui)
        _wait_until_done(instance)

        (backfill,) = instance.get_backfills()
        (run,) = instance.get_runs(dg.RunsFilter(tags={"dagster/backfill": backfill.backfill_id}))
        assert run.status == dg.DagsterRunStatus.SUCCESS
        rows = Lake(layout).read_features(USE_CASE, VIEW)
        day = FIRST_DAY + timedelta(days=20)
        n_rows = int((rows["event_at"].dt.date == day).sum())

        page.goto(f"{ui}/assets/tiny/{VIEW.name}?view=partitions&partition={day}")
        page.get_by_text(f"Materialized ({N_DAYS})").wait_for()
        page.get_by_text("Failed (0)").wait_for()
        page.get_by_text("dagster/partition_row_count").wait_for()
        page.get_by_text(f"{n_rows:,}", exact=True).first.wait_for()
        page.screenshot(path=str(tmp_path / "partitions.png"), full_page=True)
        page.goto(f"{ui}/assets/tiny/{VIEW.name}?view=partitions&partition={LAST_DAY}")
        page.get_by_text("null_rates").first.wait_for()
        page.screenshot(path=str(tmp_path / "last.png"), full_page=True)
        assert seen.refused == []
        assert seen.script_errors == []
