"""Groups are cut at their edges, compared with the best one that is large enough, and flagged below the limit only."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadow_platform.contracts.tables import FAIRNESS_GROUPS
from shadow_platform.contracts.use_case import FairnessAttribute, FairnessPolicy
from shadow_platform.domain.fairness import MISSING, compare_groups, group_names, groups_of, wilson_interval

AGE = FairnessAttribute("age_band", "age", (25, 40))
POLICY = FairnessPolicy(attributes=(AGE,), min_rows=10)


def answers(groups: dict[float | None, tuple[int, int]]) -> pd.DataFrame:
    """Answers by age: how many, and how many of them unfavourable; every request labelled as predicted."""
    parts = [
        pd.DataFrame({"age": [age] * n, "prediction": np.arange(n) < refused}) for age, (n, refused) in groups.items()
    ]
    frame = pd.concat(parts, ignore_index=True)
    return frame.assign(
        probability=np.where(frame["prediction"], 0.8, 0.1),
        label=frame["prediction"].astype("boolean"),
        label_propensity=1.0,
        is_hidden=False,
    )


def compared(frame: pd.DataFrame, policy: FairnessPolicy = POLICY) -> pd.DataFrame:
    return compare_groups(frame, policy).set_index("group_name")


def test_an_edge_belongs_to_the_group_above_it() -> None:
    found = groups_of(pd.Series([24.999, 25, 39.9, 40, None]), (25, 40))

    assert found.tolist() == ["<25", "25-40", "25-40", ">=40", MISSING]


@given(st.lists(st.floats(-1e6, 1e6), min_size=1), st.lists(st.integers(-100, 100), unique=True, max_size=5))
def test_every_value_is_in_one_declared_group(values: list[float], edges: list[int]) -> None:
    cuts = tuple(float(edge) for edge in sorted(edges))
    found = groups_of(pd.Series(values), cuts)

    assert found.notna().all()
    if cuts:
        place = np.searchsorted(cuts, values, side="right")
        assert found.tolist() == [group_names(cuts)[i] for i in place]


def test_levels_of_a_categorical_feature_are_groups() -> None:
    policy = FairnessPolicy(attributes=(FairnessAttribute("region", "region"),), min_rows=1)
    frame = answers({30.0: (4, 1)}).assign(region=pd.Series(["south", "north", None, "south"]))

    assert compare_groups(frame, policy)["group_name"].tolist() == ["north", "south", MISSING]


def test_a_level_called_missing_is_another_group_than_those_without_a_value() -> None:
    policy = FairnessPolicy(attributes=(FairnessAttribute("region", "region"),), min_rows=1)
    regions = ["missing", "'missing'", None, "missing", "south"]
    frame = answers({30.0: (5, 1)}).assign(region=pd.Series(regions))
    found = compare_groups(frame, policy)

    assert dict(zip(found["group_name"], found["n"], strict=True)) == {
        "''missing''": 1,
        "'missing'": 2,
        "south": 1,
        MISSING: 1,
    }


def test_a_group_below_four_fifths_of_the_best_is_flagged_and_one_at_it_is_not() -> None:
    found = compared(answers({20.0: (100, 21), 30.0: (100, 20), 50.0: (100, 0)}))

    assert found["favourable_rate"].tolist() == [0.79, 0.80, 1.0]
    assert found["favourable_ratio"].tolist() == [0.79, 0.80, 1.0]
    assert found["is_flagged"].tolist() == [True, False, False]


def test_a_small_group_is_shown_without_a_judgement_and_is_not_the_best() -> None:
    found = compared(answers({20.0: (9, 0), 30.0: (100, 50), 50.0: (100, 55)}))

    assert found.loc["<25", "is_flagged"] is None
    assert found.loc["<25", "favourable_ratio"] == 2.0
    assert found.loc["25-40", "favourable_ratio"] == 1.0


def test_without_a_large_group_or_a_favourable_decision_nothing_is_judged() -> None:
    for frame in (answers({20.0: (9, 0), 30.0: (5, 5)}), answers({20.0: (50, 50), 30.0: (60, 60)})):
        found = compared(frame)
        assert found["is_flagged"].tolist() == [None, None]
        assert found["favourable_ratio"].tolist() == [None, None]


def test_the_favourable_decision_may_be_the_positive_one() -> None:
    policy = FairnessPolicy(attributes=(AGE,), favourable_prediction=True, min_rows=1)

    assert compared(answers({20.0: (10, 3)}), policy)["favourable_rate"].tolist() == [0.3]


@given(st.integers(0, 400), st.integers(1, 400))
def test_the_wilson_interval_holds_the_share_and_stays_a_share(k: int, n: int) -> None:
    low, high = wilson_interval(min(k, n), n)

    assert 0.0 <= low <= min(k, n) / n + 1e-12
    assert min(k, n) / n - 1e-12 <= high <= 1.0


def test_the_wilson_interval_follows_its_formula() -> None:
    z, n, p = 1.959964, 50, 0.3
    centre, spread = p + z**2 / (2 * n), z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))

    found = wilson_interval(15, 50)

    assert found == pytest.approx(((centre - spread) / (1 + z**2 / n), (centre + spread) / (1 + z**2 / n)))


def test_equal_opportunity_looks_at_those_who_deserved_a_favourable_decision() -> None:
    frame = answers({30.0: (8, 4)}).assign(label=pd.array([False, False, True, True] + [False] * 4, dtype="boolean"))

    found = compared(frame).loc["25-40"]

    assert found["equal_opportunity"] == pytest.approx(4 / 6)
    assert found["base_rate"] == pytest.approx(2 / 8)
    assert found["mean_probability"] == pytest.approx((4 * 0.8 + 4 * 0.1) / 8)
    losses = [np.log(1 / 0.2), np.log(1 / 0.2), np.log(1 / 0.8), np.log(1 / 0.8), *[np.log(1 / 0.9)] * 4]
    assert found["log_loss"] == pytest.approx(np.mean(losses))


def test_explored_requests_stand_for_the_hidden_ones() -> None:
    frame = answers({30.0: (8, 4)}).assign(
        label=pd.array([False, None, None, None, False, False, False, True], dtype="boolean"),
        label_propensity=[0.25] * 4 + [1.0] * 4,
    )

    found = compared(frame).loc["25-40"]

    assert (found["n"], found["n_labelled"]) == (8, 5)
    assert found["equal_opportunity"] == pytest.approx(3 / 7)
    assert found["base_rate"] == pytest.approx(1 / 8)


def test_equal_opportunity_is_no_number_where_refusals_hide_their_outcome() -> None:
    frame = answers({20.0: (20, 0), 30.0: (8, 4)})
    lost = frame["prediction"]
    frame = frame.assign(label=frame["label"].mask(lost), label_propensity=np.where(lost, 0.0, 1.0))

    found = compared(frame)

    assert found["equal_opportunity"].tolist()[0] == 1.0
    assert pd.isna(found["equal_opportunity"].tolist()[1])
    assert found["base_rate"].tolist() == [0.0, 0.0]


def test_immature_answers_count_as_decisions_and_say_nothing_of_labels() -> None:
    frame = answers({30.0: (8, 4)}).assign(label=pd.array([None] * 8, dtype="boolean"), label_propensity=np.nan)
    found = compared(frame).loc["25-40"]

    assert (found["n"], found["n_labelled"], found["favourable_rate"]) == (8, 0, 0.5)
    assert found[["equal_opportunity", "base_rate", "mean_probability", "log_loss"]].isna().all()


def test_what_is_measured_are_columns_of_the_table() -> None:
    told = {"use_case", "as_of", "model_version", "role"}

    assert {*compare_groups(answers({30.0: (8, 4)}), POLICY).columns} == {*FAIRNESS_GROUPS.column_names} - told
