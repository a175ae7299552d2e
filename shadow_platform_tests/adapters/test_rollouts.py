"""A rollout's file and its log: one of two steps at once counts, and no step is lost from the log."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from shadow_platform.adapters.deployment.rollouts import note_detail, read_rollout, record_step, settle_log, steps
from shadow_platform.adapters.log import FileLogSink, FileLogSource
from shadow_platform.contracts.errors import RegistryError, TransitionConflict
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.rollouts import Rollout, RolloutState
from shadow_platform.contracts.tables import ROLLOUT_STEPS
from shadow_platform_tests.rollouts import rollout

FIRST = rollout(step_id="1")


def record(layout: Layout, step: Rollout, expected: str | None) -> None:
    with closing(FileLogSink(layout.log("rollouts", "tiny"))) as log:
        record_step(layout, log, source(layout), step, expected)


def source(layout: Layout) -> FileLogSource:
    return FileLogSource(layout.log("rollouts", "tiny"))


def test_a_step_is_in_force_and_in_the_log_as_a_row_of_the_table(layout: Layout) -> None:
    assert read_rollout(layout, "tiny") is None
    record(layout, FIRST, None)
    record(layout, rollout(RolloutState.CANARY, step_id="2", n_failures=1, canary_share=0.05), "1")

    found = read_rollout(layout, "tiny")
    assert found is not None
    assert (found.step_id, found.state) == ("2", RolloutState.CANARY)
    rows = steps(source(layout))
    assert [set(row) for row in rows] == [set(ROLLOUT_STEPS.column_names)] * 2
    assert [(row["state"], row["canary_share"], row["is_failure"]) for row in rows] == [
        ("approved", None, False),
        ("canary", 0.05, True),
    ]


def test_of_steps_at_once_one_counts_and_the_others_are_told(layout: Layout) -> None:
    record(layout, FIRST, None)

    def attempt(n: int) -> str:
        try:
            record(layout, rollout(RolloutState.CANARY, step_id=str(n)), "1")
        except TransitionConflict as conflict:
            return str(conflict)
        return "won"

    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(attempt, range(2, 10)))

    found = read_rollout(layout, "tiny")
    assert found is not None
    told = "the rollout of tiny went on meanwhile: rollout dddddddddddd of version 2 is canary"
    assert sorted(outcomes) == [told] * 7 + ["won"]
    assert [row["step_id"] for row in steps(source(layout))] == ["1", found.step_id]


@pytest.mark.parametrize("n_lost", [0, 1])
def test_a_step_that_did_not_reach_the_log_is_appended_once(layout: Layout, n_lost: int) -> None:
    record(layout, FIRST, None)
    if n_lost:
        for segment in layout.log("rollouts", "tiny").rglob("*.jsonl"):
            segment.unlink()
    for _ in range(2):
        with closing(FileLogSink(layout.log("rollouts", "tiny"))) as log:
            settle_log(layout, log, source(layout), "tiny")

    lines = [path.read_text().splitlines() for path in layout.log("rollouts", "tiny").rglob("*.jsonl")]
    assert sum(map(len, lines)) == 1
    assert [row["step_id"] for row in steps(source(layout))] == ["1"]


def test_a_detail_is_noted_of_the_step_it_is_about_alone(layout: Layout) -> None:
    record(layout, FIRST, None)
    note_detail(layout, FIRST, "waits for traffic")
    note_detail(layout, rollout(step_id="gone"), "of a step that is over")

    found = read_rollout(layout, "tiny")
    assert found == FIRST.model_copy(update={"detail": "waits for traffic"})
    assert len(steps(source(layout))) == 1


def test_a_torn_file_says_what_to_do(layout: Layout) -> None:
    record(layout, FIRST, None)
    path = layout.rollout("tiny")
    path.write_bytes(path.read_bytes()[:40])

    with pytest.raises(RegistryError, match=r"tiny\.rollout: Invalid JSON.*remove the file"):
        read_rollout(layout, "tiny")


def test_the_file_is_no_manifest(layout: Layout) -> None:
    record(layout, FIRST, None)

    assert layout.manifests() == []
