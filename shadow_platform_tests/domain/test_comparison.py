"""Hourly comparisons count every pair once, and lost, pending, surplus and doubled records are told apart."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shadow_platform.contracts.tables import SHADOW_COMPARISON_HOURLY
from shadow_platform.domain.comparison import Conservation, between_models, conservation, flips, hourly, totals

T0 = datetime(2013, 3, 1, 5, tzinfo=UTC)


def comparisons(rows: list[tuple[int, str, float, float]], challenger: str = "2") -> pd.DataFrame:
    """Rows of (minute, outcome, champion's and challenger's probability)."""
    is_compared = [row[1] == "compared" for row in rows]
    frame = pd.DataFrame(
        {
            "use_case": "tiny",
            "request_id": [f"r{i}" for i in range(len(rows))],
            "requested_at": pd.to_datetime([T0 + timedelta(minutes=row[0]) for row in rows], utc=True),
            "outcome": [row[1] for row in rows],
            "champion_version": "1",
            "challenger_version": challenger,
            "champion_probability": [row[2] for row in rows],
            "champion_prediction": [row[2] >= 0.5 for row in rows],
            "champion_latency_ms": 1.0,
            "challenger_probability": [row[3] if ok else None for row, ok in zip(rows, is_compared, strict=True)],
            "challenger_prediction": [row[3] >= 0.5 if ok else None for row, ok in zip(rows, is_compared, strict=True)],
            "challenger_latency_ms": 0.5,
        }
    )
    frame["probability_diff"] = frame["challenger_probability"].astype(float) - frame["champion_probability"]
    return frame


def logged(n: int) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "request_id": [f"r{i}" for i in range(n)],
            "logged_at": pd.to_datetime([T0 + timedelta(seconds=i) for i in range(n)], utc=True),
        }
    )


def test_an_hour_counts_outcomes_flips_and_differences() -> None:
    rows = hourly(
        comparisons(
            [
                (0, "compared", 0.4, 0.6),
                (10, "compared", 0.6, 0.4),
                (20, "compared", 0.7, 0.8),
                (59, "failed", 0.2, 0.0),
                (60, "dropped", 0.2, 0.0),
            ]
        )
    )

    first, second = rows.to_dict("records")
    assert rows.columns.tolist() == list(SHADOW_COMPARISON_HOURLY.column_names)
    assert (first["sent"], first["compared"], first["failed"], first["dropped"]) == (4, 3, 1, 0)
    assert (first["flips_to_positive"], first["flips_to_negative"]) == (1, 1)
    assert first["agreement_rate"] == pytest.approx(1 / 3)
    assert first["probability_diff_mean"] == pytest.approx(0.1 / 3)
    assert (second["sent"], second["compared"], second["dropped"]) == (1, 0, 1)
    assert np.isnan(second["agreement_rate"])


def test_no_comparison_gives_the_columns_and_no_row() -> None:
    rows = hourly(comparisons([]))

    assert rows.empty
    assert rows.columns.tolist() == list(SHADOW_COMPARISON_HOURLY.column_names)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 300), st.sampled_from(["compared", "failed", "dropped"]), st.floats(0, 1), st.floats(0, 1)
        ),
        min_size=1,
        max_size=40,
    )
)
def test_sent_is_compared_plus_failed_plus_dropped(rows: list[tuple[int, str, float, float]]) -> None:
    found = hourly(comparisons(rows))

    assert (found["sent"] == found["compared"] + found["failed"] + found["dropped"]).all()
    assert found["sent"].sum() == len(rows)
    assert found["flips_to_positive"].sum() + found["flips_to_negative"].sum() == len(flips(comparisons(rows)))


def test_the_totals_of_a_challenger_are_those_of_its_hours() -> None:
    rows = comparisons([(0, "compared", 0.4, 0.6), (70, "compared", 0.6, 0.7), (90, "failed", 0.2, 0.0)])
    found = totals(rows)["2"]

    assert (found["sent"], found["compared"], found["failed"], found["dropped"]) == (3, 2, 1, 0)
    assert (found["agreement_rate"], found["flips_to_positive"]) == (0.5, 1)
    assert found["probability_diff_mean"] == pytest.approx(0.15)


def test_totals_leave_out_what_is_not_defined() -> None:
    assert totals(comparisons([(0, "dropped", 0.4, 0.6)])) == {
        "2": {"sent": 1, "compared": 0, "failed": 0, "dropped": 1}
    }
    assert totals(comparisons([])) == {}


def test_a_flip_says_which_way() -> None:
    found = flips(comparisons([(0, "compared", 0.4, 0.6), (1, "compared", 0.6, 0.4), (2, "compared", 0.6, 0.7)]))

    assert found["direction"].tolist() == ["to_positive", "to_negative"]


def balance(n: int, records: list[int], since: datetime | None = T0) -> Conservation:
    frame = comparisons([(0, "compared", 0.5, 0.5)] * n).iloc[records]
    return conservation(logged(n), frame, {"2": since} if since else {})[0]


def test_every_prediction_with_one_record_is_balanced() -> None:
    assert balance(5, [0, 1, 2, 3, 4]).is_balanced


@pytest.mark.parametrize(
    ("records", "lost", "pending", "doubled"),
    [([0, 2, 3], 1, 1, 0), ([0, 1, 2, 3], 0, 1, 0), ([0, 1, 2, 3, 4, 4], 0, 0, 1), ([], 0, 5, 0)],
)
def test_lost_pending_and_doubled_records_are_told_apart(
    records: list[int], lost: int, pending: int, doubled: int
) -> None:
    found = balance(5, records)

    assert (found.n_lost, found.n_pending, found.n_doubled) == (lost, pending, doubled)
    assert not found.is_balanced


def test_a_double_that_the_table_no_longer_shows_is_told_by_the_raw_log() -> None:
    frame = comparisons([(0, "compared", 0.5, 0.5)] * 3)
    found = conservation(logged(3), frame, {"2": T0}, {"2": 4})[0]

    assert (found.n_doubled, found.is_balanced) == (4, False)


def test_a_challenger_that_answered_itself_is_compared_with_no_other_model() -> None:
    rows = comparisons([(0, "compared", 0.4, 0.6), (1, "compared", 0.4, 0.6), (2, "failed", 0.4, 0.6)])
    rows["champion_version"] = ["1", "2", "1"]

    assert between_models(rows)["request_id"].tolist() == ["r0"]
    assert flips(rows)["request_id"].tolist() == ["r0"]
    assert hourly(rows)[["champion_version", "sent"]].to_numpy().tolist() == [["1", 2], ["2", 1]]


def test_a_record_without_a_prediction_is_surplus() -> None:
    found = conservation(logged(2), comparisons([(0, "compared", 0.5, 0.5)] * 3), {"2": T0})[0]

    assert (found.n_surplus, found.is_balanced) == (1, False)


def test_a_challenger_taken_out_of_the_shadow_is_due_only_what_it_was_sent() -> None:
    assert balance(6, [1, 2, 3], since=None).is_balanced
    assert balance(6, [1, 3], since=None).n_lost == 1
    assert balance(6, [1, 2, 3]).n_pending == 2


def test_a_challenger_is_due_nothing_that_was_logged_before_it_was_deployed() -> None:
    deployed_at = T0 + timedelta(seconds=2)

    assert balance(6, [2, 3, 4, 5], since=deployed_at).is_balanced
    assert balance(6, [2, 3, 5], since=deployed_at).n_lost == 1


def test_challengers_are_balanced_apart() -> None:
    both = pd.concat([comparisons([(0, "compared", 0.5, 0.5)] * 3, v) for v in ("2", "10")])

    assert [c.challenger_version for c in conservation(logged(3), both)] == ["2", "10"]
