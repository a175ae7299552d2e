"""A policy of data quality that cannot be meant is refused where it is declared."""

from datetime import timedelta
from typing import Any

import pytest

from shadow_platform.contracts.errors import UseCaseError
from shadow_platform.contracts.policies import DataQualityPolicy
from shadow_platform.contracts.policies.monitoring import QUALITY_CHECKS


@pytest.mark.parametrize(
    ("declared", "told"),
    [
        ({"max_missing_increase": 5}, "max_missing_increase=5; expected a share between 0 and 1, or None"),
        ({"max_foreign": -0.1}, "max_foreign=-0.1; expected a share"),
        ({"min_volume_ratio": 1.5}, "min_volume_ratio=1.5; expected a ratio between 0 and 1, or None"),
        ({"max_volume_ratio": 0.5}, "max_volume_ratio=0.5; expected a ratio above 1, or None"),
        ({"max_silence": timedelta(0)}, "expected some time, or None"),
        ({"silence_alpha": 0}, "silence_alpha=0; expected a rate between 0 and 1, or None"),
        ({"severities": (("nulls", "error"),)}, "expected pairs of a check \\(missing, foreign"),
        ({"severities": (("missing", "fatal"),)}, "and 'error' or 'warn'"),
    ],
)
def test_a_limit_that_cannot_be_meant_is_refused(declared: dict[str, Any], told: str) -> None:
    with pytest.raises(UseCaseError, match=told):
        DataQualityPolicy(**declared)


def test_every_check_has_a_severity_and_only_foreign_values_are_errors_by_default() -> None:
    severities = {check: DataQualityPolicy().severity(check) for check in QUALITY_CHECKS}

    assert {check for check, severity in severities.items() if severity == "error"} == {"foreign"}
