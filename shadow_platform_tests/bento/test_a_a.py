"""An A/A run: the newest answers of one model, asked again on a challenger's path, and nothing left behind."""

import asyncio
import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from bento.shadowing.a_a import CUTS, newest_answers, shadow_itself
from bento.shadowing.lane_process import Features, LaneProcess
from bento.shadowing.scoring import BATCH, ExclusiveWork
from shadow_platform.adapters.log import FileLogSource
from shadow_platform.contracts.a_a import SelfShadowing
from shadow_platform.contracts.errors import BundleError
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.use_case import GatePolicy
from shadow_platform.contracts.verdicts import Outcome
from shadow_platform.domain.a_a import judge
from shadow_platform.domain.shadow import IsolationPolicy, Score
from shadow_platform_tests.bento.answered import answers
from shadow_platform_tests.bento.bundles import (
    FAILS_ABOVE,
    hanging_bundle,
    line_bundle,
    mingling_bundle,
    raising_bundle,
)
from shadow_platform_tests.bento.helpers import USE_CASE, body_of
from shadow_platform_tests.bento.predictors import OneWorker
from shadow_platform_tests.bento.shadowed import log

POLICY = GatePolicy(min_a_a=20)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


def source(layout: Layout) -> FileLogSource:
    return FileLogSource(layout.log("predictions", USE_CASE))


def ids(run: SelfShadowing) -> list[str]:
    return [answer.request_id for answer in run.answers]


def test_a_deterministic_model_gives_its_answers_again_in_batches_and_row_by_row(layout: Layout) -> None:
    digest = line_bundle(layout.bundles)
    log(layout, answers(layout, digest, range(BATCH + 10)))
    run = shadow_itself(layout, USE_CASE, "1", digest, BATCH + 10)
    assert run.cuts == CUTS == (BATCH, 1)
    assert {len(answer.again) for answer in run.answers} == {2}
    verdict = judge(run, POLICY)
    assert (verdict.outcome, verdict.n, verdict.n_failed, verdict.n_flips) == (Outcome.PASS, BATCH + 10, 0, 0)
    assert verdict.max_difference is not None
    assert verdict.max_difference <= 1e-7


def test_what_a_service_answers_one_by_one_and_in_batches_is_given_again(tmp_path: Path) -> None:
    bundles = Layout(tmp_path).bundles
    worker = OneWorker(tmp_path, line_bundle(bundles), line_bundle(bundles, slope=0.05), share=0.3)
    bodies = [body_of(index) | ({"cart_value": None} if index % 5 == 0 else {}) for index in range(60)]

    async def ask() -> None:
        await worker.batch(bodies[:30])
        for body in bodies[30:]:
            await worker.answer(body)

    asyncio.run(ask())
    log(worker.layout, worker.records())
    verdict = judge(shadow_itself(worker.layout, USE_CASE, "1", worker.champion, 100), POLICY)
    n = sum(record.variant == "champion" for record in worker.records())
    assert (verdict.outcome, verdict.n, verdict.n_flips) == (Outcome.PASS, n, 0)
    assert 20 < n < 60


def test_nothing_is_written_and_no_lane_or_replay_of_the_model_is_waited_for(layout: Layout) -> None:
    digest = line_bundle(layout.bundles)
    log(layout, answers(layout, digest, range(30)))
    with ExclusiveWork(layout, USE_CASE, "1", "live"), ExclusiveWork(layout, USE_CASE, "1", "replay"):
        before = {path: path.read_bytes() for path in layout.home.rglob("*") if path.is_file()}
        assert len(shadow_itself(layout, USE_CASE, "1", digest, 30).answers) == 30
        assert {path: path.read_bytes() for path in layout.home.rglob("*") if path.is_file()} == before


def test_an_answer_that_the_model_does_not_give_is_found_and_named(layout: Layout) -> None:
    digest = line_bundle(layout.bundles)
    told = answers(layout, digest, range(40), feature_age_s=7200.0)
    told[17] = replace(told[17], probability=told[17].probability + 0.02)
    told[23] = replace(told[23], probability=told[23].probability + 0.001)
    log(layout, told)
    verdict = judge(shadow_itself(layout, USE_CASE, "1", digest, 40), POLICY)
    assert (verdict.outcome, verdict.n, verdict.n_differing) == (Outcome.FAIL, 40, 2)
    assert verdict.max_difference == pytest.approx(0.02)
    assert "request r-17 of 2024-01-01 17:00:00" in verdict.reason
    assert "suspect a stale or wrongly logged feature" in verdict.reason
    assert "7200 s old" in verdict.reason


def test_a_model_whose_answer_depends_on_the_batch_is_found_and_called_nondeterministic(layout: Layout) -> None:
    digest = mingling_bundle(layout.bundles)
    log(layout, answers(layout, digest, range(40)))
    run = shadow_itself(layout, USE_CASE, "1", digest, 40)
    verdict = judge(run, POLICY)
    assert verdict.outcome is Outcome.FAIL
    assert verdict.n_differing > 30
    assert "suspect nondeterminism" in verdict.reason
    alone = judge(shadow_itself(layout, USE_CASE, "1", digest, 40, cuts=(1,)), POLICY)
    assert alone.outcome is Outcome.PASS, "row by row, as it was served, nothing shows"


def test_too_few_answers_are_asked_all_the_same_and_are_no_evidence(layout: Layout) -> None:
    digest = line_bundle(layout.bundles)
    log(layout, answers(layout, digest, range(19)))
    verdict = judge(shadow_itself(layout, USE_CASE, "1", digest, 100), POLICY)
    assert (verdict.outcome, verdict.n) == (Outcome.INSUFFICIENT, 19)


def test_a_model_that_has_answered_nobody_is_not_even_started(layout: Layout) -> None:
    run = shadow_itself(layout, USE_CASE, "1", "no such bundle", 100)
    assert run.answers == ()


def test_only_the_newest_answers_that_the_bundle_gave_as_champion_are_asked(layout: Layout) -> None:
    digest = line_bundle(layout.bundles)
    own = answers(layout, digest, range(12))
    others = [
        *answers(layout, digest, range(12, 15), version="2"),
        *answers(layout, digest, range(15, 18), variant="canary"),
        *answers(layout, digest, range(18, 21), is_fallback=True),
        *answers(layout, digest, range(21, 24), bundle_hash="another"),
    ]
    log(layout, [*own, *others])
    assert ids(shadow_itself(layout, USE_CASE, "1", digest, 5)) == [f"r-{place}" for place in range(7, 12)]


def test_the_newest_answers_are_those_of_all_workers(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    digest, root = line_bundle(layout.bundles), layout.log("predictions", USE_CASE)
    own = answers(layout, digest, range(200))
    for worker in (1, 2):
        log(layout, own[worker - 1 :: 2])
        (segment,) = root.rglob(f"{os.getpid()}-*.jsonl")
        segment.rename(segment.with_name(segment.name.replace(str(os.getpid()), str(worker))))
    monkeypatch.setattr("bento.shadowing.a_a.LINE_BYTES", 600)
    found = newest_answers(source(layout), "1", digest, 20)
    assert [prediction.request_id for prediction, _ in found] == [f"r-{place}" for place in range(180, 200)]


def test_a_long_log_is_not_read_from_its_beginning(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = line_bundle(layout.bundles)
    log(layout, answers(layout, digest, range(2000)))
    n_read: list[int] = []
    read = FileLogSource.read

    def counted(self: FileLogSource, after: dict[str, int], limit: int | None = None) -> Iterator[object]:
        for line in read(self, after, limit):
            n_read.append(len(line.payload))
            yield line

    monkeypatch.setattr(FileLogSource, "read", counted)
    assert len(newest_answers(source(layout), "1", digest, 20)) == 20
    assert len(n_read) < 100


def test_requests_on_which_the_shadow_raises_fail_and_are_named(layout: Layout) -> None:
    digest = raising_bundle(layout.bundles)
    fine = [place for place in range(60) if place * 7 % 130 <= FAILS_ABOVE]
    told = answers(layout, digest, fine)
    told[-1] = replace(told[-1], features={"cart_value": FAILS_ABOVE + 1, "channel": "mail"})
    log(layout, told)
    verdict = judge(shadow_itself(layout, USE_CASE, "1", digest, len(told)), POLICY)
    assert (verdict.outcome, verdict.n, verdict.n_failed) == (Outcome.FAIL, len(told) - 1, 1)
    assert f"the first {told[-1].request_id}: InvalidArgument" in verdict.reason


def test_a_request_that_costs_the_model_its_process_fails_and_the_others_are_compared(layout: Layout) -> None:
    digest = hanging_bundle(layout.bundles)
    fine = [place for place in range(30) if place * 7 % 130 <= FAILS_ABOVE]
    told = answers(layout, digest, fine)
    told[3] = replace(told[3], features={"cart_value": FAILS_ABOVE + 1, "channel": "mail"})
    log(layout, told)
    isolation = IsolationPolicy(max_batch_s=1.0)
    verdict = judge(shadow_itself(layout, USE_CASE, "1", digest, len(told), (BATCH,), isolation), POLICY)
    assert (verdict.outcome, verdict.n, verdict.n_failed) == (Outcome.FAIL, len(told) - 1, 1)
    assert "killed after 1 s" in verdict.reason


def test_a_run_whose_model_is_killed_from_outside_asks_again_and_compares_all(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest, killed = line_bundle(layout.bundles), list[int]()
    log(layout, answers(layout, digest, range(30)))
    score = LaneProcess.score

    def killed_once(self: LaneProcess, rows: Sequence[Features]) -> list[Score]:
        if not killed:
            score(self, rows)
            assert self.pid
            killed.append(self.pid)
            os.kill(self.pid, signal.SIGKILL)
        return score(self, rows)

    monkeypatch.setattr(LaneProcess, "score", killed_once)
    verdict = judge(shadow_itself(layout, USE_CASE, "1", digest, 30), POLICY)
    assert killed
    assert (verdict.outcome, verdict.n, verdict.n_failed) == (Outcome.PASS, 30, 0)


def test_a_model_that_does_not_start_is_an_error_and_no_run(layout: Layout) -> None:
    digest = line_bundle(layout.bundles)
    log(layout, answers(layout, digest, range(5)))
    (layout.bundles / digest / "model.onnx").write_bytes(b"tampered")
    with pytest.raises(BundleError, match="does not start"):
        shadow_itself(layout, USE_CASE, "1", digest, 5)
