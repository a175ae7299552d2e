"""Guarantees of the policies: a training policy that cannot be carried out is refused where it is declared."""

import pytest

from shadow_platform.contracts.errors import UseCaseError
from shadow_platform.contracts.use_case import TrainingPolicy


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"early_stop_share": 0.0}, r"early_stop_share=0.0; expected a share above 0 and below 1, or None; correct"),
        ({"early_stop_share": 1.0}, r"early_stop_share=1.0; expected a share"),
        ({"early_stop_share": 20}, r"early_stop_share=20; expected a share"),
        ({"early_stop_share": float("nan")}, r"early_stop_share=nan; expected a share"),
        ({"n_resamples": 0}, r"n_resamples=0; expected at least 1; correct"),
        ({"confidence": 95}, r"confidence=95; expected a probability above 0 and below 1; correct"),
        ({"confidence": 0.0}, r"confidence=0.0; expected a probability"),
        ({"positive_weight": "cost"}, r"positive_weight='cost'; expected 'balanced', 'costs' or None; correct"),
    ],
)
def test_training_policy_that_cannot_be_carried_out_is_refused(values, message):
    with pytest.raises(UseCaseError, match=rf"TrainingPolicy has {message}"):
        TrainingPolicy(**values)


def test_training_policy_takes_every_value_inside_its_ranges():
    policy = TrainingPolicy(early_stop_share=0.2, n_resamples=1, confidence=0.5, positive_weight="costs")
    assert (policy.early_stop_share, policy.n_resamples) == (0.2, 1)
