"""Pictures of missing values are drawn whatever the names and however little there is to show."""

import pandas as pd
import pytest

from shadow_platform.adapters.pictures.quality import missing_values_png

DAYS = pd.date_range("2023-12-20", periods=28, tz="UTC")


def rows(features: list[str], rise: float | None) -> pd.DataFrame:
    """What the check of missing values found of features, and one view."""
    found = [
        ("missing", feature, day, rise, "fail" if rise else "insufficient") for feature in features for day in DAYS
    ]
    found += [("stale", "history", day, 0.01, "pass") for day in DAYS] + [("volume", "", DAYS[0], 1.0, "pass")]
    return pd.DataFrame(found, columns=["check_name", "checked", "day_at", "value", "outcome"])


@pytest.mark.parametrize("rise", [0.3, None])
@pytest.mark.parametrize("names", [["a"], ["área $x$", "日本 🙂", "_b_"], [f"f{place}" for place in range(2_000)]])
def test_a_picture_is_drawn_for_every_name_and_number_of_features(names: list[str], rise: float | None) -> None:
    assert missing_values_png(rows(names, rise), "Shop: missing values").startswith(b"\x89PNG")


def test_a_picture_is_drawn_without_any_row() -> None:
    assert missing_values_png(rows([], None).iloc[:0], "Shop: missing values").startswith(b"\x89PNG")
