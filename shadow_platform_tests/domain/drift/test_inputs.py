"""An evaluation's id is that of what is compared: not of the types that carry it, and never of something else."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from shadow_platform.contracts.use_case import DriftPolicy, Feature
from shadow_platform.domain.drift import inputs
from shadow_platform.domain.drift.inputs import canonical, fingerprint

FEATURES = [Feature("x", ""), Feature("c", "", kind="categorical")]
ROWS = pd.DataFrame(
    {
        "x": [1.0, 2.0, np.nan, 4.0],
        "c": np.array(["1", "b", None, ""], dtype=object),
        "requested_at": pd.date_range("2024-01-01", periods=4, freq="h", tz="UTC").as_unit("us"),
    }
)


def _digest(rows: pd.DataFrame) -> str:
    return canonical(rows, FEATURES).digest


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("x", lambda x: x.astype(object).where(x.notna(), None)),
        ("x", lambda x: x.astype("Int64")),
        ("x", lambda x: x.fillna(np.inf)),
        ("c", lambda c: c.astype("category")),
        ("c", lambda c: c.fillna(np.nan)),
        ("c", lambda c: c.replace({"1": 1.0})),
        ("requested_at", lambda at: at.dt.as_unit("ns")),
        ("requested_at", lambda at: at.dt.tz_convert("Asia/Tokyo")),
    ],
)
def test_the_same_values_have_one_digest_whatever_carries_them(name: str, change: Callable[[Any], Any]) -> None:
    assert _digest(ROWS.assign(**{name: change(ROWS[name])})) == _digest(ROWS)


def test_whole_numbers_have_one_digest_as_integers_and_as_floats() -> None:
    whole = ROWS.assign(x=[0, 2, 3, 4])
    assert _digest(whole) == _digest(whole.astype({"x": "float64"})) == _digest(whole.assign(x=[-0.0, 2.0, 3.0, 4.0]))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("c", lambda c: c.where(c.notna(), "None")),
        ("c", lambda c: c.where(c.notna(), "nan")),
        ("c", lambda c: c.mask(c == "", None)),
        ("x", lambda x: x.astype(object).where(x != 2.0, "2.0")),
        ("x", lambda x: x.astype(object).where(x.notna(), "nan")),
        ("requested_at", lambda at: at + pd.Timedelta(microseconds=1)),
    ],
)
def test_what_is_compared_as_something_else_has_another_digest(name: str, change: Callable[[Any], Any]) -> None:
    assert _digest(ROWS.assign(**{name: change(ROWS[name])})) != _digest(ROWS)


def test_another_method_has_another_id(monkeypatch: pytest.MonkeyPatch) -> None:
    before = fingerprint(FEATURES, DriftPolicy(), "rows")
    monkeypatch.setattr(inputs, "METHOD_VERSION", "another")
    assert fingerprint(FEATURES, DriftPolicy(), "rows") != before
