"""The judgement on an A/A run: what differs, by how much, and which of two causes it has."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadow_platform.contracts.a_a import AskedAgain, OwnAnswer, SelfShadowing
from shadow_platform.contracts.use_case import GatePolicy
from shadow_platform.contracts.verdicts import AAFacts, Outcome
from shadow_platform.domain.a_a import difference, judge

POLICY = GatePolicy(min_a_a=3, max_a_a_difference=1e-5)
START = datetime(2024, 1, 1, tzinfo=UTC)
PROBABILITY = st.floats(0.0, 1.0)


def answer(place: int, logged: float, *given_again: float, age: float | None = None) -> OwnAnswer:
    return OwnAnswer(
        request_id=f"r-{place}",
        requested_at=START + timedelta(hours=place),
        probability=logged,
        prediction=logged >= 0.5,
        feature_age_s=age,
        again=tuple(AskedAgain(probability=p, prediction=p >= 0.5) for p in given_again),
    )


def run(*answers: OwnAnswer) -> SelfShadowing:
    return SelfShadowing(version="4", bundle_hash="hash", cuts=(512, 1), answers=answers)


SAME = [answer(place, 0.1 * place, 0.1 * place, 0.1 * place) for place in range(3)]


def test_equal_answers_pass_with_the_period_they_cover() -> None:
    verdict = judge(run(*SAME), POLICY)
    assert (verdict.outcome, verdict.n, verdict.n_differing, verdict.max_difference) == (Outcome.PASS, 3, 0, 0.0)
    assert (verdict.first_request_at, verdict.last_request_at) == (START, START + timedelta(hours=2))
    assert verdict.reason == "all 3 answers are given again by version 4 in batches of 512 and of 1"


@pytest.mark.parametrize("n", [0, 2])
def test_fewer_answers_than_wanted_are_no_evidence(n: int) -> None:
    verdict = judge(run(*SAME[:n]), POLICY)
    assert verdict.outcome is Outcome.INSUFFICIENT
    assert verdict.reason == f"{n} answers of version 4 could be compared, at least 3 wanted"
    assert (verdict.max_difference is None) == (n == 0)


def test_one_difference_fails_however_few_were_asked() -> None:
    assert judge(run(answer(0, 0.2, 0.3, 0.3)), POLICY).outcome is Outcome.FAIL


def test_the_request_that_differs_most_is_named_with_both_answers() -> None:
    verdict = judge(run(*SAME, answer(5, 0.2, 0.25, 0.25), answer(6, 0.2, 0.21, 0.21)), POLICY)
    assert verdict.n_differing == 2
    assert verdict.max_difference == pytest.approx(0.05)
    assert verdict.reason.startswith(
        "2 of 5 answers differ by more than 1e-05 or in the decision, most of all request r-5 of 2024-01-01 05:00:00: "
        "0.2 was answered, 0.25 in the shadow; suspect a stale or wrongly logged feature"
    )


@pytest.mark.parametrize(
    ("age", "told"), [(90.4, "its oldest feature values were 90 s old"), (None, "it read no feature view")]
)
def test_the_age_of_the_features_is_told_when_they_are_the_suspect(age: float | None, told: str) -> None:
    assert told in judge(run(answer(0, 0.2, 0.3, 0.3, age=age)), POLICY).reason


def test_answers_that_vary_with_the_cut_are_called_nondeterminism() -> None:
    reason = judge(run(answer(0, 0.2, 0.2, 0.3, age=90.0)), POLICY).reason
    assert "0.2 was answered, 0.2 and 0.3 in the shadow; suspect nondeterminism" in reason
    assert "stale" not in reason


def test_a_decision_on_the_edge_of_the_threshold_may_fall_otherwise_within_the_tolerance() -> None:
    verdict = judge(run(*SAME, answer(4, 0.5, 0.4999999, 0.5)), POLICY)
    assert (verdict.outcome, verdict.n_flips, verdict.n_differing) == (Outcome.PASS, 1, 0)


@pytest.mark.parametrize(("probability", "again"), [(0.3, 0.3), (0.3, 0.3000001), (0.7, 0.7), (0.7, 0.6999999)])
def test_another_decision_that_no_threshold_explains_is_a_difference(probability: float, again: float) -> None:
    told = answer(4, probability, again, again).model_copy(update={"prediction": probability < 0.5})
    verdict = judge(run(*SAME, told), POLICY)
    assert (verdict.outcome, verdict.n_flips, verdict.n_differing) == (Outcome.FAIL, 1, 1)
    assert "suspect another threshold" in verdict.reason


def test_a_tolerated_difference_passes_and_is_told() -> None:
    verdict = judge(run(*SAME, answer(3, 0.3, 0.300009, 0.3)), POLICY)
    assert (verdict.outcome, verdict.n_differing) == (Outcome.PASS, 0)
    assert verdict.max_difference == pytest.approx(9e-6)


def test_without_a_limit_any_probability_is_tolerated() -> None:
    unbounded = GatePolicy(min_a_a=1, max_a_a_difference=None)
    assert judge(run(answer(0, 0.1, 0.9, 0.9)), unbounded).outcome is Outcome.PASS


def test_a_request_that_failed_in_one_cut_is_not_compared_and_fails_the_run() -> None:
    lost = answer(7, 0.2, 0.2).model_copy(
        update={"again": (AskedAgain(probability=0.2, prediction=False), AskedAgain(error="process died: SIGKILL"))}
    )
    verdict = judge(run(*SAME, lost, answer(8, 0.2, 0.3, 0.3)), POLICY)
    assert (verdict.outcome, verdict.n, verdict.n_failed, verdict.n_differing) == (Outcome.FAIL, 4, 1, 1)
    assert verdict.reason.endswith("1 of 5 requests have no answer in the shadow, the first r-7: process died: SIGKILL")


@pytest.mark.parametrize(
    "lost",
    [
        AskedAgain(),
        AskedAgain(prediction=False),
        AskedAgain(probability=0.2),
        AskedAgain(probability=float("nan"), prediction=False),
        AskedAgain(probability=float("inf"), prediction=False),
    ],
)
def test_an_answer_that_is_none_fails_the_run(lost: AskedAgain) -> None:
    told = answer(7, 0.2, 0.2).model_copy(update={"again": (AskedAgain(probability=0.2, prediction=False), lost)})
    for given_run in (run(*SAME, told), SelfShadowing.model_validate_json(run(*SAME, told).model_dump_json())):
        verdict = judge(given_run, POLICY)
        assert (verdict.outcome, verdict.n, verdict.n_failed, verdict.n_differing) == (Outcome.FAIL, 3, 1, 0)
        assert "r-7: an answer without a probability or a decision" in verdict.reason


def test_a_logged_answer_that_is_no_number_is_a_difference() -> None:
    verdict = judge(run(*SAME, answer(7, float("nan"), 0.2, 0.2)), POLICY)
    assert (verdict.outcome, verdict.n_differing) == (Outcome.FAIL, 1)


@pytest.mark.parametrize(
    ("changed", "tolerated", "least", "counts"),
    [
        ({}, 1e-5, 200, True),
        ({"n": 199}, 1e-5, 200, False),
        ({"max_difference": 1e-4, "limit": 1e-3}, 1e-5, 200, False),
        ({"max_difference": 1e-6, "limit": 1e-3}, 1e-5, 200, True),
        ({"max_difference": 0.3, "limit": None}, 1e-5, 200, False),
        ({"max_difference": 0.3, "limit": None}, None, 200, True),
        ({"max_difference": 0.3, "is_explained": True}, 1e-5, 200, True),
        ({"max_difference": 0.3, "is_explained": True}, 1e-3, 200, True),
        ({"max_difference": 0.3, "is_explained": True}, 1e-6, 200, False),
        ({"max_difference": 0.3, "is_explained": True}, 1e-5, 1_001, False),
        ({"outcome": Outcome.FAIL, "n": 3}, 1e-5, 200, True),
        ({"outcome": Outcome.FAIL}, 1e-6, 200, True),
        ({"outcome": Outcome.FAIL}, 1e-4, 200, False),
        ({"outcome": Outcome.INSUFFICIENT}, 1e-5, 200, False),
    ],
)
def test_a_run_counts_only_for_a_policy_that_it_could_have_been_judged_by(
    changed: dict[str, object], tolerated: float | None, least: int, counts: bool
) -> None:
    facts = AAFacts(
        run_id="run",
        n=1_000,
        n_differing=0,
        max_difference=0.0,
        limit=1e-5,
        outcome=Outcome.PASS,
        is_explained=False,
        ran_at=START,
    ).model_copy(update=changed)
    assert (facts.shortfall(tolerated, least) is None) == counts


@given(st.lists(st.tuples(PROBABILITY, PROBABILITY, PROBABILITY), max_size=8), st.floats(0.0, 1.0))
def test_a_run_passes_only_if_enough_were_compared_and_none_differs(
    given_again: list[tuple[float, float, float]], limit: float
) -> None:
    answers = [answer(place, *values) for place, values in enumerate(given_again)]
    verdict = judge(run(*answers), GatePolicy(min_a_a=3, max_a_a_difference=limit))
    is_clean = all(difference(found) <= limit for found in answers)
    assert (verdict.outcome is Outcome.PASS) == (is_clean and len(answers) >= 3)
    assert (verdict.outcome is Outcome.FAIL) == (not is_clean)
    assert verdict.n_differing <= verdict.n == len(answers)
    assert verdict.n_flips <= verdict.n
