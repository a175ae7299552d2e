"""Guarantees of the gate's policy and of costs: what cannot be carried out is refused where it is declared."""

import math

import pytest

from shadow_platform.contracts.errors import UseCaseError
from shadow_platform.contracts.policies import DecisionCosts, GatePolicy

NAN = float("nan")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"method": "betting"}, r"cluster='day_and_subject'; expected another cluster with method='betting'"),
        ({"method": "bets"}, r"method='bets'; expected 'confidence_sequence' or 'betting'"),
        ({"cluster": ""}, r"cluster=''; expected 'hour', 'day', 'day_and_subject', a column, or None"),
        ({"segments": "country"}, r"segments='country'; expected a tuple of features"),
        ({"alpha": 5}, r"alpha=5; expected a chance above 0 and below 1"),
        ({"alpha": 0.0}, r"alpha=0.0; expected a chance"),
        ({"min_clusters": 0}, r"min_clusters=0; expected at least 1"),
        ({"min_samples": 0}, r"min_samples=0; expected at least 1"),
        ({"tuned_at": 0}, r"tuned_at=0; expected at least 1"),
        ({"min_a_a": 0}, r"min_a_a=0; expected at least 1"),
        ({"margin": -0.01}, r"margin=-0.01; expected at least 0"),
        ({"harm_margin": NAN}, r"harm_margin=nan; expected at least 0"),
        ({"max_segment_log_loss_increase": -1.0}, r"max_segment_log_loss_increase=-1.0; expected at least 0"),
        ({"max_a_a_difference": -1e-5}, r"max_a_a_difference=-1e-05; expected at least 0, or None"),
        ({"min_label_coverage": 95}, r"min_label_coverage=95; expected a share between 0 and 1, or None"),
        ({"max_calibration_error": -0.1}, r"max_calibration_error=-0.1; expected a share between 0 and 1, or None"),
        ({"min_coverage": 99}, r"min_coverage=99; expected a share between 0 and 1"),
        ({"max_challenger_error_rate": 1.5}, r"max_challenger_error_rate=1.5; expected a share between 0 and 1"),
        ({"max_challenger_p95_ms": 0}, r"max_challenger_p95_ms=0; expected milliseconds above 0"),
        ({"min_f1_improvement_pct": math.inf}, r"min_f1_improvement_pct=inf; expected a percentage, or None"),
        ({"max_brier_degradation": NAN}, r"max_brier_degradation=nan; expected a number, or None"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_a_gate_policy_that_cannot_be_carried_out_is_refused(values, message):
    with pytest.raises(UseCaseError, match=rf"^GatePolicy has {message}.*; correct the declaration$"):
        GatePolicy(**values)


def test_a_gate_policy_takes_every_value_inside_its_ranges():
    least = GatePolicy(
        min_samples=1,
        min_clusters=1,
        min_label_coverage=0.0,
        min_f1_improvement_pct=-5.0,
        max_brier_degradation=-0.001,
        max_challenger_error_rate=0.0,
        max_challenger_p95_ms=math.inf,
        max_calibration_error=None,
        max_a_a_difference=0.0,
    )
    assert (least.min_samples, least.max_challenger_error_rate) == (1, 0.0)


@pytest.mark.parametrize("cluster", ["day", "hour", "subject_id", None])
def test_bets_are_made_on_every_cluster_that_follows_time(cluster):
    assert GatePolicy(method="betting", cluster=cluster).cluster == cluster


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"false_positive": 0.0}, r"false_positive=0.0; expected a cost above 0"),
        ({"false_negative": NAN}, r"false_negative=nan; expected a cost above 0"),
        ({"capacity": 0}, r"capacity=0; expected at least 1, or None"),
    ],
    ids=["free", "unknown", "no capacity"],
)
def test_costs_that_tell_nothing_are_refused(values, message):
    with pytest.raises(UseCaseError, match=rf"^DecisionCosts has {message}; correct the declaration$"):
        DecisionCosts(**{"false_positive": 1.0, "false_negative": 4.0, "currency": "EUR", **values})
