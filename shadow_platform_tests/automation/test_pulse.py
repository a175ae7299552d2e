"""A command that executes a run in its own process beats as long as it lives, and no longer."""

import threading
from collections.abc import Mapping

import dagster as dg
import pytest
from dagster._core.launcher import WorkerStatus
from dagster._core.test_utils import create_run_for_test

from shadow_platform.automation import pulse
from shadow_platform.automation.pulse import LOOKS, Pulse
from shadow_platform.cli.runs import run_job
from shadow_platform.contracts.retraining import BEAT_TAG, HOST_TAG

WAIT_S = 60.0


def test_a_run_of_a_command_beats_until_it_ends(instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when the storage is away for one beat.

    The heart writes only while the run waits for it: a storage in memory refuses two threads at once.
    """
    waits, beaten, hearts = threading.Event(), threading.Event(), set[threading.Thread]()
    tried, write = list[int](), instance.add_run_tags

    def written(run_id: str, tags: Mapping[str, str]) -> None:
        hearts.add(threading.current_thread())
        assert waits.wait(WAIT_S)
        if beaten.is_set():
            return
        tried.append(int(tags[BEAT_TAG]))
        if len(tried) == 1:
            raise ConnectionError
        write(run_id, tags)
        beaten.set()

    @dg.op
    def until_a_beat() -> None:
        waits.set()
        assert beaten.wait(WAIT_S)

    @dg.job
    def waiting() -> None:
        until_a_beat()

    monkeypatch.setattr(pulse, "BEAT_S", 0.01)
    monkeypatch.setattr(instance, "add_run_tags", written)
    run_id = run_job(waiting, instance)
    run = instance.get_run_by_id(run_id)

    assert run is not None
    assert int(run.tags[BEAT_TAG]) == tried[-1] > tried[0] == 1
    assert [heart.is_alive() for heart in hearts] == [False]


def test_silence_is_looked_at_often_before_it_counts(instance: dg.DagsterInstance) -> None:
    run, listener = create_run_for_test(instance, tags={HOST_TAG: "elsewhere", BEAT_TAG: "7"}), Pulse()

    assert [listener.health(run).status for _ in range(LOOKS)] == [WorkerStatus.RUNNING] * LOOKS
    assert listener.health(run).status is WorkerStatus.FAILED
    assert Pulse().health(run).status is WorkerStatus.RUNNING


def test_a_run_that_never_beat_is_left_alone(instance: dg.DagsterInstance) -> None:
    run, listener = create_run_for_test(instance, tags={HOST_TAG: "elsewhere"}), Pulse()

    assert {listener.health(run).status for _ in range(LOOKS + 1)} == {WorkerStatus.RUNNING}
