"""``shadow retrain``: trains when asked with reason, says why otherwise, and leaves a row either way."""

import dagster as dg
import pytest
from dagster._core.test_utils import create_run_for_test
from typer.testing import CliRunner

from shadow_platform.adapters.lake import Lake
from shadow_platform.cli import typer_app
from shadow_platform.cli.runs import prepare_dagster_home
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.tables import PIPELINE_RUNS
from shadow_platform.settings import load_settings
from shadow_platform_tests.assets.test_retraining_request import judged
from shadow_platform_tests.tiny import USE_CASE

NAME = "shadow_platform_tests.tiny:USE_CASE"


def retrain(*options: str) -> tuple[int, str]:
    """Exit code and output of the command."""
    result = CliRunner().invoke(typer_app, ["retrain", "-u", NAME, *options])
    return result.exit_code, result.output


def recorded(layout: Layout) -> list[tuple[str, str, str]]:
    """Trigger, outcome and reason of every row of pipeline_runs."""
    rows = Lake(layout).read_table(PIPELINE_RUNS, USE_CASE).sort_values("considered_at")
    return [(str(row.trigger), str(row.outcome), str(row.reason)) for row in rows.itertuples()]


def test_without_reason_nothing_is_trained_and_it_costs_no_cooldown(layout: Layout) -> None:
    judged(layout, 1, "pass", 0.25)
    for _ in range(2):
        code, told = retrain()
        assert code == 1
        assert "is pass with 25% of the features drifted, threshold 30%; force_retrain" in told
    rows = recorded(layout)
    assert [row[:2] for row in rows] == [("manual", "skipped")] * 2
    assert rows[0][2].startswith("nothing to do: the newest drift verdict, of the window until 2024-02-14")


def test_without_a_threshold_the_one_of_the_environment_counts(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    judged(layout, 1, "pass", 0.4)
    monkeypatch.setenv("DRIFT_THRESHOLD", "0.6")
    code, told = retrain()
    assert code == 1
    assert "is pass with 40% of the features drifted, threshold 60%; force_retrain" in told


def test_a_run_of_a_moment_ago_holds_it_back_and_force_does_not_ask(layout: Layout) -> None:
    judged(layout, 1, "fail", 1.0)
    code, told = retrain("--force")
    assert code == 1
    assert "tiny has no events" in str(told)
    code, told = retrain()
    assert code == 1
    assert told.startswith("held back: cooldown of 6:00:00 after run ")
    assert "asked for by manual by-hand-" in told
    assert [row[:2] for row in recorded(layout)] == [("manual", "started"), ("manual", "skipped")]


def test_not_even_force_starts_a_second_training(layout: Layout) -> None:
    prepare_dagster_home(load_settings())
    with dg.DagsterInstance.get() as instance:
        run = create_run_for_test(instance, job_name="tiny_retrain", status=dg.DagsterRunStatus.STARTED)
    code, told = retrain("--force")
    assert code == 1
    assert f"held back: run {run.run_id} (asked for by a person) of tiny_retrain is not finished" in told
    assert told.strip().endswith("; try again when it is over")
    assert [row[:2] for row in recorded(layout)] == [("manual", "skipped")]


def test_a_threshold_beyond_a_share_is_refused() -> None:
    code, told = retrain("--drift-threshold", "1.5")
    assert code == 2
    assert "drift-threshold" in told
