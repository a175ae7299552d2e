"""What callers and the logs may rely on while a canary answers some of the subjects."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bento.answering.variants import MAX_CANARY_CALLS
from bento.http import ProblemError
from shadow_platform.domain.canary import variant_of
from shadow_platform_tests.bento.bundles import (
    FAILS_ABOVE,
    hanging_bundle,
    line_bundle,
    raising_bundle,
    wordless_bundle,
)
from shadow_platform_tests.bento.helpers import body_of
from shadow_platform_tests.bento.predictors import OneWorker, set_canary
from shadow_platform_tests.fakes_log import FullLog

BODIES = [body_of(index) for index in range(200)]
TOO_MUCH = FAILS_ABOVE + 20


def worker(home: Path, canary: Callable[[Path], str], **values: object) -> OneWorker:
    bundles = home / "bundles"
    return OneWorker(home, line_bundle(bundles), canary(bundles), **values)  # type: ignore[arg-type]


def steep(bundles: Path) -> str:
    return line_bundle(bundles, slope=0.03)


def subjects(found: OneWorker, variant: str) -> list[str]:
    return [str(body["visit_id"]) for body in BODIES if variant_of(found.rollout, str(body["visit_id"])) == variant]


def test_each_subject_is_answered_by_its_variant_alone_and_in_batches(tmp_path: Path) -> None:
    found = worker(tmp_path, steep, share=0.3)

    async def ask() -> None:
        for body in BODIES:
            await found.answer(body)
        await found.batch(BODIES)

    asyncio.run(ask())
    expected = {"champion": ("1", 0.7), "canary": ("2", 0.3)}
    assert subjects(found, "canary")
    for record in found.records():
        variant = variant_of(found.rollout, record.subject_id)
        assert (record.variant, record.is_fallback) == (variant, False)
        version, propensity = expected[variant]
        assert record.model_version == version
        assert record.propensity == pytest.approx(propensity)


def test_a_batch_of_both_variants_gives_each_row_the_probability_of_its_model(tmp_path: Path) -> None:
    champion, canary = worker(tmp_path / "a", steep, share=0.0), worker(tmp_path / "b", steep, share=1.0)
    mixed = worker(tmp_path / "c", steep, share=0.5)

    async def ask(found: OneWorker) -> dict[str, float]:
        return {answer["visit_id"]: answer["purchase_probability"] for answer in await found.batch(BODIES)}

    of_champion, of_canary, answers = (asyncio.run(ask(found)) for found in (champion, canary, mixed))
    assert list(answers) == [body["visit_id"] for body in BODIES]
    for subject in subjects(mixed, "canary"):
        assert answers[subject] == pytest.approx(of_canary[subject], abs=1e-9)
    for subject in subjects(mixed, "champion"):
        assert answers[subject] == pytest.approx(of_champion[subject], abs=1e-9)


@pytest.mark.parametrize(("kind", "reason"), [(raising_bundle, "InvalidArgument: "), (wordless_bundle, "gave nan")])
def test_a_canary_that_fails_never_fails_its_caller(kind: Callable[[Path], str], reason: str, tmp_path: Path) -> None:
    found = worker(tmp_path, kind, share=1.0)
    answer = asyncio.run(found.answer({"visit_id": "v", "cart_value": TOO_MUCH}))
    (record,), (failure,) = found.records(), found.failed()
    assert answer["model_version"] == record.model_version == "1"
    assert (record.variant, record.is_fallback, record.propensity) == ("champion", True, 1.0)
    assert failure["request_id"] == record.request_id == answer["request_id"]
    assert (failure["variant"], failure["model_version"], failure["reason"]) == ("canary", "2", "canary-failed")
    assert failure["detail"].startswith(reason)
    assert found.counted()["canary_fallbacks_total"] == 1


def test_only_the_rows_without_a_probability_fall_back(tmp_path: Path) -> None:
    found = worker(tmp_path, wordless_bundle, share=1.0)
    bodies = [{"visit_id": f"v-{i}", "cart_value": TOO_MUCH if i % 3 == 0 else 50.0} for i in range(9)]
    answers = asyncio.run(found.batch(bodies))
    assert [answer["model_version"] for answer in answers] == ["1", "2", "2"] * 3
    assert [record.is_fallback for record in found.records()] == [True, False, False] * 3
    assert len(found.failed()) == 3


def test_a_canary_that_hangs_is_given_up_and_asked_again(tmp_path: Path) -> None:
    found = worker(tmp_path, hanging_bundle, share=1.0, canary_timeout_s=1.0)

    async def ask() -> list[str]:
        first = await asyncio.gather(*(found.answer({"visit_id": f"v-{i}", "cart_value": TOO_MUCH}) for i in range(3)))
        for _ in range(200):
            await asyncio.sleep(0.05)
            answer = await found.answer({"visit_id": "w", "cart_value": 50.0})
            if answer["model_version"] == "2":
                break
        return [str(found["model_version"]) for found in (*first, answer)]

    assert asyncio.run(ask()) == ["1", "1", "1", "2"]
    assert {failure["detail"] for failure in found.failed()} <= {
        "no answer within 1000 ms",
        "an earlier call has not returned",
    }


class Gate:
    """What a canary's calls wait for."""

    def __init__(self) -> None:
        self.n_entered = 0
        self.is_open = threading.Event()

    def before_canary_of(self, found: OneWorker) -> None:
        assert found.models.current is not None
        assert found.models.current.canary is not None
        bundle = found.models.current.canary.model.bundle
        predict = bundle.predict

        def wait_and_predict(*arguments: Any) -> Any:
            self.n_entered += 1
            self.is_open.wait()
            return predict(*arguments)

        bundle.predict = wait_and_predict  # type: ignore[method-assign, assignment]

    async def entered(self) -> None:
        while not self.n_entered:
            await asyncio.sleep(0.01)


@pytest.fixture
def gate() -> Iterator[Gate]:
    """Opened at the end, so that no thread is left behind."""
    found = Gate()
    yield found
    found.is_open.set()


@pytest.mark.parametrize("leaves", [False, True])
def test_a_hanging_canary_costs_nobody_time_once_one_request_gave_it_up(
    leaves: bool, gate: Gate, tmp_path: Path
) -> None:
    found = worker(tmp_path, steep, share=1.0, canary_timeout_s=1.0)
    gate.before_canary_of(found)

    async def ask() -> None:
        first, second = (asyncio.create_task(found.answer(body)) for body in BODIES[:2])
        await gate.entered()
        if leaves:
            first.cancel()
        await asyncio.gather(first, second, return_exceptions=True)
        for body in BODIES[2:5]:
            await found.answer(body)

    asyncio.run(ask())
    given_up = ["no answer within 1000 ms"] * (1 if leaves else 2)
    assert [failure["detail"] for failure in found.failed()] == [*given_up, *["an earlier call has not returned"] * 3]


def test_only_so_many_requests_wait_for_a_canary(gate: Gate, tmp_path: Path) -> None:
    found = worker(tmp_path, steep, share=1.0)
    gate.before_canary_of(found)

    async def ask() -> list[dict[str, Any]]:
        calls = [asyncio.create_task(found.answer(body)) for body in BODIES[: MAX_CANARY_CALLS + 5]]
        await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
        gate.is_open.set()
        return await asyncio.gather(*calls)

    answers = asyncio.run(ask())
    assert [answer["model_version"] for answer in answers] == ["2"] * MAX_CANARY_CALLS + ["1"] * 5
    assert {failure["detail"] for failure in found.failed()} == {"an earlier call has not returned"}


def test_nobody_waits_for_the_canary_but_its_own_subjects(tmp_path: Path) -> None:
    found = worker(tmp_path, hanging_bundle, share=0.5)
    hanging, others = subjects(found, "canary")[0], subjects(found, "champion")

    async def ask() -> bool:
        stuck = asyncio.ensure_future(found.answer({"visit_id": hanging, "cart_value": TOO_MUCH}))
        for subject in others:
            await found.answer({"visit_id": subject, "cart_value": TOO_MUCH})
            await asyncio.sleep(0)
        was_waiting = not stuck.done()
        stuck.cancel()
        await asyncio.wait([stuck])
        return was_waiting

    assert asyncio.run(ask())


def test_a_halted_canary_answers_nobody(tmp_path: Path) -> None:
    found = worker(tmp_path, steep, share=1.0)
    set_canary(found.layout, 0.0, halted_reason="p95 of 900 ms")
    assert found.models.refresh()
    answers = asyncio.run(found.batch(BODIES))
    assert {answer["model_version"] for answer in answers} == {"1"}
    assert {(record.propensity, record.is_fallback) for record in found.records()} == {(1.0, False)}


def test_a_champion_that_fails_is_500_and_a_failure_on_record(tmp_path: Path) -> None:
    bundles = tmp_path / "bundles"
    found = OneWorker(tmp_path, raising_bundle(bundles), line_bundle(bundles), share=0.0)
    with pytest.raises(ProblemError, match="version 1 could not score") as problem:
        asyncio.run(found.answer({"visit_id": "v", "cart_value": TOO_MUCH}))
    assert (problem.value.status, problem.value.slug) == (500, "internal-error")
    (failure,) = found.failed()
    assert (failure["variant"], failure["reason"], failure["subject_id"]) == ("champion", "internal-error", "v")
    assert found.records() == []


def test_a_flood_of_failures_is_bounded_and_counted(tmp_path: Path) -> None:
    found = worker(tmp_path, wordless_bundle, share=1.0)
    asyncio.run(found.batch([{"visit_id": f"v-{i}", "cart_value": TOO_MUCH} for i in range(1000)]))
    n_written = len(found.failed())
    assert 100 <= n_written < 1000
    assert found.counted()["failures_unlogged_total"] == 1000 - n_written
    assert found.counted()["canary_fallbacks_total"] == 1000


def test_a_full_device_costs_failures_their_line_and_callers_nothing(tmp_path: Path) -> None:
    found = worker(tmp_path, wordless_bundle, share=1.0, failure_log=FullLog())
    answer = asyncio.run(found.answer({"visit_id": "v", "cart_value": TOO_MUCH}))
    assert answer["model_version"] == "1"
    assert found.failed() == []
    assert found.counted()["failures_unlogged_total"] == 1


def test_the_metrics_tell_the_variants_apart(tmp_path: Path) -> None:
    found = worker(tmp_path, steep, share=0.5)
    asyncio.run(found.batch(BODIES))
    found.metrics.flush()
    variants = {
        variant: found.registry.get_sample_value("prediction_latency_ms_count", {"model_variant": variant})
        for variant in ("champion", "canary")
    }
    assert variants == {variant: len(subjects(found, variant)) for variant in variants}
    assert json.loads(found.log.lines[0])["variant"] in variants
