"""``shadow drift`` on two files: exit codes, and what is printed and written."""

import json
import os
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from shadow_platform.cli import app, typer_app
from shadow_platform.cli.drift import Wanted, compare_files, comparing
from shadow_platform.cli.drift.options import Shown
from shadow_platform.cli.drift.written import write_whole
from shadow_platform.contracts.errors import ShadowPlatformError
from shadow_platform.contracts.monitoring_verdicts import DriftVerdict
from shadow_platform_tests.domain.drift.frames import frame

Files = tuple[Path, Path]


def test_equal_files_exit_with_zero_and_show_the_worst_feature_first(
    files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare_files(*files) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("pass: the window does not differ")
    rows = [line.split("│")[1:8] for line in shown.splitlines() if line.startswith("│")]
    assert len(rows) == 7
    multiples = [float(row[2]) / float(row[3]) for row in rows]
    assert multiples == sorted(multiples, reverse=True)


def test_simulated_drift_exits_with_one_and_writes_the_verdict(files: Files, tmp_path: Path) -> None:
    output = tmp_path / "out" / "verdict.json"
    assert compare_files(*files, simulate=0.5, wanted=Wanted(output=output)) == 1
    verdict = DriftVerdict.model_validate_json(output.read_text(encoding="utf-8"))
    assert verdict.outcome.value == "fail"
    assert verdict.drift_score is not None
    assert verdict.drift_score > 0.3
    assert {row.feature for row in verdict.features} == {"n0", "n1", "n2", "n3", "c0", "c1", "__score__"}


def test_json_on_the_screen_is_the_verdict_and_nothing_else(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare_files(*files, simulate=0.5, wanted=Wanted(Shown.JSON)) == 1
    assert DriftVerdict.model_validate_json(capsys.readouterr().out).outcome.value == "fail"


def test_too_few_rows_exit_with_two(files: Files, tmp_path: Path) -> None:
    short = tmp_path / "short.csv"
    frame(20, 3).to_csv(short, index=False)
    assert compare_files(files[0], short) == 2


@pytest.mark.parametrize("n_rows", [0, 600])
def test_a_current_file_without_values_never_passes(files: Files, tmp_path: Path, n_rows: int) -> None:
    empty = tmp_path / "empty.csv"
    frame(n_rows, 3).assign(n0=None, n1=None).to_csv(empty, index=False)
    assert compare_files(files[0], empty) == (1 if n_rows else 2)


def test_threshold_decides_the_share_rule(files: Files, tmp_path: Path) -> None:
    rules = []
    for threshold in (0.3, 1.0):
        output = tmp_path / f"{threshold}.json"
        compare_files(*files, threshold, 0.5, wanted=Wanted(output=output))
        rules.append("drift_score" in json.loads(output.read_text(encoding="utf-8"))["rules_fired"])
    assert rules == [True, False]


def test_files_of_the_environment_are_the_default(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRIFT_REFERENCE_PATH", str(files[0]))
    monkeypatch.setenv("DRIFT_CURRENT_PATH", str(files[1]))
    assert compare_files(None, None) == 0


def test_the_same_files_give_the_same_evaluation(files: Files, tmp_path: Path) -> None:
    first, second = tmp_path / "1.json", tmp_path / "2.json"
    for output in (first, second):
        compare_files(*files, wanted=Wanted(output=output))
    assert first.read_bytes() == second.read_bytes()


def test_files_larger_than_the_policy_compares_by_value_are_streamed_to_the_same_end(
    files: Files, tmp_path: Path
) -> None:
    config, outputs = tmp_path / "small.json", (tmp_path / "by_value.json", tmp_path / "by_counts.json")
    config.write_text('{"exact_rows": 1000}')
    assert compare_files(*files, simulate=0.2, wanted=Wanted(output=outputs[0])) == 1
    assert compare_files(*files, simulate=0.2, config=config, wanted=Wanted(output=outputs[1])) == 1
    by_value, by_counts = (DriftVerdict.model_validate_json(output.read_text()) for output in outputs)
    assert (by_value.method, by_counts.method) == ("exact", "profiles")
    assert by_counts.n_current == by_value.n_current == 3_000
    for exact, counted in zip(by_value.features, by_counts.features, strict=True):
        assert exact.statistic is not None
        assert counted.statistic == pytest.approx(exact.statistic, abs=max(by_counts.max_error, 1e-9))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--use-case", "churn", "--reference", "a.csv", "--day", "2024-05-01"], "--reference a.csv: is for two files"),
        (["--use-case", "churn"], "give --day YYYY-MM-DD or --live"),
        (["--live", "--day", "2024-05-01"], "give --day YYYY-MM-DD or --live"),
        (["--threshold", "1.5", "--reference", "a.csv", "--current", "b.csv"], "expected a share between 0 and 1"),
        (["--simulate-drift", "nan", "--reference", "a.csv", "--current", "b.csv"], "expected a finite number"),
        ([], "give --reference FILE or set DRIFT_REFERENCE_PATH"),
    ],
)
def test_options_that_make_no_sense_are_named(options: list[str], message: str) -> None:
    result = CliRunner().invoke(typer_app, ["drift", *options])
    assert isinstance(result.exception, ShadowPlatformError)
    assert message in str(result.exception)


def test_an_unexpected_error_is_one_line_and_exit_code_two(
    files: Files, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def judge(*_: object) -> None:
        raise ValueError("cannot convert\nNaN")

    monkeypatch.setattr(comparing, "_by_value", judge)
    monkeypatch.setattr(sys, "argv", ["shadow", "drift", "--reference", str(files[0]), "--current", str(files[1])])
    with pytest.raises(SystemExit) as ended:
        app()
    assert ended.value.code == 2
    assert capsys.readouterr().err == "shadow: no verdict, because of an unexpected ValueError: cannot convert NaN\n"


@pytest.mark.parametrize(
    ("output", "html", "message"),
    [
        ("reference.csv", None, "--output .*reference.csv is the file of --reference too"),
        ("link.csv", None, "--output .*link.csv is the file of --current too"),
        (None, "current.csv", "--html .*current.csv is the file of --current too"),
        (None, "config.html", "the JSON beside --html .*config.json is the file of --config too"),
        ("verdict.json", "verdict.html", "--output .*verdict.json is the file of the JSON beside --html too"),
        ("new/../verdict.json", "verdict.json", "is the file of --html too"),
        (None, "pipe", "--html .*pipe is no regular file"),
    ],
)
def test_nothing_is_written_in_the_place_of_an_input_or_twice(
    tmp_path: Path, output: str | None, html: str | None, message: str
) -> None:
    reference, current, config = (tmp_path / name for name in ("reference.csv", "current.csv", "config.json"))
    for seed, path in enumerate((reference, current)):
        frame(20, seed).to_csv(path, index=False)
    config.write_text("{}")
    (tmp_path / "link.csv").symlink_to(current)
    os.mkfifo(tmp_path / "pipe")
    before = {path: path.read_bytes() for path in (reference, current, config)}
    written = [None if name is None else tmp_path / name for name in (output, html)]
    wanted = Wanted(output=written[0], html=written[1])
    with pytest.raises(ShadowPlatformError, match=message):
        compare_files(reference, current, config=config, wanted=wanted)
    assert {path: path.read_bytes() for path in before} == before


def test_an_output_takes_the_place_of_the_old_one_wholly_or_not_at_all(tmp_path: Path) -> None:
    real, link = tmp_path / "1.json", tmp_path / "verdict.json"
    real.write_text("old")
    link.symlink_to(real)
    with pytest.raises(UnicodeEncodeError):
        write_whole(link, "n" * 100_000 + "\udc80")
    assert real.read_text() == "old"
    write_whole(link, "new")
    assert link.is_symlink()
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"1.json": "new", "verdict.json": "new"}


def test_a_device_as_output_stays_a_device() -> None:
    write_whole(Path(os.devnull), "{}")
    assert Path(os.devnull).is_char_device()


def test_rules_that_could_not_be_tested_are_shown(
    files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    current, output = tmp_path / "current.csv", tmp_path / "verdict.json"
    frame(3_000, 2).assign(score=None).to_csv(current, index=False)
    compare_files(files[0], current, wanted=Wanted(output=output))
    shown = " ".join(capsys.readouterr().out.split())
    words = DriftVerdict.model_validate_json(output.read_text()).not_tested
    assert any("score" in word for word in words)
    assert all(word in shown for word in words)


def test_an_output_that_cannot_be_written_is_named(files: Files, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(ShadowPlatformError, match="cannot be written: Not a directory"):
        compare_files(*files, wanted=Wanted(output=blocked / "below" / "verdict.json"))


def test_a_report_that_fails_changes_no_exit_code(
    files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert compare_files(*files, wanted=Wanted(html=blocked / "report.html")) == 0
    assert "no report in" in capsys.readouterr().err
