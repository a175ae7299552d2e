"""The gate promotes on evidence, rejects harm, waits otherwise, says why, and repeats itself byte for byte."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score

from shadow_platform.contracts.use_case import GatePolicy
from shadow_platform.contracts.verdicts import (
    AAFacts,
    Decision,
    GateDecision,
    Outcome,
    Purpose,
)
from shadow_platform.domain.gates import alpha_of, decide
from shadow_platform.domain.gates.operation import judge_operation
from shadow_platform.domain.gates.quality import calibration_error, judge_quality
from shadow_platform_tests.cohorts import paired_cohort
from shadow_platform_tests.domain.gates.deciding import A_A, KNOWLEDGE, better, criterion, inputs, worse
from shadow_platform_tests.streams import equal_models


def test_a_better_challenger_is_promoted() -> None:
    decision = decide(inputs(better()))

    assert decision.decision is Decision.PROMOTE
    assert {c.outcome for c in decision.criteria} == {Outcome.PASS}
    assert "log_loss_gain pass: mean gain 0.0" in decision.reason


def test_a_harmful_challenger_is_rejected() -> None:
    decision = decide(inputs(worse()))

    assert decision.decision is Decision.REJECT
    assert criterion(decision, "log_loss_harm").outcome is Outcome.FAIL
    assert decision.reason.startswith("log_loss_harm fail: mean gain -0.0")


def test_an_equal_challenger_waits() -> None:
    decision = decide(inputs(paired_cohort(equal_models(np.random.default_rng(0), 1, 4_000))))

    assert decision.decision is Decision.WAIT
    assert criterion(decision, "log_loss_gain").outcome is Outcome.INSUFFICIENT
    assert criterion(decision, "log_loss_harm").outcome is Outcome.PASS


@pytest.mark.parametrize("n", [0, 1, 199])
def test_few_labels_are_insufficient_whatever_they_say(n: int) -> None:
    decision = decide(inputs(better(4_000).head(n)))

    assert decision.decision is Decision.WAIT
    assert criterion(decision, "matured_labels").outcome is Outcome.INSUFFICIENT
    assert criterion(decision, "log_loss_gain").value is None
    assert f"{n} matured and labelled pairs, at least 200 needed" in decision.reason


def test_few_days_are_insufficient_where_days_are_the_clusters() -> None:
    decision = decide(inputs(better(600)))

    assert criterion(decision, "matured_labels").outcome is Outcome.PASS
    assert criterion(decision, "log_loss_gain").reason == "600 pairs in 6 day clusters, at least 200 in 7 needed"


def test_equal_inputs_give_equal_bytes() -> None:
    first = decide(inputs(better())).model_dump_json()
    again = decide(inputs(better().copy(deep=True))).model_dump_json()

    assert first == again


def test_a_stored_decision_reads_back_as_it_was() -> None:
    decision = decide(inputs(better(50)))

    assert GateDecision.model_validate_json(decision.model_dump_json()) == decision


def columns_read(cohort: pd.DataFrame, policy: GatePolicy) -> set[str]:
    """Columns without which some criterion cannot be judged."""
    found = set()
    for column in cohort.columns:
        try:
            judge_quality(cohort.drop(columns=column), policy, 0.05)
            judge_operation(cohort.drop(columns=column), policy)
        except (KeyError, AttributeError):
            found.add(str(column))
    return found


POLICY = GatePolicy(min_f1_improvement_pct=0.1, segments=("segment",))
COLUMNS_READ = columns_read(better(300), POLICY)


@pytest.mark.parametrize("column", sorted(COLUMNS_READ))
def test_another_cell_of_evidence_is_another_decision(column: str) -> None:
    cohort, other = better(300), better(300)
    cell = other[column].iloc[17]
    changed: object = "failed" if column == "outcome" else 0.123
    if isinstance(cell, bool | np.bool_):
        changed = not cell
    elif isinstance(cell, pd.Timestamp):
        changed = cell + pd.Timedelta(microseconds=1)
    other[column] = [*other[column].iloc[:17], changed, *other[column].iloc[18:]]

    assert decide(inputs(cohort, POLICY)).decision_id != decide(inputs(other, POLICY)).decision_id


def test_what_decisions_hid_is_among_the_evidence() -> None:
    assert {"label", "is_prevented", "is_hidden", "label_propensity", "outcome", "requested_at"} <= COLUMNS_READ


def test_another_policy_bundle_or_time_is_another_decision() -> None:
    base = inputs(better(300))
    variants = [
        base,
        inputs(better(300), GatePolicy(alpha=0.04)),
        replace(base, fingerprints={"champion": "c", "challenger": "e"}),
        replace(base, as_of=datetime(2013, 5, 2, tzinfo=UTC)),
        inputs(better(300), challenger="3"),
        inputs(better(300), purpose=Purpose.WATCH),
        replace(base, sequence=base.sequence.model_copy(update={"ordinal": 2, "alpha": 0.0076})),
        replace(base, a_a=A_A.model_copy(update={"n": 999})),
        replace(base, knowledge=None),
        replace(base, parity_n=999),
        replace(base, maturity=base.maturity.model_copy(update={"n_requests": 301, "n_pending": 1})),
    ]

    assert len({decide(variant).decision_id for variant in variants}) == len(variants)


def test_a_criterion_left_out_by_policy_is_named() -> None:
    policy = GatePolicy(max_brier_degradation=None, max_a_a_difference=None)
    decision = decide(inputs(better(), policy))

    assert decision.decision is Decision.PROMOTE
    assert "brier_change" not in {c.name for c in decision.criteria}
    assert decision.reason.endswith("left out by policy: f1_improvement_pct, brier_change, a_a_difference, segments")


def test_a_demanded_f1_gain_keeps_a_challenger_waiting() -> None:
    cohort = better()
    decision = decide(inputs(cohort, GatePolicy(min_f1_improvement_pct=50.0)))

    found = criterion(decision, "f1_improvement_pct")
    label = cohort["label"].astype(bool)
    ratio = f1_score(label, cohort["challenger_prediction"]) / f1_score(label, cohort["prediction"])
    assert decision.decision is Decision.WAIT
    assert found.outcome is Outcome.FAIL
    assert found.value == pytest.approx(100 * (ratio - 1))


def test_f1_of_a_champion_that_finds_nothing_is_not_a_number() -> None:
    cohort = better().assign(prediction=False)

    found = criterion(decide(inputs(cohort, GatePolicy(min_f1_improvement_pct=2.0))), "f1_improvement_pct")

    assert (found.outcome, found.value) == (Outcome.INSUFFICIENT, None)


def test_many_failed_requests_reject_and_a_few_do_not() -> None:
    cohort = better()
    few, many = cohort.copy(), cohort.copy()
    few.loc[few.index[::200], "outcome"] = "failed"
    many.loc[many.index[::20], "outcome"] = "failed"

    assert decide(inputs(few)).decision is Decision.PROMOTE
    assert decide(inputs(many)).decision is Decision.REJECT


def test_failures_of_requests_whose_outcome_is_not_known_yet_reject_as_well() -> None:
    given = inputs(better())
    failing = given.answered.tail(200).assign(
        outcome="failed", request_id="new" + given.answered["request_id"].tail(200)
    )
    broken = replace(given, answered=pd.concat([given.answered, failing], ignore_index=True))

    assert decide(given).decision is Decision.PROMOTE
    assert decide(broken).decision is Decision.REJECT
    assert criterion(decide(broken), "matured_labels") == criterion(decide(given), "matured_labels")


def test_an_error_rate_that_may_be_luck_waits() -> None:
    cohort = better()
    cohort.loc[cohort.index[:42], "outcome"] = "failed"

    assert criterion(decide(inputs(cohort)), "challenger_error_rate").outcome is Outcome.INSUFFICIENT


def test_a_slow_challenger_is_rejected() -> None:
    cohort = better()
    cohort.loc[cohort.index[::10], "challenger_latency_ms"] = 900.0

    found = criterion(decide(inputs(cohort)), "challenger_latency_p95_ms")

    assert (found.outcome, found.value, found.limit) == (Outcome.FAIL, 900.0, 200.0)


def test_missing_comparisons_keep_a_challenger_waiting() -> None:
    cohort = better()
    cohort.loc[cohort.index[::50], "outcome"] = "missing"

    decision = decide(inputs(cohort))

    assert decision.decision is Decision.WAIT
    assert criterion(decision, "shadow_coverage").value == pytest.approx(0.98)


def test_dropping_the_hard_cases_is_seen_though_coverage_is_high() -> None:
    cohort = better(8_000)
    hardest = cohort["probability"].nlargest(70).index
    cohort.loc[hardest, "outcome"] = "dropped"

    decision = decide(inputs(cohort))

    assert criterion(decision, "shadow_coverage").outcome is Outcome.PASS
    assert criterion(decision, "coverage_bias").outcome is Outcome.FAIL


def test_unknown_labels_of_matured_requests_keep_a_challenger_waiting() -> None:
    cohort = better()
    cohort.loc[cohort.index[::10], "label"] = pd.NA

    assert criterion(decide(inputs(cohort)), "label_coverage").outcome is Outcome.FAIL


@pytest.mark.parametrize(
    ("parity", "decision"),
    [(Outcome.FAIL, Decision.REJECT), (Outcome.INSUFFICIENT, Decision.WAIT), (Outcome.PASS, Decision.PROMOTE)],
)
def test_onnx_parity_decides(parity: Outcome, decision: Decision) -> None:
    assert decide(replace(inputs(better()), parity=parity)).decision is decision


@pytest.mark.parametrize(
    ("facts", "outcome"),
    [
        (A_A, Outcome.PASS),
        (A_A.model_copy(update={"n_differing": 1, "outcome": Outcome.FAIL}), Outcome.FAIL),
        (A_A.model_copy(update={"n_differing": 1, "max_difference": 0.1, "is_explained": True}), Outcome.PASS),
        (A_A.model_copy(update={"limit": 0.2, "max_difference": 0.1}), Outcome.INSUFFICIENT),
        (A_A.model_copy(update={"outcome": Outcome.FAIL}), Outcome.FAIL),
        (A_A.model_copy(update={"n": 199}), Outcome.INSUFFICIENT),
        (None, Outcome.INSUFFICIENT),
    ],
)
def test_a_champion_that_contradicts_itself_blocks_promotion(facts: AAFacts | None, outcome: Outcome) -> None:
    decision = decide(replace(inputs(better()), a_a=facts))

    assert criterion(decision, "a_a_difference").outcome is outcome
    assert decision.decision is (Decision.PROMOTE if outcome is Outcome.PASS else Decision.WAIT)


def test_a_challenger_trained_on_what_was_not_known_yet_is_rejected() -> None:
    leaked = KNOWLEDGE.model_copy(update={"n_leaked": 3, "detail": "3 of 900 labels became known later"})
    decision = decide(replace(inputs(better()), knowledge=leaked))

    assert decision.decision is Decision.REJECT
    assert decision.reason.startswith("training_knowledge fail: 3 of 900 labels became known later")


def test_a_challenger_of_which_nobody_knows_what_it_was_trained_on_waits() -> None:
    assert decide(replace(inputs(better()), knowledge=None)).decision is Decision.WAIT


def test_a_gain_must_exceed_the_margin_and_harm_its_own() -> None:
    gain = criterion(decide(inputs(better())), "log_loss_gain")
    assert gain.value is not None

    assert decide(inputs(better(), GatePolicy(margin=gain.value * 0.99))).decision is Decision.PROMOTE
    assert decide(inputs(better(), GatePolicy(margin=gain.value * 1.01))).decision is Decision.WAIT
    assert decide(inputs(better(), GatePolicy(margin=0.5))).decision is Decision.WAIT
    assert decide(inputs(worse(), GatePolicy(harm_margin=gain.value * 0.99))).decision is Decision.REJECT
    assert decide(inputs(worse(), GatePolicy(harm_margin=gain.value * 1.01))).decision is Decision.WAIT


def test_a_later_challenger_of_the_family_needs_more_evidence() -> None:
    first = inputs(better())
    tenth = replace(first, sequence=first.sequence.model_copy(update={"ordinal": 10, "alpha": alpha_of(0.05, 10)}))

    values = [criterion(decide(each), "log_loss_gain").value for each in (first, tenth)]

    assert values[0] is not None
    assert values[1] is not None
    assert values[1] < values[0]


def test_calibration_error_is_the_gap_of_equal_bins() -> None:
    probability = np.repeat([0.1, 0.9], 50)

    assert calibration_error(probability, np.zeros(100), np.ones(100), bins=2) == pytest.approx(0.5)
