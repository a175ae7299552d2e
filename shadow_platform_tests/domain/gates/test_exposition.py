"""What a page shows of a decision is what the decision rests on, and its words say what was decided and why."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from shadow_platform.contracts.use_case import DecisionCosts, GatePolicy
from shadow_platform.contracts.verdicts import Maturity, Outcome, Purpose
from shadow_platform.domain.gates import GateInputs, decide, evidence, expose
from shadow_platform.domain.gates.exposition import Exposition, cost_at_capacity
from shadow_platform.domain.gates.quality import judged_pairs
from shadow_platform.domain.gates.wording import WORDS
from shadow_platform_tests.cohorts import START
from shadow_platform_tests.domain.gates.deciding import better, inputs, worse

POLICY = GatePolicy(segments=("segment",))


def shown(given: GateInputs, costs: DecisionCosts | None = None) -> Exposition:
    return expose(given, decide(given), costs)


def test_the_path_ends_where_the_decision_was_made() -> None:
    given = inputs(better(), POLICY)
    path = shown(given).path
    last = evidence(given.cohort, POLICY, given.sequence.alpha)

    assert [look.n for look in path] == list(range(100, 4_001, 100))
    assert (path[-1].mean, path[-1].lower, path[-1].upper) == (last.mean[-1], last.lower[-1], last.upper[-1])
    assert path[-1].at == given.cohort["requested_at"].max().to_pydatetime()
    assert all(look.band_lower <= look.lower <= look.mean <= look.upper <= look.band_upper for look in path)


def test_flips_are_counted_by_segment_and_against_later_labels() -> None:
    cohort = better(600).assign(prediction=False, challenger_prediction=False)
    cohort.loc[cohort.index[:30], "challenger_prediction"] = True
    cohort.loc[cohort.index[30:40], "prediction"] = True
    cohort["label"] = pd.array([True] * 20 + [False] * 580, dtype="boolean")
    cohort.loc[cohort.index[:5], "label"] = pd.NA

    flips = {(flip.group, flip.kind): flip for flip in shown(inputs(cohort, POLICY)).flips}

    swapped_in = flips["all", "swap_in"]
    assert (swapped_in.n, swapped_in.n_labelled, swapped_in.n_positive, swapped_in.n_right) == (30, 25, 15, 15)
    assert swapped_in.share == pytest.approx(30 / 600)
    swapped_out = flips["all", "swap_out"]
    assert (swapped_out.n, swapped_out.n_positive, swapped_out.n_right) == (10, 0, 10)
    by_level = [flips[f"segment={level}", "swap_in"].n for level in ("a", "b")]
    assert by_level == [10, 20]


def test_calibration_bins_hold_every_labelled_pair_once_and_their_intervals_hold_the_share() -> None:
    bins = shown(inputs(better(), POLICY)).calibration

    for model in ("champion", "challenger"):
        of_model = [each for each in bins if each.model == model]
        assert sum(each.n for each in of_model) == 4_000
        assert all(each.low <= each.observed <= each.high for each in of_model)
        assert [each.predicted for each in of_model] == sorted(each.predicted for each in of_model)


def test_segments_are_shown_with_intervals_whether_or_not_they_are_judged() -> None:
    cohort = better(600).assign(segment=["rare"] * 50 + ["b"] * 550)
    changes = {change.level: change for change in shown(inputs(cohort, POLICY)).segments}

    assert [changes[level].is_tested for level in ("rare", "b")] == [False, True]
    assert changes["b"].low < changes["b"].change < changes["b"].high
    assert np.isinf(changes["rare"].high)


def test_coverage_and_latency_are_those_of_the_cohort() -> None:
    cohort = better(600)
    cohort.loc[cohort.index[:6], "outcome"] = ["failed"] * 3 + ["dropped"] * 2 + ["missing"]
    found = shown(inputs(cohort, POLICY))

    assert found.coverage[0].counts == (594, 3, 2, 1)
    assert found.coverage[0].share == pytest.approx(0.99)
    assert [sum(each.counts) for each in found.coverage] == [600, 200, 400]
    assert found.latency_ms == (0.4, 0.4, 0.4)


def test_nothing_is_shown_of_nothing() -> None:
    found = shown(inputs(better().head(0), POLICY), DecisionCosts(1.0, 9.0, "USD"))

    assert (found.path, found.calibration, found.segments, found.latency_ms, found.cost) == ((), (), (), (), None)
    assert "No outcome of a request that both have answered is known yet." in found.sentences


def day_of_requests(probability: list[float], label: list[bool], weight: list[float] | None = None) -> pd.DataFrame:
    n = len(label)
    return pd.DataFrame(
        {
            "requested_at": pd.DatetimeIndex([START] * n),
            "label": label,
            "weight": weight or [1.0] * n,
            "probability": probability,
            "challenger_probability": [1.0 if positive else 0.0 for positive in label],
        }
    )


COSTS = DecisionCosts(false_positive=1.0, false_negative=9.0, currency="USD")


def test_cost_at_capacity_acts_on_the_most_probable_alone() -> None:
    pairs = day_of_requests([0.9, 0.8, 0.7, 0.05], [False, True, True, True])

    unbounded, one = cost_at_capacity(pairs, COSTS), cost_at_capacity(pairs, replace(COSTS, capacity=1))

    assert unbounded is not None
    assert one is not None
    assert (unbounded.champion, unbounded.challenger, unbounded.saved) == (10.0, 0.0, 10.0)
    assert (one.champion, one.challenger, one.saved) == (28.0, 18.0, 10.0)
    assert (one.saved_low, one.n_days) == (None, 1)


def test_cost_counts_an_explored_request_for_those_whose_label_is_hidden() -> None:
    pairs = day_of_requests([0.9, 0.9, 0.05], [False, False, True], [10.0, 0.0, 1.0])

    found = cost_at_capacity(pairs, COSTS)

    assert found is not None
    assert found.champion == 10 * 1.0 + 9.0


def test_the_interval_of_what_is_saved_is_that_over_days() -> None:
    found = cost_at_capacity(judged_pairs(better()), replace(COSTS, capacity=20))

    assert found is not None
    assert found.n_days == 40
    assert found.saved_low is not None
    assert found.saved_high is not None
    assert found.saved_low < found.saved < found.saved_high


def said(given: GateInputs) -> str:
    return " ".join(shown(given).sentences)


def test_a_promotion_is_told_in_plain_words() -> None:
    text = said(inputs(better()))

    assert text.startswith(
        "Challenger 2 should replace champion 1: it is shown to be better, and every other test passed"
    )
    assert "On 4,000 requests of 40 days whose outcome is known, the log loss of its answers was" in text
    assert "% better" in text
    assert "would be 5 % at most" in text
    assert "Not met" not in text


def test_waiting_says_what_is_missing_and_how_much_is_pending() -> None:
    pending = Maturity(n_requests=400, n_pending=100, n_matured=300, n_labelled=300, n_hidden=0, matured_until=START)
    text = said(replace(inputs(better(300)), maturity=pending, a_a=None))

    assert text.startswith("Champion 1 stays for now: it is not decided whether challenger 2 should replace it.")
    assert "that the champion's own shadow gives the champion's answers" in text
    assert "100 of 400 answered requests (25 %) still wait for their outcome and do not count." in text


def test_a_rejection_says_what_was_not_met() -> None:
    text = said(replace(inputs(worse()), parity=Outcome.FAIL))

    assert text.startswith("Challenger 2 must not replace champion 1.")
    assert "Not met: proof that its answers are better, that its answers are not worse" in text
    assert "that the packaged model answers as the trained one" in text


@pytest.mark.parametrize(
    ("cohort", "start"),
    [
        (better(), "Version 2, which served before, is better than champion 1 and should be brought back."),
        (worse(), "There is no reason to bring version 2 back: it is not shown to be better than champion 1."),
    ],
)
def test_a_watch_speaks_of_the_champion_before(cohort: pd.DataFrame, start: str) -> None:
    assert said(inputs(cohort, purpose=Purpose.WATCH)).startswith(start)


def test_every_criterion_has_a_name_in_plain_words() -> None:
    policy = GatePolicy(segments=("segment",), min_f1_improvement_pct=1.0)
    criteria = decide(inputs(better(), policy)).criteria

    assert {c.name for c in criteria} == set(WORDS)
