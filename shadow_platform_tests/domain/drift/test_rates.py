"""False alarms and power by simulation, small; ``benchmarks/drift`` prints the whole table."""

from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest

from shadow_platform.contracts.use_case import DriftPolicy
from shadow_platform_tests.domain.drift.frames import Change, share_failing

SMALL: dict[str, Any] = {"n_numeric": 8, "n_categorical": 3}


@pytest.mark.parametrize("cluster", ["day", None])
def test_independent_rows_hardly_ever_raise_a_false_alarm(cluster: Literal["day"] | None) -> None:
    assert share_failing(1_000, 60, DriftPolicy(cluster=cluster), **SMALL) <= 0.05


@pytest.mark.parametrize(("reference_days", "current_days"), [(60, 28), (60, 1), (5, 5)])
def test_rows_of_a_day_being_alike_hardly_ever_raise_a_false_alarm(reference_days: int, current_days: int) -> None:
    days: dict[str, Any] = {"reference_days": reference_days, "current_days": current_days}
    assert share_failing(2_000, 40, DriftPolicy(), **SMALL, **days, day_effect=0.4) <= 0.05


def test_likeness_measured_on_small_days_is_not_trusted_on_a_large_one() -> None:
    days: dict[str, Any] = {"reference_days": 60, "current_days": 1}
    assert share_failing(2_000, 40, DriftPolicy(), **SMALL, **days, day_effect=0.1) <= 0.05


def test_moods_that_last_for_days_hardly_ever_raise_a_false_alarm() -> None:
    assert share_failing(2_000, 30, DriftPolicy(), **SMALL, day_effect=0.4, persistence=0.6) <= 0.14


@pytest.mark.parametrize("current_days", [28, 5])
def test_a_rhythm_of_weekdays_hardly_ever_raises_a_false_alarm(current_days: int) -> None:
    days: dict[str, Any] = {"reference_days": 60, "current_days": current_days}
    assert share_failing(2_000, 25, DriftPolicy(), **SMALL, **days, day_effect=0.1, weekly=0.5) <= 0.05


def test_taking_rows_of_a_day_for_independent_would_raise_false_alarms() -> None:
    assert share_failing(2_000, 15, DriftPolicy(cluster=None), **SMALL, day_effect=0.4) >= 0.5


def _one(rows: pd.DataFrame, _: np.random.Generator) -> pd.DataFrame:
    return rows.assign(n1=rows["n1"] + 0.2)


def _all(rows: pd.DataFrame, _: np.random.Generator) -> pd.DataFrame:
    return rows.assign(**{name: rows[name] + 0.1 for name in rows.columns if name.startswith("n")})


@pytest.mark.parametrize("change", [_one, _all])
def test_ten_thousand_rows_always_show_the_shifts_of_the_table(change: Change) -> None:
    assert share_failing(10_000, 6, DriftPolicy(), change, **SMALL) == 1.0
