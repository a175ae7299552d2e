"""The shift of the mean score splits over the levels of a feature without a rest."""

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shadow_platform.contracts.use_case import DriftPolicy
from shadow_platform.domain.drift.segments import MAX_LEVELS, moved_in, segment_features, segment_shifts
from shadow_platform_tests.domain.drift.worlds import FEATURES, requests

LEVEL = st.sampled_from(["a", "b", "ü", "日本", "", None])
ROWS = st.lists(st.tuples(LEVEL, st.floats(0, 1)), min_size=1, max_size=40)


def frame(rows: list[tuple[str | None, float]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["region", "score"]).astype({"region": object})


@settings(max_examples=100, deadline=None)
@given(before=ROWS, after=ROWS)
def test_parts_of_the_levels_of_a_feature_sum_to_the_shift(
    before: list[tuple[str | None, float]], after: list[tuple[str | None, float]]
) -> None:
    reference, current = frame(before), frame(after)
    chosen = segment_features(FEATURES, reference, current, DriftPolicy())
    found = segment_shifts(chosen, reference, current)
    total = current["score"].mean() - reference["score"].mean()
    assert sum(row.contribution for row in found) == pytest.approx(total, abs=1e-12)
    assert sum(row.share_reference for row in found) == pytest.approx(1)
    assert sum(row.share_current for row in found) == pytest.approx(1)


def test_a_level_that_gains_rows_at_an_average_score_has_no_part() -> None:
    reference = frame([("a", 0.2), ("b", 0.4), ("c", 0.6)] * 10)
    current = frame([("a", 0.2), ("b", 0.4), ("b", 0.4), ("b", 0.4), ("c", 0.6)] * 10)
    found = segment_shifts(segment_features(FEATURES, reference, current, DriftPolicy()), reference, current)
    assert {row.level: row.contribution for row in found} == pytest.approx({"a": 0.2 / 7.5, "b": 0, "c": -0.2 / 7.5})


def test_an_empty_text_and_no_level_are_two_segments() -> None:
    rows = frame([("", 0.2), (None, 0.8)])
    found = segment_shifts(segment_features(FEATURES, rows, rows, DriftPolicy()), rows, rows)
    assert {row.level: row.score_current for row in found} == {"''": 0.2, "": 0.8}


def test_a_level_of_one_sample_alone_says_so() -> None:
    reference, current = frame([("a", 0.2)]), frame([("a", 0.2), (None, 0.8)])
    found = segment_shifts(segment_features(FEATURES, reference, current, DriftPolicy()), reference, current)
    new = next(row for row in found if row.level == "")
    assert (new.share_reference, new.share_current, new.score_reference) == (0.0, 0.5, None)
    assert new.contribution == pytest.approx(0.5 * (0.8 - (0.2 + 0.5) / 2))


def test_segments_are_those_asked_for_or_all_of_few_levels() -> None:
    rows = requests(200, 1).assign(plan=[f"p{i % (MAX_LEVELS + 1)}" for i in range(200)])
    assert list(segment_features(FEATURES, rows, rows, DriftPolicy())) == ["region"]
    assert list(segment_features(FEATURES, rows, rows, DriftPolicy(segments=("plan",)))) == ["plan"]
    assert list(segment_features(FEATURES, rows, rows, DriftPolicy(segments=()))) == []


@pytest.mark.parametrize("of", ["region", "plan"])
def test_a_feature_is_not_placed_in_its_own_levels(of: str) -> None:
    reference, current = requests(3_000, 1), requests(3_000, 2)
    current["region"] = "north"
    chosen = segment_features(FEATURES, reference, current, DriftPolicy())
    places = moved_in([of], FEATURES, chosen, reference, current)
    assert all(not place.startswith(of) for place in places.values())


def test_a_level_that_moved_as_much_as_its_share_of_rows_is_not_named() -> None:
    reference, current = requests(20_000, 1), requests(20_000, 2, fall=0.5)
    chosen = segment_features(FEATURES, reference, current, DriftPolicy())
    assert moved_in(["visits"], FEATURES, chosen, reference, current) == {}


def test_a_feature_that_rose_in_one_region_and_fell_in_another_names_the_larger_movement() -> None:
    reference, current = requests(20_000, 1), requests(20_000, 2, fall_in_north=2.0)
    current["visits"] += 0.05 * (current["region"] == "west")
    chosen = segment_features(FEATURES, reference, current, DriftPolicy())
    assert moved_in(["visits"], FEATURES, chosen, reference, current) == {"visits": "region=north"}
