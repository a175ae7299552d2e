"""A hidden label is told from a seen one, and one that nothing accounts for can never be made up by weights."""

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd

from shadow_platform.domain.censoring import censor
from shadow_platform.domain.estimation import performance_by_day

NULL = None
AT = datetime(2024, 1, 1, tzinfo=UTC)
ANSWER: dict[str, Any] = {
    "use_case": "shop",
    "requested_at": pd.Timestamp(AT),
    "model_version": "1",
    "probability": 0.2,
}


def matured(**columns: Any) -> pd.DataFrame:
    frame = pd.DataFrame({"label": [NULL], "prediction": [False], "is_explored": [False], "label_propensity": [1.0]})
    frame = frame.loc[[0] * len(next(iter(columns.values())))].reset_index(drop=True).assign(**columns)
    return frame.astype({"label": "boolean"})


def test_where_decisions_hide_nothing_every_request_counts_once_labelled_or_not() -> None:
    found = censor(matured(label=[True, NULL], prediction=[True, True], label_propensity=[0.1, 0.0]), None)

    assert found["label"].tolist() == [True, pd.NA]
    assert found["is_hidden"].tolist() == [False, False]
    assert found["label_propensity"].tolist() == [1.0, 1.0]


def test_a_positive_decision_hides_its_label_unless_it_was_explored() -> None:
    rows = matured(
        label=[True, NULL, False],
        prediction=[True, True, False],
        is_explored=[True, False, False],
        label_propensity=[0.1, 0.1, 1.0],
    )
    found = censor(rows, "platform")

    assert found["label"].tolist() == [True, pd.NA, False]
    assert found["is_hidden"].tolist() == [False, True, False]
    assert found["label_propensity"].tolist() == [0.1, 0.1, 1.0]


def test_a_label_that_cannot_be_known_is_not_used_even_when_there_is_one() -> None:
    found = censor(matured(label=[False], prediction=[True], label_propensity=[0.1]), "platform")

    assert found["label"].isna().all()
    assert found["is_hidden"].all()


def test_a_request_hidden_by_a_decision_of_somebody_else_has_no_propensity() -> None:
    found = censor(matured(label=[NULL, NULL], prediction=[False, True], is_explored=[False, True]), "platform")

    assert found["is_hidden"].tolist() == [True, True]
    assert found["label_propensity"].tolist() == [0.0, 0.0]


def test_a_label_lost_by_accident_leaves_the_rest_as_it_is() -> None:
    n = 200
    found = censor(matured(label=[NULL] + [False] * (n - 1), prediction=[False] * n), "platform")

    assert not found["is_hidden"].any()
    assert found["label_propensity"].eq(1.0).all()
    assert found["label"].isna().sum() == 1


def test_labels_that_are_missing_too_often_for_an_accident_are_withheld_by_somebody() -> None:
    n = 200
    found = censor(matured(label=[NULL] * 3 + [False] * (n - 3), prediction=[False] * n), "platform")

    assert found["is_hidden"].sum() == found["label_propensity"].eq(0.0).sum() == 3


def test_explored_labels_that_are_lost_do_not_drown_among_the_negative_ones() -> None:
    """All but a fifth of the explored labels are gone, which is less than 1 % of all that should be seen."""
    n, n_positive, n_explored, n_lost = 10_000, 1_000, 100, 80
    positive, explored = np.arange(n) < n_positive, np.arange(n) < n_explored
    rows = matured(
        label=pd.Series(positive, dtype="boolean").mask(pd.Series(positive & (~explored | (np.arange(n) < n_lost)))),
        prediction=positive,
        is_explored=explored,
        label_propensity=np.where(positive, n_explored / n_positive, 1.0),
    )
    found = censor(rows, "platform")

    assert found["label_propensity"].tolist() == [0.0] * n_positive + [1.0] * (n - n_positive)
    assert found["is_hidden"].sum() == n_positive - (n_explored - n_lost)
    day = performance_by_day(found.assign(**ANSWER), "champion", AT).iloc[0]
    assert day["estimator"] == "not_identifiable"
    assert pd.isna(day["log_loss"])


def test_one_explored_label_in_a_hundred_may_be_lost_by_accident() -> None:
    n_explored = 100
    lost = matured(
        label=[NULL] + [True] * (n_explored - 1), prediction=[True] * n_explored, is_explored=[True] * n_explored
    )
    found = censor(lost.assign(label_propensity=0.1), "platform")

    assert found["label_propensity"].eq(0.1).all()
    assert not found["is_hidden"].any()


def test_an_answer_logged_before_propensities_were_is_not_identifiable_when_it_hid_its_label() -> None:
    rows = matured(
        label=[NULL, True], prediction=[True, False], is_explored=[NULL, NULL], label_propensity=[NULL, NULL]
    )

    assert censor(rows, "platform")["label_propensity"].tolist() == [0.0, 1.0]


def test_where_others_decide_whatever_has_no_label_was_hidden_with_a_chance_nobody_knows() -> None:
    found = censor(matured(label=[True, NULL, NULL], prediction=[True, True, False]), "others")

    assert found["label"].tolist() == [True, pd.NA, pd.NA]
    assert found["is_hidden"].tolist() == [False, True, True]
    assert found["label_propensity"].tolist() == [1.0, 0.0, 0.0]
    assert not found["is_prevented"].any()
