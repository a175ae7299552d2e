"""The picture of feature parity: it is drawn whatever the table holds."""

from datetime import UTC, datetime

import pandas as pd
import pytest

from shadow_platform.adapters.pictures.parity import parity_png
from shadow_platform.contracts.tables import FEATURE_PARITY
from shadow_platform.domain.parity import Cause


def rows(*causes: str, n_features: int = 2) -> pd.DataFrame:
    made = [
        {
            "use_case": "shop",
            "day_at": datetime(2024, 3, day, tzinfo=UTC),
            "feature": f"$feature_{place}^",
            "cause": cause,
        }
        | {"n": 10 * (place + 1), "n_compared": 1_000}
        for day in (1, 2)
        for place in range(n_features)
        for cause in causes
    ]
    return pd.DataFrame(made, columns=list(FEATURE_PARITY.column_names))


@pytest.mark.parametrize(
    "drawn",
    [rows(), rows("same"), rows("same", "in_transit"), rows(*(c.value for c in Cause), n_features=60)],
    ids=["no request", "no difference", "nothing but rows in transit", "every cause"],
)
def test_a_picture_is_drawn(drawn: pd.DataFrame) -> None:
    assert parity_png(drawn, "Shop: served against training").startswith(b"\x89PNG")


def test_what_differs_more_is_drawn_differently() -> None:
    assert parity_png(rows("same", "stale_online"), "Shop") != parity_png(rows("same", "late_data"), "Shop")
