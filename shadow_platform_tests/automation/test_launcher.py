"""The launcher knows whether the process of a run lives, and judges a run of another host by its beat alone."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable

import dagster as dg
import pytest
from dagster._core.events import EngineEventData
from dagster._core.launcher import WorkerStatus
from dagster._core.test_utils import create_run_for_test

from shadow_platform.automation.launcher import WatchingRunLauncher
from shadow_platform.automation.pulse import LOOKS
from shadow_platform.contracts.retraining import BEAT_TAG, HOST_TAG

Status = Callable[[int | None, str], WorkerStatus]


@pytest.fixture
def status(instance: dg.DagsterInstance) -> Status:
    """What the launcher says of a run whose process has a number."""
    launcher = WatchingRunLauncher()
    launcher.register_instance(instance)

    def of(pid: int | None, host: str = socket.gethostname()) -> WorkerStatus:
        run = create_run_for_test(instance, tags={HOST_TAG: host}, status=dg.DagsterRunStatus.STARTED)
        if pid is not None:
            instance.report_engine_event("Started process for run", run, EngineEventData.in_process(pid))
        return launcher.check_run_worker_health(run).status

    return of


def test_a_run_whose_process_lives_is_running(status: Status) -> None:
    assert status(os.getpid(), socket.gethostname()) is WorkerStatus.RUNNING


def test_a_run_whose_process_is_gone_has_failed(status: Status) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert status(process.pid, socket.gethostname()) is WorkerStatus.FAILED


def test_a_process_that_ended_and_that_nobody_waited_for_has_failed(status: Status) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert status(process.pid, socket.gethostname()) is WorkerStatus.FAILED
    process.wait()


def test_a_number_that_a_younger_process_took_over_does_not_stand_for_the_run(
    status: Status, monkeypatch: pytest.MonkeyPatch
) -> None:
    long_ago = time.time() - 365 * 86_400
    with monkeypatch.context() as past:
        past.setattr(time, "time", lambda: long_ago)
        verdict = status(os.getpid(), socket.gethostname())
    assert verdict is WorkerStatus.FAILED


def test_a_run_of_another_host_is_left_alone(status: Status) -> None:
    assert status(2**22 + 1, "elsewhere") is WorkerStatus.RUNNING


def test_a_command_of_another_host_that_gives_no_sign_of_life_any_more_has_failed(instance: dg.DagsterInstance) -> None:
    launcher = WatchingRunLauncher()
    launcher.register_instance(instance)
    run = create_run_for_test(instance, tags={HOST_TAG: "elsewhere", BEAT_TAG: "0"}, status=dg.DagsterRunStatus.STARTED)
    found = [launcher.check_run_worker_health(run).status for _ in range(LOOKS + 1)]

    assert (found[0], found[-1]) == (WorkerStatus.RUNNING, WorkerStatus.FAILED)


def test_a_run_that_has_not_said_its_process_is_left_alone(status: Status) -> None:
    assert status(None, socket.gethostname()) is WorkerStatus.RUNNING
