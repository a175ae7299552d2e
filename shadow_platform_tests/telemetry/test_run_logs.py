"""Runs of Dagster, executed as ``dagster.yaml`` says: their spans reach a collector, and their lines are JSON."""

import json
import os
import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

from shadow_platform_tests.otlp import Collector, collecting
from shadow_platform_tests.processes import free_port
from shadow_platform_tests.telemetry.runs import DAY

OURS = {"timestamp", "level", "logger", "message", "process", "pid"}


def run(home: Path, executor: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """The job's process, when it ended."""
    home.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(str(files("shadow_platform") / "dagster.yaml"), home / "dagster.yaml")
    environment = {**os.environ, "DAGSTER_HOME": str(home), "SHADOW_HOME": str(home.parent), **variables}
    command = [sys.executable, "-m", "shadow_platform_tests.telemetry.runs", executor]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=150, check=True)


def check_spans(collector: Collector, run_id: str) -> None:
    (root,) = collector.named("run daily")
    steps = {span.name: span for span in collector.spans if span.name.startswith("step ")}
    fine, failed = steps["step shop__events"], steps["step shop__features"]

    assert (root.trace_id, root.parent, root.service) == (run_id.replace("-", ""), "", "shadow-platform-dagster")
    assert (root.is_error, root.problem) == (True, "failed")
    assert {(span.trace_id, span.parent) for span in (fine, failed)} == {(root.trace_id, root.span_id)}
    assert root.started_ns <= fine.started_ns <= fine.ended_ns <= failed.started_ns <= root.ended_ns
    assert fine.attributes == {
        "dagster.run_id": run_id,
        "dagster.job": "daily",
        "dagster.step": "shop__events",
        "dagster.assets": "shop/events",
        "dagster.partition": DAY,
    }
    assert not fine.is_error
    assert failed.is_error
    assert b"marker-4711" not in b"".join(collector.bodies)


@pytest.mark.parametrize("executor", ["in_process", "multiprocess"])
def test_a_run_is_a_trace_of_its_steps_whatever_process_they_ran_in_and_its_lines_are_json(
    executor: str, tmp_path: Path
) -> None:
    with collecting() as collector:
        done = run(
            tmp_path / "home" / "dagster",
            executor,
            LOG_FORMAT="json",
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
        )
        run_id = done.stdout.strip().splitlines()[-1]
        check_spans(collector, run_id)

    # A process of one step says that it started before it loads anything of the platform.
    told = [line for line in done.stderr.splitlines() if executor == "in_process" or "STEP_WORKER_" not in line]
    lines = [json.loads(line) for line in told]
    assert all(set(line) >= OURS for line in lines)
    of_run = [line for line in lines if line.get("run_id") == run_id]
    (said,) = [line for line in of_run if "rows kept" in line["message"]]
    assert said["message"] == "3 rows kept, password=***"
    assert (said["job"], said["step"], said["partition"]) == ("daily", "shop__events", DAY)
    assert said["trace_id"] == run_id.replace("-", "")
    assert any("ValueError" in line.get("stack", "") for line in of_run)
    assert "marker-4711" not in done.stderr
    assert "too quiet" not in done.stderr


def test_text_stays_dagsters_own_and_a_collector_that_is_away_fails_no_run(tmp_path: Path) -> None:
    done = run(
        tmp_path / "home" / "dagster", "in_process", OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{free_port()}"
    )

    assert "3 rows kept" in done.stderr
    assert not [line for line in done.stderr.splitlines() if line.startswith("{")]
    assert "BetaWarning" not in done.stderr
