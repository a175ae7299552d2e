"""Evidently's report: written when it can be, and never anybody's problem when it cannot."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from shadow_platform.adapters import reports
from shadow_platform.adapters.reports import write_report


def _frame(seed: int, n: int = 300) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "amount": rng.normal(50, 10, n),
            "score": rng.random(n),
            "channel": rng.choice(["mail", "shop"], n),
            "is_new": rng.random(n) < 0.5,
            "empty": None,
        }
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "reports" / "drift.html"


@pytest.mark.processes
def test_report_is_written_without_the_columns_that_would_abort_it(path: Path) -> None:
    current = _frame(2).drop(columns="is_new")
    result = write_report(_frame(1), current, ["amount", "score", "empty"], ["channel", "is_new"], path)
    assert result.error is None
    assert result.path == path
    assert result.skipped_columns == {
        "empty": "null in every row of the reference",
        "is_new": "missing from the window",
    }
    html = path.read_text(encoding="utf-8")
    assert "amount" in html
    assert list(path.parent.iterdir()) == [path]


def test_a_report_without_any_column_left_names_them_all(path: Path) -> None:
    result = write_report(_frame(1), _frame(2)[:0], ["amount"], ["channel"], path)
    assert result.path is None
    assert result.skipped_columns == {"amount": "the window is empty", "channel": "the window is empty"}
    assert not path.exists()


def test_a_failing_subprocess_is_told_not_raised(path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho 'MemoryError: too big' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(broken))
    result = write_report(_frame(1), _frame(2), ["amount"], [], path)
    assert (result.path, result.error) == (None, "MemoryError: too big")


def test_a_hanging_subprocess_is_given_up(path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    slow = tmp_path / "python"
    slow.write_text("#!/bin/sh\nexec sleep 30\n")
    slow.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(slow))
    result = write_report(_frame(1), _frame(2), ["amount"], [], path, timeout_s=0.3)
    assert result.error == "Evidently took more than 0.3 s"


def test_an_unwritable_folder_is_told_not_raised(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    result = write_report(_frame(1), _frame(2), ["amount"], [], blocked / "drift.html")
    assert result.path is None
    assert result.error is not None


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
