"""A rollout policy: what is refused, and how long a watch lasts."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from shadow_platform.contracts.policies import CanaryStep, RolloutPolicy
from shadow_platform_tests.tiny import USE_CASE as TINY

DAY = timedelta(days=1)


def test_a_watch_goes_on_until_the_labels_of_its_last_day_are_known() -> None:
    watching = replace(TINY, rollout=RolloutPolicy(watch=30 * DAY))

    assert watching.watch_span == 30 * DAY + TINY.label.horizon
    assert replace(TINY, rollout=RolloutPolicy(watch=timedelta(0))).watch_span == timedelta(0)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: CanaryStep(0.0), "share is 0; expected above 0"),
        (lambda: CanaryStep(1.5), "share is 1.5; expected above 0 and at most 1"),
        (lambda: CanaryStep(0.5, min_requests=-1), "not below 0"),
        (lambda: RolloutPolicy((CanaryStep(0.25), CanaryStep(0.05))), "each above the one before"),
        (lambda: RolloutPolicy(watch=-DAY), "must not be below 0"),
    ],
)
def test_a_policy_that_cannot_be_followed_is_refused(wrong: Callable[[], object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        wrong()
