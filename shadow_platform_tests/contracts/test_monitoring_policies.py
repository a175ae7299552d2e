"""A policy of drift or performance that cannot be meant is refused where it is declared."""

from datetime import timedelta
from typing import Any

import pytest

from shadow_platform.contracts.errors import UseCaseError
from shadow_platform.contracts.policies import DriftPolicy, PerformancePolicy


@pytest.mark.parametrize(
    ("policy", "declared"),
    [
        (PerformancePolicy, {"window": timedelta(0)}),
        (PerformancePolicy, {"window": timedelta(hours=36)}),
        (PerformancePolicy, {"min_labels": 0}),
        (PerformancePolicy, {"min_days": 0}),
        (DriftPolicy, {"broad_floor_factor": 0.0}),
        (DriftPolicy, {"min_rows": 0}),
    ],
)
def test_a_limit_that_cannot_be_meant_is_refused(policy: type, declared: dict[str, Any]) -> None:
    (name,) = declared
    with pytest.raises(UseCaseError, match=f"{policy.__name__} has {name}="):
        policy(**declared)
