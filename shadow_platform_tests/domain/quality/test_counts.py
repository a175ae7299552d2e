"""Counts of feature values: what is missing, foreign, outside, without a row; and parts of a day add up."""

from typing import Any

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from shadow_platform.contracts.use_case import Feature
from shadow_platform.domain.quality import RequestCounts, count_frame
from shadow_platform_tests.deriving import USE_CASE as DERIVING

FEATURES = (
    Feature("amount", "What is paid", low=0, high=100),
    Feature("país", "Where", kind="categorical"),
    Feature("visits_7d", "Visits", view="history"),
    Feature("device", "What with", kind="categorical", view="history"),
)
VALUES: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.booleans(), st.integers(-200, 200), st.floats(), st.sampled_from(["ES", "日本", ""]), st.just([1, 2])
)
RECORDS = st.lists(st.dictionaries(st.sampled_from([feature.name for feature in FEATURES]), VALUES), max_size=30)


def count(rows: list[dict[str, Any]]) -> RequestCounts:
    """Counts of requests as read: what a request does not name is null, what none names has no column."""
    return count_frame(pd.DataFrame(rows, dtype=object), FEATURES)


def test_a_value_is_counted_for_one_thing_only() -> None:
    rows: list[dict[str, Any]] = [
        {"amount": 5, "país": "ES", "visits_7d": 1.0, "device": "web"},
        {"amount": None, "país": 3, "visits_7d": 1, "device": "web"},
        {"amount": "5", "país": None, "visits_7d": None, "device": "web"},
        {"amount": True, "país": "日本", "visits_7d": None, "device": None},
        {"amount": -1.5, "visits_7d": None, "device": None},
    ]

    counts = count(rows)

    amount, country, visits = (counts.features[name] for name in ("amount", "país", "visits_7d"))
    assert (amount.n, amount.n_null, amount.n_foreign, amount.n_outside, amount.n_valid) == (5, 1, 2, 1, 2)
    assert (country.n_null, country.n_foreign, dict(country.levels)) == (2, 1, {"ES": 1, "日本": 1})
    assert (amount.example, country.example) == ("'5'", "3")
    assert counts.without_row == {"history": 2}
    assert (visits.n, visits.n_null) == (3, 1)


def test_a_feature_that_no_request_names_is_foreign_and_not_missing() -> None:
    gone = count([{"amount": 1.0, "país": "ES", "device": None}] * 4)

    assert (gone.features["visits_7d"].n_null, gone.features["visits_7d"].n_foreign) == (0, 0)
    assert gone.without_row == {"history": 4}
    assert count([{"amount": 1.0}] * 4).features["visits_7d"].n_foreign == 4


def test_numbers_count_alike_as_a_typed_column_and_as_objects() -> None:
    rows = [{"amount": float(value), "país": "ES", "visits_7d": 1.0, "device": None} for value in (-1, 5, 500)]

    assert count_frame(pd.DataFrame(rows), FEATURES) == count(rows)


@given(RECORDS, RECORDS)
def test_counts_of_parts_add_up_to_those_of_the_whole(
    first: list[dict[str, Any]], second: list[dict[str, Any]]
) -> None:
    whole = pd.DataFrame(first + second, columns=[feature.name for feature in FEATURES], dtype=object)
    parts = whole.iloc[: len(first)], whole.iloc[len(first) :]

    assert count_frame(parts[0], FEATURES) + count_frame(parts[1], FEATURES) == count_frame(whole, FEATURES)


@given(RECORDS)
def test_every_request_is_valid_null_or_foreign_unless_its_view_had_no_row(rows: list[dict[str, Any]]) -> None:
    counts = count(rows)

    for feature in FEATURES:
        found = counts.features[feature.name]
        assert found.n == len(rows) - counts.without_row.get(feature.view or "", 0)
        assert 0 <= found.n_outside <= found.n_valid <= found.n
        if feature.kind == "categorical":
            assert sum(found.levels.values()) == found.n_valid


def test_two_thousand_features_are_counted() -> None:
    features = [Feature(f"f{place}", "A number", low=0, high=1) for place in range(2_000)]
    frame = pd.DataFrame(0.5, index=range(20), columns=[feature.name for feature in features])

    counts = count_frame(frame, features)

    assert len(counts.features) == 2_000
    assert all(found.n_valid == 20 and found.n_outside == 0 for found in counts.features.values())


def test_a_level_that_only_the_type_of_a_column_knows_is_not_known() -> None:
    typed = pd.DataFrame({"país": pd.Categorical(["ES", "ES"], categories=["ES", "FR"])})

    assert dict(count_frame(typed, FEATURES).features["país"].levels) == {"ES": 2}


def test_a_derived_feature_is_missing_only_where_all_it_is_derived_from_was_there() -> None:
    columns = {
        "cart_value": [4.0, 4.0, 4.0, 4.0],
        "channel": ["mail", "mail", None, "mail"],
        "visits_7d": [2.0, 0.0, 2.0, None],
        "purchases_7d": [0.0, 0.0, 0.0, None],
        "cart_per_visit": [2.0, None, None, None],
        "habit": ["rarely mail", "rarely mail", None, None],
    }

    counts = count_frame(pd.DataFrame(columns, dtype=object), DERIVING.features, DERIVING.derivations)

    assert (counts.features["cart_per_visit"].n, counts.features["cart_per_visit"].n_null) == (2, 1)
    assert (counts.features["habit"].n, counts.features["habit"].n_null) == (2, 0)
    assert (counts.features["channel"].n, counts.features["channel"].n_null) == (4, 1)
    assert counts.without_row == {"visitor_history": 1}
