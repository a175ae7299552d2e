"""Where the champion's decisions hide labels, the gate promotes equal challengers no more often than elsewhere."""

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics

from shadow_platform.contracts.use_case import GatePolicy, HiddenBy
from shadow_platform.contracts.verdicts import Criterion, Outcome
from shadow_platform.domain.censoring import censor
from shadow_platform.domain.gates import evidence, judged_pairs
from shadow_platform.domain.gates.quality import MIN_EXPLORED, judge_quality
from shadow_platform_tests.cohorts import paired_cohort
from shadow_platform_tests.streams import (
    FOUR_PERCENT,
    Stream,
    better_challenger,
    equal_models,
    good_on_what_is_seen,
    sigmoid,
)

POLICY = GatePolicy(min_label_coverage=None)
MIN_DAYS = 7


def hidden(cohort: pd.DataFrame, share: float, rng: np.random.Generator) -> pd.DataFrame:
    """The cohort as it is when positive decisions hide their labels, but for an explored share of them."""
    positive = cohort["prediction"].to_numpy(bool)
    explored = positive & (rng.random(len(cohort)) < share)
    answered = cohort.assign(is_explored=explored, label_propensity=np.where(positive, share, 1.0))
    return censor(answered, "platform")


def erring_alike(rng: np.random.Generator, n: int) -> Stream:
    """Two models that err as much and as often, each in its own way."""
    logit = rng.normal(-1.0, 1.5, n)
    champion, challenger = (sigmoid(logit + 1.2 * rng.standard_normal(n)) for _ in range(2))
    return Stream((rng.random(n) < sigmoid(logit)).astype(np.float64)[None], champion[None], challenger[None])


def is_ever_promoted(cohort: pd.DataFrame) -> bool:
    return bool((evidence(cohort, POLICY, 0.05).lower[MIN_DAYS - 1 :] > 0).any())


def criterion(cohort: pd.DataFrame, name: str, policy: GatePolicy = POLICY) -> Criterion:
    return next(c for c in judge_quality(cohort, policy, 0.05) if c.name == name)


def test_weights_hold_the_level_where_labelled_rows_alone_promote_an_equal_challenger() -> None:
    rng = np.random.default_rng(0)
    weighted = naive = 0
    for _ in range(60):
        cohort = hidden(paired_cohort(good_on_what_is_seen(rng, 1, 4_000)), 0.1, rng)
        labelled = cohort[cohort["label"].notna()].assign(label_propensity=1.0)
        weighted += is_ever_promoted(cohort)
        naive += is_ever_promoted(labelled)

    assert naive >= 55
    assert weighted <= 4


def test_without_exploration_an_equal_challenger_is_compared_where_neither_has_an_edge() -> None:
    rng = np.random.default_rng(1)
    judged, labelled = [], []
    for _ in range(30):
        cohort = hidden(paired_cohort(erring_alike(rng, 25_000)), 0.0, rng)
        judged.append(float(evidence(cohort, POLICY, 0.05).mean[-1]))
        labelled.append(float(evidence(cohort[cohort["label"].notna()], POLICY, 0.05).mean[-1]))

    def errors_from_zero(gains: list[float]) -> float:
        return float(np.mean(gains) / (np.std(gains) / np.sqrt(len(gains))))

    assert abs(errors_from_zero(judged)) < 3
    assert errors_from_zero(labelled) < -6


def test_the_weighted_gain_is_that_of_all_requests() -> None:
    rng = np.random.default_rng(2)
    everything = paired_cohort(better_challenger(rng, 1, 60_000, FOUR_PERCENT))

    truth = evidence(everything, POLICY, 0.05).mean[-1]
    found = evidence(hidden(everything, 0.3, rng), POLICY, 0.05)

    assert found.n[-1] == len(everything)
    assert found.lower[-1] < truth < found.upper[-1]
    assert found.mean[-1] == pytest.approx(truth, abs=0.003)


def test_a_better_challenger_is_still_found_where_labels_are_hidden() -> None:
    rng = np.random.default_rng(3)
    cohort = hidden(paired_cohort(better_challenger(rng, 1, 20_000, 2 * FOUR_PERCENT)), 0.2, rng)

    assert criterion(cohort, "log_loss_gain").outcome is Outcome.PASS


def test_few_explored_requests_are_insufficient_whatever_they_say() -> None:
    rng = np.random.default_rng(4)
    cohort = hidden(paired_cohort(good_on_what_is_seen(rng, 1, 4_000)), 0.003, rng)
    found = criterion(cohort, "log_loss_gain")

    assert found.outcome is Outcome.INSUFFICIENT
    assert f"explored requests, at least {MIN_EXPLORED} needed" in found.reason
    assert criterion(cohort, "log_loss_harm").outcome is Outcome.INSUFFICIENT


def test_the_reason_says_what_hidden_requests_did_to_the_comparison() -> None:
    rng = np.random.default_rng(5)
    everything = paired_cohort(equal_models(rng, 1, 4_000))
    n_positive = int(everything["prediction"].sum())
    explored, never = hidden(everything, 0.2, rng), hidden(everything, 0.0, rng)
    n_hidden = int(explored["is_hidden"].sum())

    said = f"; {n_hidden} hidden by decisions, {n_positive - n_hidden} explored in their place"
    assert criterion(explored, "log_loss_gain").reason.endswith(said)
    assert criterion(never, "log_loss_gain").reason.endswith(
        f"; judged on labelled requests only, that neither model decides positively: {n_positive} hidden by decisions, "
        "not identifiable"
    )
    assert "hidden" not in criterion(everything, "log_loss_gain").reason


def test_a_change_of_f1_is_not_concluded_from_requests_without_positive_decisions() -> None:
    rng = np.random.default_rng(6)
    cohort = hidden(paired_cohort(equal_models(rng, 1, 4_000)), 0.0, rng)
    found = criterion(cohort, "f1_improvement_pct", GatePolicy(min_f1_improvement_pct=2.0))

    assert (found.outcome, found.value) == (Outcome.INSUFFICIENT, None)


def test_the_other_criteria_are_weighted_as_scikit_learn_does() -> None:
    rng = np.random.default_rng(7)
    cohort = hidden(paired_cohort(better_challenger(rng, 1, 6_000, FOUR_PERCENT)), 0.2, rng)
    policy = GatePolicy(min_f1_improvement_pct=2.0)
    seen = cohort[cohort["label"].notna()]
    label, weight = seen["label"].astype(bool), 1 / seen["label_propensity"]

    f1 = [metrics.f1_score(label, seen[name], sample_weight=weight) for name in ("prediction", "challenger_prediction")]
    brier = [
        metrics.brier_score_loss(label, seen[name], sample_weight=weight)
        for name in ("probability", "challenger_probability")
    ]
    assert criterion(cohort, "f1_improvement_pct", policy).value == pytest.approx(100 * (f1[1] / f1[0] - 1))
    assert criterion(cohort, "brier_change", policy).value == pytest.approx(brier[1] - brier[0])
    assert criterion(cohort, "matured_labels", policy).value == len(seen)


def test_hidden_labels_do_not_count_as_missing_ones() -> None:
    rng = np.random.default_rng(8)
    cohort = hidden(paired_cohort(equal_models(rng, 1, 4_000)), 0.1, rng)

    assert criterion(cohort, "label_coverage", GatePolicy()).value == 1.0


@pytest.mark.parametrize("hidden_by", [None, "platform", "others"])
def test_labels_that_no_decision_of_ours_prevented_are_missing_whoever_may_hide_some(hidden_by: HiddenBy) -> None:
    everything = paired_cohort(equal_models(np.random.default_rng(11), 1, 4_000))
    negative = everything[~everything["prediction"]].assign(is_explored=False)
    is_lost = pd.Series(np.arange(len(negative)) % 5 < 3, index=negative.index)
    cohort = censor(negative.assign(label=negative["label"].mask(is_lost)), hidden_by)

    found = criterion(cohort, "label_coverage", GatePolicy())

    assert found.outcome is Outcome.FAIL
    assert found.value == pytest.approx(0.4, abs=0.001)


def test_a_segment_that_is_harmed_where_labels_are_hidden_is_seen_through_its_explored_requests() -> None:
    rng = np.random.default_rng(9)
    everything = paired_cohort(equal_models(rng, 1, 8_000))
    is_bad = everything["segment"].eq("a") & everything["prediction"]
    everything["challenger_probability"] = everything["challenger_probability"].mask(is_bad, 0.05)

    found = criterion(hidden(everything, 0.3, rng), "segments", GatePolicy(segments=("segment",)))

    assert found.outcome is Outcome.FAIL
    assert found.reason.startswith("harmed: segment=a")


def test_without_hidden_labels_every_pair_counts_once() -> None:
    cohort = paired_cohort(equal_models(np.random.default_rng(10), 1, 500))

    assert judged_pairs(cohort)["weight"].eq(1.0).all()
    assert len(judged_pairs(cohort)) == 500


def test_where_others_decide_both_models_are_judged_on_every_label_there_is() -> None:
    rng = np.random.default_rng(5)
    everything = paired_cohort(better_challenger(rng, 1, 20_000, 2 * FOUR_PERCENT))
    is_refused = rng.random(len(everything)) < 0.3
    cohort = censor(everything.assign(label=everything["label"].mask(pd.Series(is_refused))), "others")
    policy = GatePolicy(min_label_coverage=None, min_f1_improvement_pct=0.5)

    assert len(judged_pairs(cohort)) == (~is_refused).sum()
    assert criterion(cohort, "f1_improvement_pct", policy).value is not None
    gain = criterion(cohort, "log_loss_gain", policy)
    assert gain.outcome is Outcome.PASS
    assert f"judged on labelled requests only: {is_refused.sum()} hidden by decisions, not identifiable" in gain.reason
