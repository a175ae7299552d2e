"""What a person sees of the drift reports in Evidently's own UI, without internet access."""

import os
import shutil
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from shadow_platform.adapters.reports import WorkspaceRun, _add_to_workspace, project_id, write_report
from shadow_platform.contracts.layout import Layout
from shadow_platform_tests.browser.chromium import visit
from shadow_platform_tests.processes import free_port, start
from shadow_platform_tests.sources import REPOSITORY

pytestmark = [pytest.mark.browser, pytest.mark.processes, pytest.mark.timeout(900)]
FIRST, NAME = datetime(2024, 5, 1, tzinfo=UTC), "window that ends with 2024-05-01"


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """A home with the report of one window."""
    made, rng = Layout(tmp_path_factory.mktemp("evidently")), np.random.default_rng(0)
    frames = [pd.DataFrame({"amount": rng.normal(at, 1, 500), "rate": rng.random(500)}) for at in (0.0, 1.0)]
    run = WorkspaceRun(made.evidently, "churn", NAME, FIRST, {"outcome": "fail"})
    path = made.reports("churn") / "drift" / "2024-05-01.html"
    assert write_report(frames[0], frames[1], ["amount", "rate"], [], path, run=run).error is None
    return made


@pytest.fixture(scope="module")
def ui(layout: Layout) -> Iterator[str]:
    """Address of ``shadow reports`` on that home."""
    port = free_port()
    command = [sys.executable, "-c", "from shadow_platform.cli import app; app()", "reports"]
    environment = {**os.environ, "SHADOW_HOME": str(layout.home), "PYTHONPATH": str(REPOSITORY)}
    output = layout.home / "reports.log"
    process = start([*command, "--use-case", "churn", "--port", str(port)], output, environment, layout.home)
    try:
        process.wait_until(lambda: "stop with Ctrl-C" in process.text(), "shadow reports", 240)
        yield f"http://127.0.0.1:{port}/projects/{project_id('churn')}"
    finally:
        process.stop()


def test_the_windows_of_a_use_case_can_be_browsed_without_leaving_this_machine(ui: str) -> None:
    with visit() as seen:
        seen.page.goto(ui)
        seen.page.get_by_text("Share of drifted columns, by Evidently").first.wait_for()
        seen.page.goto(f"{ui}/reports")
        seen.page.get_by_text(NAME).first.wait_for()
        seen.page.get_by_text("View", exact=True).first.click()
        seen.page.get_by_text("Dataset Drift is detected").first.wait_for()
        seen.page.get_by_text("Tests", exact=True).first.click()
        seen.page.get_by_text("Value Drift for column amount").first.wait_for()

        assert seen.refused == []
        assert seen.script_errors == []


def test_a_window_drawn_while_the_ui_runs_appears(ui: str, layout: Layout, tmp_path: Path) -> None:
    project = layout.evidently / str(project_id("churn"))
    made = shutil.copytree(project, tmp_path / project.name)
    (drawn,) = (made / "snapshots").iterdir()
    drawn.write_text(drawn.read_text(encoding="utf-8").replace(NAME, "a later window"), encoding="utf-8")
    _add_to_workspace(made, WorkspaceRun(layout.evidently, "churn", "a later window", FIRST))
    with visit() as seen:
        seen.page.goto(f"{ui}/reports")
        seen.page.get_by_text("a later window").first.wait_for()


def test_the_html_report_needs_nothing_from_elsewhere(layout: Layout) -> None:
    with visit() as seen:
        seen.page.goto((layout.reports("churn") / "drift" / "2024-05-01.html").as_uri())
        seen.page.get_by_text("Dataset Drift is detected").first.wait_for()

        assert seen.refused == []


def test_the_command_says_what_to_do_without_reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from shadow_platform.cli.reports import reports
    from shadow_platform.contracts.errors import ShadowPlatformError

    monkeypatch.setenv("SHADOW_HOME", str(tmp_path))
    with pytest.raises(ShadowPlatformError, match="materialize drift_report first"):
        reports("churn", free_port())
