"""The asset drift_report: files, facts and Evidently's workspace; and verdicts that do not care whether it works."""

import json
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from shadow_platform.adapters.lake import Lake
from shadow_platform.adapters.reports import project_id
from shadow_platform.assets.drift.report import build_drift_report
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.tables import DRIFT_VERDICTS
from shadow_platform.contracts.use_case import ReferencePolicy, UseCase
from shadow_platform.resources import PlatformResource
from shadow_platform_tests.assets.drifting import (
    FIRST,
    LAST,
    N_DAYS,
    SHIFTS_ON,
    USE_CASE,
    deploy,
    facts,
    materialize,
    requests,
    serve,
    with_policy,
)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture
def lake(layout: Layout) -> Lake:
    """Two weeks of predictions; carts are bigger from the eighth day on."""
    return serve(layout, requests(FIRST, N_DAYS, 2, SHIFTS_ON), deploy(layout))


def _drawn(layout: Layout, first: date, last: date, instance: dg.DagsterInstance, use_case: UseCase = USE_CASE) -> Any:
    """Metadata of the report of a range of days."""
    tags = {"dagster/asset_partition_range_start": str(first), "dagster/asset_partition_range_end": str(last)}
    resources = {"platform": PlatformResource(shadow_home=str(layout.home))}
    assert dg.materialize([build_drift_report(use_case)], resources=resources, tags=tags, instance=instance).success
    return facts(instance, "drift_report")[str(last)]


def _broken_python(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = folder / "python"
    program.write_text("#!/bin/sh\necho 'MemoryError' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))


@pytest.mark.processes
def test_the_last_day_of_a_range_gets_html_json_a_place_in_the_workspace_and_a_link_in_its_verdict(
    layout: Layout, lake: Lake, instance: dg.DagsterInstance
) -> None:
    materialize(layout, [LAST - timedelta(days=1), LAST], instance)
    found = _drawn(layout, LAST - timedelta(days=1), LAST, instance)

    html = layout.home / "reports" / "shop" / "drift" / f"{LAST}.html"
    assert sorted(file.name for file in html.parent.iterdir()) == [f"{LAST}.html", f"{LAST}.json"]
    assert (found["html"], found["json"]) == (str(html), str(html.with_suffix(".json")))
    assert "Value Drift for column cart_value" in found["summary"]["failed_tests"]
    assert found["skipped_columns"] == "none"

    rows = lake.read_table(DRIFT_VERDICTS, USE_CASE).sort_values("window_end")
    assert rows["report_path"].tolist() == [None, f"reports/shop/drift/{LAST}.html"]
    (snapshot,) = (layout.evidently / str(project_id("shop")) / "snapshots").iterdir()
    shown = json.loads(snapshot.read_text(encoding="utf-8"))
    assert shown["name"] == f"window that ends with {LAST}"
    assert shown["metadata"]["evaluation_id"] == rows["evaluation_id"].iloc[-1]
    assert shown["metadata"]["outcome"] == "fail"


def test_a_failing_report_changes_no_verdict_and_fails_no_run(
    layout: Layout, lake: Lake, instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    materialize(layout, [LAST], instance)
    before = lake.read_table(DRIFT_VERDICTS, USE_CASE)
    _broken_python(tmp_path, monkeypatch)
    assert _drawn(layout, LAST, LAST, instance)["error"] == "MemoryError"
    assert lake.read_table(DRIFT_VERDICTS, USE_CASE).equals(before)


def test_an_unwritable_reports_folder_fails_no_run(layout: Layout, lake: Lake, instance: dg.DagsterInstance) -> None:
    (layout.home / "reports").write_text("in the way")
    assert "NotADirectoryError" in _drawn(layout, LAST, LAST, instance)["error"]


def test_the_report_compares_what_the_verdict_compared(
    layout: Layout, lake: Lake, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def drawn(reference: Any, current: Any, *_: Any, **__: Any) -> Any:
        from shadow_platform.adapters.reports import ReportResult

        seen.extend([len(reference), len(current)])
        return ReportResult(None, {}, "not drawn")

    monkeypatch.setattr("shadow_platform.adapters.reports.write_report", drawn)
    rolling = with_policy(reference=ReferencePolicy("rolling", length=timedelta(days=5)))
    _drawn(layout, LAST, LAST, instance, rolling)
    assert seen == [500, 700]


def test_what_changes_in_a_verdict_while_its_report_is_drawn_stays(
    layout: Layout, lake: Lake, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    materialize(layout, [LAST], instance)

    def drawn(*args: Any, **_: Any) -> Any:
        from shadow_platform.adapters.reports import ReportResult

        (row,) = lake.read_table(DRIFT_VERDICTS, USE_CASE).to_dict("records")
        changed = {str(name): value for name, value in row.items()} | {"headline": "another"}
        newer = changed | {"evaluation_id": "newer", "evaluated_at": datetime.now(UTC)}
        lake.append_rows(DRIFT_VERDICTS, USE_CASE, [changed, newer])
        return ReportResult(next(arg for arg in args if isinstance(arg, Path) and arg.suffix == ".html"), {}, None)

    monkeypatch.setattr("shadow_platform.adapters.reports.write_report", drawn)
    _drawn(layout, LAST, LAST, instance)
    rows = lake.read_table(DRIFT_VERDICTS, USE_CASE).sort_values("evaluated_at")
    assert rows["headline"].tolist() == ["another", "another"]
    assert rows["report_path"].tolist() == [f"reports/shop/drift/{LAST}.html", None]
