"""One record for every prediction a challenger was sent, whatever happened to it."""

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadow_platform.contracts.records import ModelAnswer, PredictionRecord, ShadowRecord, SourceOffset
from shadow_platform.domain.shadow import (
    Challenger,
    Circuit,
    CircuitPolicy,
    Result,
    Score,
    ShadowPolicy,
    compare,
    is_a_a,
    present,
    summarise,
)
from shadow_platform_tests.tiny import USE_CASE

CHALLENGER = Challenger("2", 0.5)


def prediction(probability: float = 0.4) -> PredictionRecord:
    return PredictionRecord(
        "r", "tiny", "v1", {}, "2024-01-01T00:00:00.000Z", "2024-01-01T00:00:01.000Z", {}, {}, None,
        "1", "hash", "champion", 1.0, probability, probability >= 0.5, 0.5, 2.0,
    )  # fmt: skip


def record(score: Score, probability: float = 0.4) -> ShadowRecord:
    return compare(prediction(probability), SourceOffset("s", 1), CHALLENGER, score, compared_at="t")


def test_a_number_is_compared() -> None:
    got = record(Score(0.75, 0.1))
    assert (got.outcome, got.prediction_match, got.challenger.prediction) == ("compared", False, True)
    assert got.probability_diff == pytest.approx(0.35)
    assert (got.champion.probability, got.champion.model_version, got.champion.latency_ms) == (0.4, "1", 2.0)


@pytest.mark.parametrize("probability", [None, math.nan, math.inf, -0.1, 1.1])
def test_what_is_no_probability_is_a_failure(probability: float | None) -> None:
    got = record(Score(probability, 0.1))
    assert got.outcome == "failed"
    assert (got.challenger.probability, got.probability_diff, got.prediction_match) == (None, None, None)
    assert "expected a probability" in str(got.challenger.error)


def test_an_error_is_a_failure_with_its_text() -> None:
    got = record(Score(error="ValueError: no"))
    assert (got.outcome, got.challenger.error) == ("failed", "ValueError: no")


@pytest.mark.parametrize("reason", ["lag", "sampling", "circuit_open"])
def test_a_dropped_prediction_says_why(reason: str) -> None:
    got = record(Score(drop_reason=reason))  # type: ignore[arg-type]
    assert (got.outcome, got.drop_reason, got.challenger.error) == ("dropped", reason, None)


def test_nothing_is_dropped_by_default_and_old_predictions_are_when_told() -> None:
    assert ShadowPolicy().drop_reason("r", 1e9) is None
    assert ShadowPolicy(max_lag_s=10).drop_reason("r", 10.0) is None
    assert ShadowPolicy(max_lag_s=10).drop_reason("r", 10.1) == "lag"


def test_sampling_follows_from_the_request_alone() -> None:
    policy = ShadowPolicy(sample_rate=0.25)
    kept = [n for n in range(4000) if policy.drop_reason(f"request-{n}", 0.0) is None]
    assert 0.22 < len(kept) / 4000 < 0.28
    assert kept == [n for n in range(4000) if policy.drop_reason(f"request-{n}", 0.0) is None]


def test_the_summary_adds_up() -> None:
    records = [
        record(Score(0.75, 0.1)),
        record(Score(0.45, 0.2)),
        record(Score(0.3, 0.3), probability=0.9),
        record(Score(error="boom")),
        record(Score(drop_reason="lag")),
    ]
    got = summarise(records)
    assert got["sent"] == got["compared"] + got["failed"] + got["dropped"] == 5
    assert (got["flips_to_positive"], got["flips_to_negative"]) == (1, 1)
    assert got["agreement_rate"] == pytest.approx(1 / 3)
    assert got["probability_diff"]["p50"] == pytest.approx(0.05)
    assert got["errors"] == {"boom": 1}
    assert got["drop_reasons"] == {"lag": 1}


def test_answers_of_the_challenger_itself_are_shown_apart() -> None:
    own = replace(record(Score(0.75, 0.1)), champion=ModelAnswer(0.25, False, 2.0, CHALLENGER.version))
    other = record(Score(0.4, 0.1))
    got = summarise([own, other])
    assert is_a_a(own)
    assert not is_a_a(other)
    assert (got["compared"], got["agreement_rate"], got["flips_to_positive"]) == (2, 1.0, 0)
    assert got["a_a"] == {"n": 1, "max_abs_diff": own.probability_diff}


def test_the_summary_of_nothing_gives_no_number() -> None:
    got = summarise([])
    assert (got["sent"], got["agreement_rate"], got["probability_diff"]["p50"]) == (0, None, None)


def test_a_record_reads_as_the_contract_says() -> None:
    got = present(record(Score(0.75, 0.1)), "visit_id", USE_CASE.answer)
    assert got["visit_id"] == "v1"
    assert got["champion"] == {
        "prediction": {"purchase_probability": 0.4, "purchase_prediction": False},
        "latency_ms": 2.0,
        "model_version": "1",
    }
    assert got["challenger"]["error"] is None
    assert got["comparison"] == {"probability_diff": pytest.approx(0.35), "prediction_match": False}


POLICY = CircuitPolicy(max_in_a_row=4, max_share=0.5, max_lost=2, window=10, pause_s=30.0, probes=3)


FOUR_FAILURES: list[Result] = ["failed"] * 4


def closed(*results: Result) -> Circuit:
    """A circuit that was closed when these results came."""
    return Circuit(POLICY).after(results, now_s=100.0)


@pytest.mark.parametrize(
    ("results", "state"),
    [
        (["failed"] * 3, "closed"),
        (["failed"] * 4, "open"),
        (["failed"] * 3 + ["answered"], "closed"),
        (["lost"], "closed"),
        (["lost", "answered", "lost"], "open"),
        (["answered", "failed", "failed"] * 3, "closed"),
        (["answered", "failed", "failed"] * 3 + ["failed"], "open"),
        (["answered", "failed"] * 5, "closed"),
    ],
    ids=["3 of 4", "in a row", "broken row", "one lost", "two lost", "window not full", "share", "share not above"],
)
def test_a_circuit_opens_at_its_limits_and_not_before(results: list[Result], state: str) -> None:
    assert closed(*results).state == state


def test_an_open_circuit_admits_none_until_its_pause_is_over_then_its_probes() -> None:
    opened = closed(*FOUR_FAILURES)
    assert (opened.at(129.9).admitted(100), opened.at(130.0).admitted(100)) == (0, 3)
    assert opened.at(130.0).after(["answered"], 130.0).admitted(100) == 2
    assert opened.at(130.0).after(["answered"] * 3, 130.0).state == "closed"


def test_one_failed_probe_opens_it_for_another_pause() -> None:
    again = closed(*FOUR_FAILURES).at(130.0).after(["answered", "failed"], 131.0)
    assert (again.state, again.at(160.9).state, again.at(161.0).state) == ("open", "open", "half_open")


def test_what_failed_before_it_closed_is_forgiven() -> None:
    recovered = closed("lost", "lost").at(130.0).after(["answered"] * 3, 130.0)
    assert recovered.after(["lost"], 131.0).state == "closed"


@given(st.lists(st.lists(st.sampled_from(["answered", "failed", "lost"]), max_size=20), max_size=20))
def test_a_circuit_holds_no_more_than_its_window_and_a_good_challenger_always_gets_back(
    batches: Sequence[Sequence[Result]],
) -> None:
    circuit, now_s = Circuit(POLICY), 0.0
    for batch in batches:
        circuit = circuit.at(now_s)
        circuit = circuit.after(batch[: circuit.admitted(len(batch))], now_s)
        assert len(circuit.recent) <= POLICY.window
        now_s += 10.0
    for _ in range(POLICY.window):
        circuit = circuit.at(now_s)
        circuit = circuit.after(["answered"] * circuit.admitted(1), now_s)
        now_s += 10.0
    assert circuit.state == "closed"
