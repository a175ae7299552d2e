"""Features that answers are judged by come out of their JSON as they were served, and no others are looked at."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shadow_platform.adapters.lake import Lake
from shadow_platform.adapters.lake.answers import JUDGED
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.tables import PREDICTIONS
from shadow_platform_tests.tiny import USE_CASE

AT = datetime(2024, 1, 1, 12, tzinfo=UTC)
NUMBERS = st.none() | st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53), 2**53)
TEXTS = st.none() | st.text(st.characters(codec="utf-8", exclude_characters="\0"))


def answered(home: Path, served: list[dict[str, Any]]) -> Lake:
    lake = Lake(Layout(home))
    rows = [
        dict.fromkeys(PREDICTIONS.column_names)
        | {"use_case": "tiny", "request_id": f"r{n:03}", "requested_at": AT, "features": json.dumps(features)}
        for n, features in enumerate(served)
    ]
    lake.write_table(PREDICTIONS, USE_CASE, AT.date(), pd.DataFrame(rows))
    return lake


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.fixed_dictionaries({"cart_value": NUMBERS}, optional={"channel": TEXTS}), min_size=1, max_size=5))
def test_a_feature_comes_back_as_it_was_served(tmp_path: Path, served: list[dict[str, Any]]) -> None:
    rows = answered(tmp_path, served).read_answers(USE_CASE, ["channel", "cart_value"]).sort_values("request_id")

    found = rows[["cart_value", "channel"]].astype(object)
    expected = [[features.get("cart_value"), features.get("channel")] for features in served]
    assert found.where(found.notna(), None).values.tolist() == expected


@pytest.mark.parametrize("features", [(), ("visits_7d",)])
def test_nothing_else_is_read(tmp_path: Path, features: tuple[str, ...]) -> None:
    rows = answered(tmp_path, [{"cart_value": 1.0}]).read_answers(USE_CASE, features)

    assert sorted(rows.columns) == sorted((*JUDGED, *features))
    assert rows[list(features)].isna().all().all()


def test_a_home_without_answers_has_none(tmp_path: Path) -> None:
    assert Lake(Layout(tmp_path)).read_answers(USE_CASE, ["channel"]).empty
