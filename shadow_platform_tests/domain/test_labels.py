"""Only labels known at T count, only for matured requests, in the order of the requests."""

from datetime import UTC, datetime, timedelta
from random import Random

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shadow_platform.domain.gates.clusters import Clusters
from shadow_platform.domain.gates.sequence import confidence_sequence, log_loss
from shadow_platform.domain.labels import combine, known_on, latest_labels, matured_cohort, pair
from shadow_platform_tests.streams import equal_models

T0 = datetime(2013, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = 24 * HOUR


def predictions(hours: list[float]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "request_id": [f"r{i}" for i in range(len(hours))],
            "subject_id": [f"s{i}" for i in range(len(hours))],
            "requested_at": pd.to_datetime([T0 + h * HOUR for h in hours], utc=True),
        }
    )


def labels(rows: list[tuple[str, float, bool, float]], source: str = "events") -> pd.DataFrame:
    """Rows of (subject, hour requested, label, hour known)."""
    frame = pd.DataFrame(
        {
            "subject_id": [row[0] for row in rows],
            "requested_at": [T0 + row[1] * HOUR for row in rows],
            "label": [row[2] for row in rows],
            "event_at": [T0 + row[3] * HOUR for row in rows],
            "known_at": [T0 + row[3] * HOUR for row in rows],
            "source": source,
        }
    )
    for column in ("requested_at", "event_at", "known_at"):
        frame[column] = pd.to_datetime(frame[column], utc=True)
    return frame


@pytest.mark.parametrize(("microseconds", "expected"), [(0, [True]), (-1, [None])])
def test_a_label_known_a_moment_too_late_never_shows_up(microseconds: int, expected: list[bool | None]) -> None:
    as_of = T0 + 30 * HOUR + timedelta(microseconds=microseconds)

    cohort = matured_cohort(predictions([0]), labels([("s0", 0, True, 30)]), as_of, 24 * HOUR)

    assert [None if pd.isna(value) else bool(value) for value in cohort["label"]] == expected


@pytest.mark.parametrize(("microseconds", "n"), [(0, 1), (-1, 0)])
def test_a_request_counts_only_once_its_horizon_has_passed(microseconds: int, n: int) -> None:
    as_of = T0 + 24 * HOUR + timedelta(microseconds=microseconds)

    assert len(matured_cohort(predictions([0]), labels([("s0", 0, True, 1)]), as_of, 24 * HOUR)) == n


def test_a_corrected_label_replaces_the_first_only_once_it_is_known() -> None:
    rows = labels([("s0", 0, True, 2), ("s0", 0, False, 50)])

    assert latest_labels(rows, T0 + 49 * HOUR, DAY)["label"].tolist() == [True]
    assert latest_labels(rows, T0 + 50 * HOUR, DAY)["label"].tolist() == [False]


def test_a_label_that_is_said_again_stays_known_since_it_was_first_said() -> None:
    rows = labels(
        [("s0", 0, True, 2), ("s0", 0, True, 50), ("s1", 0, True, 2), ("s1", 0, False, 3), ("s1", 0, True, 9)]
    )

    believed = latest_labels(rows, T0 + 60 * HOUR, DAY).set_index("subject_id")

    assert believed["known_at"].to_dict() == {"s0": T0 + 2 * HOUR, "s1": T0 + 9 * HOUR}


@pytest.mark.parametrize(
    ("imported_hour", "silent_hour", "as_of_hour", "expected"),
    [(10, 24, 23, True), (10, 24, 24, True), (10, 24, 90, True), (10, 25, 25, False), (30, 24, 29, False)],
    ids=["before it", "at it", "long after", "events that spoke later", "an import that came later"],
)
def test_silence_of_the_events_up_to_the_horizon_corrects_no_import_that_spoke_before(
    imported_hour: float, silent_hour: float, as_of_hour: float, expected: bool
) -> None:
    imported = labels([("s0", 0, True, imported_hour)], "import:chargebacks.csv")
    rows = pd.concat([labels([("s0", 0, False, silent_hour)]), imported], ignore_index=True)

    assert latest_labels(rows, T0 + as_of_hour * HOUR, DAY)["label"].tolist() == [expected]
    if as_of_hour >= 24:
        cohort = matured_cohort(predictions([0]), rows, T0 + as_of_hour * HOUR, DAY)
        assert cohort["label"].tolist() == [expected]


HISTORY = st.lists(
    st.tuples(st.sampled_from(["s0", "s1", "s2"]), st.just(0.0), st.booleans(), st.integers(1, 40).map(float)),
    max_size=12,
    unique_by=lambda row: (row[0], row[3]),
)


@settings(deadline=None, max_examples=60)
@given(HISTORY, st.randoms(), st.integers(0, 41))
def test_what_is_believed_at_a_time_depends_on_what_was_known_by_then_alone(
    history: list[tuple[str, float, bool, float]], order: Random, hour: int
) -> None:
    """Corrections, repeats and late labels in any order of arrival; what comes later changes nothing."""
    arrived = [*history]
    order.shuffle(arrived)
    early = [row for row in history if row[3] <= hour]

    believed = latest_labels(labels(arrived), T0 + hour * HOUR, DAY)

    assert believed.to_dict("records") == latest_labels(labels(early), T0 + hour * HOUR, DAY).to_dict("records")
    last = {row[0]: row[2] for row in sorted(early, key=lambda row: row[3])}
    assert dict(zip(believed["subject_id"], believed["label"], strict=True)) == last


def test_events_and_imports_are_one_set_in_which_an_instant_counts_once_and_events_win() -> None:
    computed = labels([("s0", 0, True, 2), ("s1", 0, True, 2)]).drop(columns="source")
    imported = labels([("s0", 0, True, 2), ("s1", 0, False, 2), ("s1", 0, False, 5), ("s2", 0, True, 3)])

    found = combine(computed, imported.assign(source="import:x.csv"))

    assert found.n_contradicted == 1
    assert found.n_imported == 2
    assert found.rows[["subject_id", "label", "source"]].values.tolist() == [
        ["s0", True, "events"],
        ["s1", True, "events"],
        ["s1", False, "import:x.csv"],
        ["s2", True, "import:x.csv"],
    ]


def test_labels_of_hidden_outcomes_are_left_out_wherever_they_come_from() -> None:
    computed, imported = (
        labels([("s0", 0, True, 2), ("s1", 0, True, 2)]),
        labels([("s0", 0, False, 9), ("s2", 0, True, 3)]),
    )

    found = combine(computed, imported.assign(source="import:x.csv"), labels([("s0", 0, True, 0)]))

    assert (found.n_censored, found.rows["subject_id"].tolist()) == (2, ["s1", "s2"])


def test_imports_and_hidden_outcomes_of_subjects_that_are_numbers_find_them_by_their_texts() -> None:
    computed = labels([("7", 0, True, 2), ("8", 0, True, 2)]).astype({"subject_id": "int64"})
    imported = labels([("7", 0, False, 9), ("8", 0, False, 9), ("x7", 0, True, 9), ("007", 0, True, 9)], "import:x.csv")

    found = combine(computed, imported, labels([("8", 0, True, 0)]))

    assert found.rows[["subject_id", "label"]].to_numpy().tolist() == [[7, True], [7, False]]
    assert found.rows["subject_id"].dtype == "int64"
    assert found.n_censored == 2


@pytest.mark.parametrize(("n_computed", "n_imported"), [(0, 0), (0, 1), (1, 0)])
def test_a_source_may_have_nothing_to_say(n_computed: int, n_imported: int) -> None:
    rows = labels([("s0", 0, True, 2)])

    found = combine(rows.head(n_computed), rows.head(n_imported).assign(source="import:x"), rows.head(0))

    assert len(found.rows) == n_computed + n_imported
    assert (found.n_censored, found.n_contradicted, found.n_imported) == (0, 0, n_imported)


def test_the_cohort_is_in_prediction_order_whatever_order_it_arrives_in() -> None:
    arrived = predictions([5, 1, 3, 1])
    cohort = matured_cohort(arrived, labels([]), T0 + 100 * HOUR, 24 * HOUR)

    assert cohort["request_id"].tolist() == ["r1", "r3", "r2", "r0"]
    assert cohort["label"].isna().all()


@given(st.permutations(range(6)), st.permutations(range(6)))
def test_the_order_of_rows_in_the_tables_does_not_matter(first: list[int], second: list[int]) -> None:
    rows = predictions([0, 1, 1, 2, 3, 4])
    truth = labels([(f"s{i}", h, i % 2 == 0, 10 + i) for i, h in enumerate([0, 1, 1, 2, 3, 4])])

    expected = matured_cohort(rows, truth, T0 + 60 * HOUR, 24 * HOUR)
    shuffled = matured_cohort(rows.iloc[first], truth.iloc[second], T0 + 60 * HOUR, 24 * HOUR)

    pd.testing.assert_frame_equal(expected, shuffled)


def test_labels_of_a_day_are_those_that_became_known_on_it() -> None:
    rows = labels([("s0", 0, True, 24), ("s1", 0, True, 23.999), ("s2", 0, False, 47.5), ("s3", 0, False, 48)])

    assert known_on(rows, T0 + 24 * HOUR, T0 + 48 * HOUR)["subject_id"].tolist() == ["s0", "s2"]


def test_a_request_without_a_record_of_the_challenger_is_missing() -> None:
    cohort = matured_cohort(predictions([0, 1]), labels([]), T0 + 60 * HOUR, 24 * HOUR)
    comparisons = pd.DataFrame(
        {
            "request_id": ["r1", "r0"],
            "challenger_version": ["2", "9"],
            "outcome": ["compared", "compared"],
            "challenger_probability": [0.4, 0.9],
            "challenger_prediction": [False, True],
            "challenger_latency_ms": [0.1, 0.1],
        }
    )

    paired = pair(cohort, comparisons, "2")

    assert paired["outcome"].tolist() == ["missing", "compared"]
    assert paired["challenger_probability"].tolist()[1] == 0.4


def test_arrival_order_promotes_an_equal_challenger_that_prediction_order_does_not() -> None:
    """Positives known after an hour, negatives after a day; the challenger answers higher, and is no better."""
    rng = np.random.default_rng(8)
    stream = equal_models(rng, 40, 3_000)
    label = stream.label
    champion, challenger = stream.champion * 0.8, np.clip(stream.champion * 1.185, 0, 0.99)
    difference = log_loss(champion, label) - log_loss(challenger, label)
    difference -= difference.mean()
    requested = np.arange(3_000) / 60
    known = requested + np.where(label > 0, 1.0, 24.0)
    looks = np.arange(200, 1_600, 200)

    def promoted(order: np.ndarray, row: int) -> bool:
        sequence = confidence_sequence(difference[row][order], Clusters(np.arange(3_000)))
        return bool((sequence.lower[looks - 1] > 0).any())

    by_arrival = np.mean([promoted(np.argsort(known[row], kind="stable"), row) for row in range(40)])
    by_request = np.mean([promoted(np.arange(3_000), row) for row in range(40)])

    assert by_arrival >= 0.95
    assert by_request <= 0.05
