"""Evidently's reports, for people: HTML and JSON beside the verdict, and a workspace to browse; never part of it.

Belongs here: starting Evidently in a process of its own (its import costs 6 s and 290 MB), surviving its failure, and
moving what it made into place. Does not belong here: any judgement; what the report holds (``drawing``). Upstream:
frames of assets.drift and ``shadow drift``. Downstream: a browser, offline; ``shadow reports``.
"""

import json
import os
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

MAX_ROWS = 100_000
TIMEOUT_S = 600.0
# A workspace is read whole when Evidently's UI starts, 0.4 s a window of 25 columns: two months start in half a minute.
MAX_RUNS = 60
REFERENCE, CURRENT, TASK = "reference.parquet", "current.parquet", "task.json"
HTML, JSON, WORKSPACE = "report.html", "report.json", "workspace"
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "evidently.shadow-platform")


@dataclass(frozen=True, slots=True)
class ReportResult:
    """What became of a report.

    Attributes:
        path: the HTML file; ``None`` if there is none. The JSON file lies beside it.
        skipped_columns: column -> why it was taken out, because Evidently would abort on it.
        error: why there is no report, or why the workspace does not show it.
        summary: what Evidently found: columns it calls drifted, its tests, and names of those that failed.
    """

    path: Path | None
    skipped_columns: dict[str, str]
    error: str | None = None
    summary: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WorkspaceRun:
    """Where a window appears in an Evidently workspace; the same project and name replace what was there.

    Attributes:
        workspace: folder for ``evidently ui --workspace``.
        name: of the window, unique in its project.
        at: its place on the time axis.
        metadata: shown beside the name.
    """

    workspace: Path
    project: str
    name: str
    at: datetime
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def folder(self) -> str:
        """Name of the project's folder."""
        return str(project_id(self.project))

    @property
    def file(self) -> str:
        """Name of the window's file."""
        return f"{uuid.uuid5(project_id(self.project), self.name)}.json"


def project_id(project: str) -> uuid.UUID:
    """By what Evidently knows a project, the same for ever."""
    return uuid.uuid5(NAMESPACE, project)


def write_report(
    reference: pd.DataFrame,
    current: pd.DataFrame,
    numeric: Sequence[str],
    categorical: Sequence[str],
    path: Path,
    *,
    run: WorkspaceRun | None = None,
    max_rows: int = MAX_ROWS,
    seed: int = 0,
    timeout_s: float = TIMEOUT_S,
) -> ReportResult:
    """Write HTML to ``path`` and JSON beside it, atomically; every failure is told in the result, none is raised.

    Args:
        run: also add the report to a workspace.
        max_rows: larger frames are sampled down to this, with ``seed``.
    """
    skipped: dict[str, str] = {}
    try:
        names = [*numeric, *categorical]
        skipped |= {name: reason for name in names if (reason := _reason_to_skip(name, reference, current))}
        kept = _without(numeric, skipped), _without(categorical, skipped)
        if not any(kept):
            return ReportResult(None, skipped, "no column is left that Evidently can read")
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".report-") as made:
            folder = Path(made)
            for file, frame in ((REFERENCE, reference), (CURRENT, current)):
                sample = frame if len(frame) <= max_rows else frame.sample(max_rows, random_state=seed).sort_index()
                _typed(sample, *kept).to_parquet(folder / file, index=False)
            (folder / TASK).write_text(json.dumps(_task(*kept, run)), encoding="utf-8")
            error = _run(folder, timeout_s)
            return ReportResult(None, skipped, error) if error else _published(folder, path, run, skipped)
    except Exception as failure:  # noqa: BLE001 - frames hold whatever was served, and a report must not stop anything
        return ReportResult(None, skipped, f"{type(failure).__name__}: {failure}")


def _reason_to_skip(name: str, reference: pd.DataFrame, current: pd.DataFrame) -> str | None:
    for where, frame in (("reference", reference), ("window", current)):
        if name not in frame.columns:
            return f"missing from the {where}"
        if not len(frame):
            return f"the {where} is empty"
        if not frame[name].notna().any():
            return f"null in every row of the {where}"
    return None


def _without(names: Sequence[str], skipped: Mapping[str, str]) -> list[str]:
    return [name for name in names if name not in skipped]


def _typed(frame: pd.DataFrame, numeric: Sequence[str], categorical: Sequence[str]) -> pd.DataFrame:
    columns = {name: pd.to_numeric(frame[name], errors="coerce").astype("float64") for name in numeric}
    levels = {name: frame[name].astype(object).where(frame[name].notna(), None) for name in categorical}
    texts = {name: values.map(str, na_action="ignore") for name, values in levels.items()}
    return pd.DataFrame({**columns, **texts})


def _task(numeric: Sequence[str], categorical: Sequence[str], run: WorkspaceRun | None) -> dict[str, Any]:
    task: dict[str, Any] = {"numeric": numeric, "categorical": categorical, "run": None}
    if run is not None:
        task["run"] = {"project_id": run.folder, "project": run.project, "name": run.name}
        task["run"] |= {"at": run.at.isoformat(), "metadata": dict(run.metadata)}
    return task


def _run(folder: Path, timeout_s: float) -> str | None:
    command = [sys.executable, "-m", "shadow_platform.adapters.reports.drawing", str(folder)]
    environment = {**os.environ, "DO_NOT_TRACK": "1"}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=timeout_s, check=False, env=environment
        )
    except subprocess.TimeoutExpired:
        return f"Evidently took more than {timeout_s:g} s"
    if done.returncode == 0:
        return None
    lines = done.stderr.strip().splitlines()
    return lines[-1] if lines else f"Evidently ended with exit code {done.returncode}"


def _published(folder: Path, path: Path, run: WorkspaceRun | None, skipped: dict[str, str]) -> ReportResult:
    summary = _summary(json.loads((folder / JSON).read_text(encoding="utf-8")))
    os.replace(folder / JSON, path.with_suffix(".json"))
    os.replace(folder / HTML, path)
    error = None
    if run is not None:
        try:
            _add_to_workspace(folder / WORKSPACE / run.folder, run)
        except OSError as failure:
            error = f"the report is not in the workspace: {type(failure).__name__}: {failure}"
    return ReportResult(path, skipped, error, summary)


def _summary(report: Mapping[str, Any]) -> dict[str, Any]:
    """Of all that Evidently measured, what fits in a few lines."""
    tests, found = report["tests"], {metric["metric_name"].partition("(")[0]: metric for metric in report["metrics"]}
    drifted = found["DriftedColumnsCount"]["value"]
    return {
        "drifted_columns": int(drifted["count"]),
        "share_of_drifted_columns": drifted["share"],
        "tests": len(tests),
        "failed_tests": [test["name"] for test in tests if test["status"] == "FAIL"],
    }


def _add_to_workspace(made: Path, run: WorkspaceRun) -> None:
    """Move a project of one window into the workspace; what a person changed of an old project stays."""
    project = run.workspace / run.folder
    snapshots = project / "snapshots"
    snapshots.mkdir(parents=True, exist_ok=True)
    for file in ("metadata.json", "dashboard.json"):
        if not (project / file).exists():
            os.replace(made / file, project / file)
    (snapshot,) = (made / "snapshots").iterdir()
    os.replace(snapshot, snapshots / run.file)
    newest_first = sorted(snapshots.glob("*.json"), key=lambda file: file.stat().st_mtime, reverse=True)
    for old in newest_first[MAX_RUNS:]:
        old.unlink(missing_ok=True)
