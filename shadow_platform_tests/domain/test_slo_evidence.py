"""What is kept of a canary's step is the same however its log was read, and no more than was asked for."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from shadow_platform.contracts.records import PredictionRecord
from shadow_platform.contracts.rollouts import CanaryEvidence
from shadow_platform.domain.slo import EvidenceTaker, Objectives, latencies_of, most_calls
from shadow_platform_tests.domain.test_slo_calls import CANARY, CHAMPION, FALLBACK

SINCE = datetime(2024, 1, 1, tzinfo=UTC)
STEP = CanaryEvidence(use_case="shop", version="2", since=SINCE, most=20)
Line = tuple[str, PredictionRecord]


def call(i: int, record: PredictionRecord = CANARY) -> PredictionRecord:
    """The i-th call of a step."""
    at = SINCE + timedelta(seconds=1 + i)
    return replace(record, request_id=f"r{i}", logged_at=at.isoformat(), latency_ms=float(i))


def taken(lines: list[Line], begun: CanaryEvidence = STEP) -> CanaryEvidence:
    """The evidence as it is kept and read again."""
    taker = EvidenceTaker(begun)
    for segment, record in lines:
        taker.take(segment, record, datetime.fromisoformat(record.logged_at))
    return CanaryEvidence.model_validate_json(taker.taken().model_dump_json())


def test_calls_of_all_segments_are_in_the_order_of_their_time() -> None:
    lines = [("a", call(1)), ("a", call(3, FALLBACK)), ("b", call(0)), ("b", call(2)), ("b", call(4, CHAMPION))]

    found = taken(lines)

    assert latencies_of(found) == [0.0, 1.0, 2.0, None]
    assert found.n_requests == 3


def test_what_was_logged_before_the_step_or_by_another_version_says_nothing_of_it() -> None:
    found = taken([("a", call(-1)), ("a", replace(call(1), model_version="3"))])

    assert (found.n_requests, latencies_of(found)) == (0, [])


def test_a_batch_that_is_read_in_two_parts_is_one_call() -> None:
    row = call(1)

    found = taken([("b", call(2)), ("a", row)], taken([("a", row), ("a", row)]))

    assert (found.n_requests, latencies_of(found)) == (4, [1.0, 2.0])


@given(st.integers(0, 200), st.data())
def test_the_same_calls_are_kept_in_whatever_order_and_parts_they_are_read(n: int, data: st.DataObject) -> None:
    lines = [(f"worker {i % 3}", call(i)) for i in range(n)]
    at_once = taken(lines)

    in_parts, left = STEP, data.draw(st.permutations(lines))
    while left:
        cut = data.draw(st.integers(1, len(left)))
        in_parts, left = taken(left[:cut], in_parts), left[cut:]

    assert latencies_of(in_parts) == latencies_of(at_once)
    assert (in_parts.n_requests, in_parts.n_halvings) == (n, at_once.n_halvings)
    assert len(at_once.calls) <= STEP.most
    assert len(at_once.calls) == n or at_once.n_halvings


def test_too_many_calls_are_thinned_over_the_whole_step() -> None:
    kept = latencies_of(taken([("a", call(i)) for i in range(50_000)], STEP.model_copy(update={"most": 2_000})))

    assert 900 < len(kept) <= 2_000
    quarters = [
        sum(first <= at < first + 12_500 for at in kept if at is not None) for first in range(0, 50_000, 12_500)
    ]
    assert min(quarters) > len(kept) / 5


def test_no_fewer_calls_are_kept_than_a_verdict_takes() -> None:
    assert most_calls(Objectives(200.0, 0.01, 200)) == 20_000
    assert most_calls(Objectives(200.0, 0.01, 50_000)) == 200_000
