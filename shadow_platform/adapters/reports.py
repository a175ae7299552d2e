"""Evidently's drift report, for people: HTML beside the verdict, never part of it.

Belongs here: starting Evidently in a process of its own (its import costs 6 s and 290 MB) and surviving its failure.
Does not belong here: any judgement. Upstream: frames of assets.drift. Downstream: a browser, offline.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

MAX_ROWS = 100_000
TIMEOUT_S = 600.0
REFERENCE, CURRENT, COLUMNS, HTML = "reference.parquet", "current.parquet", "columns.json", "report.html"
# Evidently's two-sample chi-square takes the reference as known; the methods below depend on no sample size.
NUMERIC_METHOD, CATEGORICAL_METHOD = "wasserstein", "jensenshannon"


@dataclass(frozen=True, slots=True)
class ReportResult:
    """What became of a report.

    Attributes:
        path: the HTML file; ``None`` if there is none.
        skipped_columns: column -> why it was taken out, because Evidently would abort on it.
        error: why there is no report.
    """

    path: Path | None
    skipped_columns: dict[str, str]
    error: str | None = None


def write_report(
    reference: pd.DataFrame,
    current: pd.DataFrame,
    numeric: Sequence[str],
    categorical: Sequence[str],
    path: Path,
    *,
    max_rows: int = MAX_ROWS,
    seed: int = 0,
    timeout_s: float = TIMEOUT_S,
) -> ReportResult:
    """Write the report to ``path``, atomically; every failure is told in the result, none is raised.

    Args:
        max_rows: larger frames are sampled down to this, with ``seed``.
    """
    names = [*numeric, *categorical]
    skipped = {name: reason for name in names if (reason := _reason_to_skip(name, reference, current))}
    kept_numeric = [name for name in numeric if name not in skipped]
    kept_categorical = [name for name in categorical if name not in skipped]
    if not kept_numeric and not kept_categorical:
        return ReportResult(None, skipped, "no column is left that Evidently can read")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".report-") as folder:
            for file, frame in ((REFERENCE, reference), (CURRENT, current)):
                sample = frame if len(frame) <= max_rows else frame.sample(max_rows, random_state=seed).sort_index()
                _typed(sample, kept_numeric, kept_categorical).to_parquet(Path(folder) / file, index=False)
            columns = {"numeric": kept_numeric, "categorical": kept_categorical}
            (Path(folder) / COLUMNS).write_text(json.dumps(columns), encoding="utf-8")
            error = _run(Path(folder), timeout_s)
            if error is None:
                os.replace(Path(folder) / HTML, path)
    except (OSError, ValueError, TypeError) as failure:
        error = f"{type(failure).__name__}: {failure}"
    return ReportResult(path if error is None else None, skipped, error)


def _reason_to_skip(name: str, reference: pd.DataFrame, current: pd.DataFrame) -> str | None:
    for where, frame in (("reference", reference), ("window", current)):
        if name not in frame.columns:
            return f"missing from the {where}"
        if not len(frame):
            return f"the {where} is empty"
        if not frame[name].notna().any():
            return f"null in every row of the {where}"
    return None


def _typed(frame: pd.DataFrame, numeric: Sequence[str], categorical: Sequence[str]) -> pd.DataFrame:
    columns = {name: pd.to_numeric(frame[name], errors="coerce").astype("float64") for name in numeric}
    levels = {name: frame[name].astype(object).where(frame[name].notna(), None) for name in categorical}
    texts = {name: values.map(str, na_action="ignore") for name, values in levels.items()}
    return pd.DataFrame({**columns, **texts})


def _run(folder: Path, timeout_s: float) -> str | None:
    command = [sys.executable, "-m", "shadow_platform.adapters.reports", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired:
        return f"Evidently took more than {timeout_s:g} s"
    if done.returncode == 0:
        return None
    lines = done.stderr.strip().splitlines()
    return lines[-1] if lines else f"Evidently ended with exit code {done.returncode}"


def render(folder: Path) -> None:
    """Read the two frames in ``folder`` and write the HTML beside them; runs in the subprocess."""
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    columns = json.loads((folder / COLUMNS).read_text(encoding="utf-8"))
    definition = DataDefinition(numerical_columns=columns["numeric"], categorical_columns=columns["categorical"])
    reference, current = (
        Dataset.from_pandas(pd.read_parquet(folder / file), data_definition=definition) for file in (REFERENCE, CURRENT)
    )
    preset = DataDriftPreset(num_method=NUMERIC_METHOD, cat_method=CATEGORICAL_METHOD)
    Report([preset]).run(current, reference).save_html(str(folder / HTML))


if __name__ == "__main__":
    render(Path(sys.argv[1]))
