"""``shadow drift``: exit codes, output, and one clear line for bad input."""

import json
from pathlib import Path

import pytest

from shadow_platform.cli.drift import compare_files
from shadow_platform.contracts.errors import ShadowPlatformError
from shadow_platform_tests.domain.drift.frames import frame


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    reference, current = tmp_path / "reference.parquet", tmp_path / "current.csv"
    frame(3_000, 1, n_days=60).to_parquet(reference)
    frame(3_000, 2).to_csv(current, index=False)
    return reference, current


def test_equal_files_exit_with_zero(files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert compare_files(*files, None, 0.0, None) == 0
    assert capsys.readouterr().out.startswith("pass: The window 2024-01-01")


def test_simulated_drift_exits_with_one_and_writes_the_verdict(files: tuple[Path, Path], tmp_path: Path) -> None:
    output = tmp_path / "out" / "verdict.json"
    assert compare_files(*files, None, 0.5, output) == 1
    verdict = json.loads(output.read_text(encoding="utf-8"))
    assert verdict["outcome"] == "fail"
    assert verdict["drift_score"] > 0.3
    assert {row["feature"] for row in verdict["features"]} == {"n0", "n1", "n2", "n3", "c0", "c1", "__score__"}


def test_too_few_rows_exit_with_two(files: tuple[Path, Path], tmp_path: Path) -> None:
    short = tmp_path / "short.csv"
    frame(20, 3).to_csv(short, index=False)
    assert compare_files(files[0], short, None, 0.0, None) == 2


def test_threshold_decides_the_share_rule(files: tuple[Path, Path], tmp_path: Path) -> None:
    rules = []
    for threshold in (0.3, 1.0):
        output = tmp_path / f"{threshold}.json"
        compare_files(*files, threshold, 0.5, output)
        rules.append("drift_score" in json.loads(output.read_text(encoding="utf-8"))["rules_fired"])
    assert rules == [True, False]


def test_files_of_the_environment_are_the_default(files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRIFT_REFERENCE_PATH", str(files[0]))
    monkeypatch.setenv("DRIFT_CURRENT_PATH", str(files[1]))
    assert compare_files(None, None, None, 0.0, None) == 0


def test_bad_input_is_named_with_what_to_do(files: tuple[Path, Path], tmp_path: Path) -> None:
    garbage = tmp_path / "garbage.parquet"
    garbage.write_bytes(b"PAR1 no")
    cases = [
        ((None, files[1], None), "give --reference FILE or set DRIFT_REFERENCE_PATH"),
        ((files[0], tmp_path / "none.csv", None), "none.csv is not a file"),
        ((garbage, files[1], None), "cannot be read as CSV or Parquet"),
        ((*files, 1.5), "expected a share between 0 and 1"),
    ]
    for (reference, current, threshold), message in cases:
        with pytest.raises(ShadowPlatformError, match=message):
            compare_files(reference, current, threshold, 0.0, None)
