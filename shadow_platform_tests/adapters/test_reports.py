"""Evidently's report: written when it can be, and never anybody's problem when it cannot."""

import json
import os
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from shadow_platform.adapters import reports
from shadow_platform.adapters.reports import ReportResult, WorkspaceRun, project_id, write_report

DAY = datetime(2024, 5, 1, tzinfo=UTC)


def _frame(seed: int, n: int = 300) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "amount": rng.normal(50, 10, n),
            "score": rng.random(n),
            "channel": rng.choice(["mail", "shop"], n),
            "is_new": rng.random(n) < 0.5,
            "empty": None,
            "größe": rng.normal(0, 1, n),
        }
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "reports" / "drift.html"


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    return tmp_path / "evidently"


def _run(workspace: Path, name: str = "until 2024-05-01", outcome: str = "pass") -> WorkspaceRun:
    return WorkspaceRun(workspace, "shop", name, DAY, {"outcome": outcome})


def _stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Let a shell script run in the place of Evidently's process."""
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))


@pytest.mark.processes
def test_a_report_holds_what_evidently_can_read_and_names_what_it_cannot(path: Path, workspace: Path) -> None:
    current = _frame(2).drop(columns="is_new")
    current["amount"] = current["amount"].astype(object).mask(current.index < 30, "n/a")
    result = write_report(
        _frame(1), current, ["amount", "score", "empty", "größe"], ["channel", "is_new"], path, run=_run(workspace)
    )
    assert result.error is None
    assert result.path == path
    assert result.skipped_columns == {
        "empty": "null in every row of the reference",
        "is_new": "missing from the window",
    }
    assert {file.name for file in path.parent.iterdir()} == {"drift.html", "drift.json"}
    report = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    assert any("größe" in metric["metric_name"] for metric in report["metrics"])
    assert result.summary["tests"] == len(report["tests"]) == 9
    assert "Column 'amount' missing values: Less or Equal 3.000" in result.summary["failed_tests"]

    (snapshot,) = (workspace / str(project_id("shop")) / "snapshots").iterdir()
    shown = json.loads(snapshot.read_text(encoding="utf-8"))
    assert (shown["name"], shown["metadata"]) == ("until 2024-05-01", {"outcome": "pass"})
    assert datetime.fromisoformat(shown["timestamp"]) == DAY


def _made(folder: Path, run: WorkspaceRun, content: str) -> Path:
    made = folder / run.folder
    (made / "snapshots").mkdir(parents=True)
    (made / "metadata.json").write_text("{}")
    (made / "dashboard.json").write_text("as made")
    (made / "snapshots" / "any.json").write_text(content)
    return made


def test_a_window_drawn_again_replaces_itself_and_spares_what_a_person_changed(workspace: Path, tmp_path: Path) -> None:
    project = workspace / str(project_id("shop"))
    for place, (name, content) in enumerate([("a", "first"), ("b", "other"), ("a", "second")]):
        run = _run(workspace, name)
        reports._add_to_workspace(_made(tmp_path / str(place), run, content), run)
        (project / "dashboard.json").write_text("as changed")
    assert {file.read_text() for file in (project / "snapshots").iterdir()} == {"other", "second"}
    assert (project / "dashboard.json").read_text() == "as changed"


def test_a_workspace_keeps_the_newest_windows_only(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports, "MAX_RUNS", 2)
    for place in range(4):
        run = _run(workspace, str(place))
        made = _made(tmp_path / str(place), run, str(place))
        os.utime(made / "snapshots" / "any.json", (place, place))
        reports._add_to_workspace(made, run)
    snapshots = workspace / str(project_id("shop")) / "snapshots"
    assert {file.read_text() for file in snapshots.iterdir()} == {"2", "3"}


def test_a_report_without_any_column_left_names_them_all(path: Path) -> None:
    result = write_report(_frame(1), _frame(2)[:0], ["amount"], ["channel"], path)
    assert result.path is None
    assert result.skipped_columns == {"amount": "the window is empty", "channel": "the window is empty"}
    assert not path.exists()


@pytest.mark.parametrize("column", ["amount", "both"])
def test_a_frame_that_cannot_be_read_is_told_not_raised(path: Path, column: str) -> None:
    current = _frame(2)
    current["amount"] = current["amount"].astype(object).mask(current.index == 0, 10**400)
    current["both"] = current["score"]
    twice = pd.concat([current, current[["both"]]], axis="columns")
    result = write_report(_frame(1).assign(both=0.5), twice, [column], [], path)
    assert result.path is None
    assert result.error is not None
    assert result.error.startswith(("OverflowError", "ValueError"))


def test_a_failing_subprocess_is_told_not_raised(path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _stand_in(tmp_path, monkeypatch, "echo 'MemoryError: too big' >&2; exit 1")
    result = write_report(_frame(1), _frame(2), ["amount"], [], path)
    assert result == ReportResult(None, {}, "MemoryError: too big")
    assert list(path.parent.iterdir()) == []


def test_a_killed_subprocess_is_told_not_raised(path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _stand_in(tmp_path, monkeypatch, "kill -9 $$")
    assert write_report(_frame(1), _frame(2), ["amount"], [], path).error == "Evidently ended with exit code -9"


def test_a_hanging_subprocess_is_given_up(path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _stand_in(tmp_path, monkeypatch, "exec sleep 30")
    result = write_report(_frame(1), _frame(2), ["amount"], [], path, timeout_s=0.3)
    assert result.error == "Evidently took more than 0.3 s"


@pytest.mark.parametrize("wrote", ["", "{", '{"tests": [], "metrics": []}'])
def test_output_that_is_no_report_is_told_not_raised(
    path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, wrote: str
) -> None:
    _stand_in(tmp_path, monkeypatch, f"printf '%s' '{wrote}' > \"$3/report.json\"")
    result = write_report(_frame(1), _frame(2), ["amount"], [], path)
    assert result.path is None
    assert result.error is not None
    assert not path.exists()


def test_an_unwritable_folder_is_told_not_raised(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    result = write_report(_frame(1), _frame(2), ["amount"], [], blocked / "below" / "drift.html")
    assert result.path is None
    assert result.error is not None
    assert "Not a directory" in result.error


def test_a_full_disk_is_told_not_raised(path: Path) -> None:
    with _files_of_at_most(1_000):
        result = write_report(_frame(1), _frame(2), ["amount"], [], path)
    assert result.path is None
    assert result.error is not None
    assert "too large" in result.error.lower()


def test_an_unwritable_workspace_costs_only_the_workspace(
    path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("")
    report = '{"tests": [], "metrics": [{"metric_name": "DriftedColumnsCount(x)", "value": {"count": 0, "share": 0}}]}'
    _stand_in(tmp_path, monkeypatch, f"printf '%s' '{report}' > \"$3/report.json\"; touch \"$3/report.html\"")
    result = write_report(_frame(1), _frame(2), ["amount"], [], path, run=_run(blocked))
    assert result.path == path
    assert result.error is not None
    assert result.error.startswith("the report is not in the workspace: NotADirectoryError")


def test_large_frames_are_sampled_reproducibly(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[pd.DataFrame] = []

    def keep(folder: Path, _: float) -> str:
        seen.append(pd.read_parquet(folder / reports.CURRENT))
        return "not needed"

    monkeypatch.setattr(reports, "_run", keep)
    for _ in range(2):
        write_report(_frame(1), _frame(2, 5_000), ["amount"], ["channel"], path, max_rows=1_000)
    assert len(seen[0]) == 1_000
    pd.testing.assert_frame_equal(seen[0], seen[1])


@contextmanager
def _files_of_at_most(size: int) -> Iterator[None]:
    """Let this process write no larger file, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
