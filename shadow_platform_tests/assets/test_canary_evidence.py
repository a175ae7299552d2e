"""A look at a canary reads what was logged since the one before, a tick only so much of it, and none of it twice."""

from datetime import timedelta
from itertools import chain
from pathlib import Path

import pytest

from shadow_platform.adapters.deployment.canary_evidence import read_canary_evidence
from shadow_platform.automation import promoting
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.rollouts import CanaryEvidence, RolloutState
from shadow_platform.contracts.use_case import RolloutPolicy
from shadow_platform.contracts.verdicts import Outcome
from shadow_platform_tests.assets.rolling import CANARIES, HOUR, Rolling

LIMIT = 50


@pytest.fixture
def rolling(layout: Layout) -> Rolling:
    """A canary that answers since now."""
    made = Rolling(layout, RolloutPolicy(canary_steps=CANARIES))
    made.decide()
    made.promote()
    return made


def evidence(rolling: Rolling) -> CanaryEvidence:
    found = read_canary_evidence(rolling.layout, rolling.use_case.name)
    assert found is not None
    return found


def n_read(rolling: Rolling) -> int:
    """Lines of the log that were read so far."""
    root = rolling.layout.log("predictions", rolling.use_case.name)
    return sum((root / segment).read_bytes()[:end].count(b"\n") for segment, end in evidence(rolling).after.items())


def segments(rolling: Rolling) -> list[Path]:
    return sorted(rolling.layout.log("predictions", rolling.use_case.name).rglob("*.jsonl"))


def test_a_tick_reads_so_many_lines_and_the_next_goes_on(rolling: Rolling, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(promoting, "LINES_A_LOOK", LIMIT)
    rolling.now += HOUR / 2
    rolling.answer_as_canary(70)
    rolling.answer_as_canary(40)
    seen = []
    for _ in range(4):
        due, reason = promoting.due_now(rolling.platform, rolling.use_case)
        assert (due, "not before" in reason) == (None, True)
        seen.append(n_read(rolling))
    assert seen == [LIMIT, 2 * LIMIT, 110, 110]
    assert "requests" not in reason, "enough were answered, only time is lacking"


def test_what_was_read_is_not_read_again(rolling: Rolling) -> None:
    rolling.now += HOUR
    rolling.answer_as_canary(60)
    assert "60 requests so far" in rolling.promote()["rollout_detail"]
    for path in segments(rolling):
        path.write_bytes(b"\n" * path.stat().st_size)

    rolling.answer_as_canary(39)

    assert "99 requests so far" in rolling.promote()["rollout_detail"]


def test_a_run_reads_to_the_end_before_it_acts(rolling: Rolling, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the tick has not come to may be what speaks against the canary."""
    monkeypatch.setattr(promoting, "LINES_A_LOOK", 100)
    rolling.now += HOUR
    rolling.answer_as_canary(100)
    rolling.now += HOUR
    rolling.answer_as_canary(400, is_failed=True)
    assert str(promoting.due_now(rolling.platform, rolling.use_case)[0]).endswith(":share")

    rolling.promote()

    assert "400 of 500 requests failed" in rolling.rollout.detail
    assert rolling.rollout.state is RolloutState.HALTED


def test_read_in_parts_the_verdict_is_the_same(rolling: Rolling) -> None:
    rolling.now += HOUR
    for latency_ms in (5.0, 900.0, 5.0, 700.0):
        answers = [rolling.canary_answer(i, latency_ms, ago=timedelta(seconds=i)) for i in range(80)]
        rolling.log_of_a_worker(list(chain.from_iterable([answer] * 2 for answer in reversed(answers))))
    since, ask = rolling.rollout.step_started_at, rolling.platform.canary_verdict
    at_once = ask(rolling.use_case, "2", since)
    rolling.layout.canary_evidence(rolling.use_case.name).unlink()

    in_parts = [ask(rolling.use_case, "2", since, limit=7) for _ in range(640 // 7 + 1)]

    assert in_parts[-1] == at_once
    assert (at_once[0], at_once[1].n, at_once[1].outcome) == (640, 320, Outcome.FAIL)


@pytest.mark.parametrize("is_damaged", [True, False], ids=["what was read cannot be read", "the log lost lines"])
def test_reading_begins_anew_where_what_was_read_is_not_there(rolling: Rolling, is_damaged: bool) -> None:
    rolling.now += HOUR
    rolling.answer_as_canary(60)
    rolling.promote()
    if is_damaged:
        rolling.layout.canary_evidence(rolling.use_case.name).write_bytes(b"{")
    else:
        path = segments(rolling)[-1]
        path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:50]))

    assert f"{60 if is_damaged else 50} requests so far" in rolling.promote()["rollout_detail"]


def test_the_next_step_begins_with_nothing(rolling: Rolling) -> None:
    rolling.now += HOUR
    rolling.answer_as_canary(100)
    rolling.promote()
    assert rolling.rollout.canary_share == 0.25

    assert "no traffic so far" in rolling.promote(later=HOUR)["rollout_detail"]
