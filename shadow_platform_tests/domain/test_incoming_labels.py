"""Every fault of an imported row is found, named by its column, and costs that row alone."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shadow_platform.domain.labels import ImportTerms, SortedLabels, sort_incoming

NOW = datetime(2024, 6, 1, 12, tzinfo=UTC)
TERMS = ImportTerms(
    NOW, datetime(2024, 1, 1, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC), datetime(2024, 3, 1, tzinfo=UTC)
)
GOOD = {
    "subject_id": "a",
    "requested_at": "2024-02-01T00:00:00Z",
    "label": "true",
    "event_at": "2024-02-02T00:00:00+01:00",
    "known_at": "2024-03-02T00:00:00Z",
}


def sort(*rows: dict[str, Any], terms: ImportTerms = TERMS) -> SortedLabels:
    numbered = [{"row": n, **row} for n, row in enumerate(rows, 1)]
    return sort_incoming(pd.DataFrame(numbered, dtype=object), terms)


def test_a_good_row_is_taken_in_utc() -> None:
    found = sort(GOOD)

    assert found.refused == []
    (row,) = found.valid.to_dict("records")
    assert (row["subject_id"], row["label"]) == ("a", True)
    assert row["event_at"] == datetime(2024, 2, 1, 23, tzinfo=UTC)
    assert str(found.valid["known_at"].dtype) == "datetime64[us, UTC]"


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("subject_id", "", "is empty"),
        ("subject_id", None, "is empty"),
        ("subject_id", 1.5, "1.5 is neither text nor a whole number"),
        ("subject_id", True, "True is neither text nor a whole number"),
        ("subject_id", "Jos\udce9", r"'Jos\udce9' is not UTF-8"),
        ("label", "yes", "'yes' is no label; expected true, false, 1 or 0"),
        ("label", "", "'' is no label"),
        ("label", 2, "2 is no label"),
        ("requested_at", "", "is empty"),
        ("requested_at", "2024-02-01T00:00:00", "'2024-02-01T00:00:00' has no offset from UTC"),
        ("requested_at", "2024-02-01", "'2024-02-01' has no offset from UTC"),
        ("requested_at", "yesterday", "'yesterday' is not a time"),
        ("requested_at", 1706745600, "1706745600 is not a time"),
        ("requested_at", "2024-06-01T12:00:01Z", "lies in the future"),
        ("event_at", "2024-06-01T12:00:01Z", "lies in the future"),
        ("event_at", "2024-01-31T23:59:59Z", "lies before the request"),
        ("known_at", "2024-06-01T12:00:01Z", "lies in the future"),
        ("known_at", "2024-02-01T22:59:59Z", "lies before the event or the request"),
        ("known_at", "2024-03-01T00:00:00Z", "would change what was judged or trained as of 2024-03-01T00:00:00+00:00"),
    ],
)
def test_a_fault_costs_the_row_and_names_column_value_and_what_was_expected(
    column: str, value: Any, reason: str
) -> None:
    found = sort(GOOD, {**GOOD, column: value}, GOOD)

    assert found.valid["row"].tolist() == [1, 3]
    assert {fault.row for fault in found.refused} == {2}
    assert reason in next(fault.reason for fault in found.refused if fault.column == column)


def test_every_column_at_fault_is_named_once() -> None:
    found = sort({**GOOD, "label": "?", "requested_at": "2030-01-01T00:00:00Z", "known_at": "2029-01-01T00:00:00"})

    assert [fault.column for fault in found.refused] == ["label", "known_at", "requested_at", "event_at"]


@pytest.mark.parametrize("text", ["true", "True", "TRUE", "1", 1, True])
def test_the_ways_to_say_true_are_one(text: Any) -> None:
    assert sort({**GOOD, "label": text}).valid["label"].tolist() == [True]


def test_whole_numbers_are_keys_by_their_digits() -> None:
    assert sort({**GOOD, "subject_id": 17}).valid["subject_id"].tolist() == ["17"]


def test_a_missing_time_of_knowledge_is_left_to_the_import_and_held_against_its_time() -> None:
    without = {name: value for name, value in GOOD.items() if name not in {"event_at", "known_at"}}
    ended = ImportTerms(NOW, TERMS.opens_at, NOW - timedelta(days=1), None)

    assert sort(without).valid["known_at"].isna().tolist() == [True]
    (fault,) = sort(without, terms=ended).refused
    assert "is no time of the use case, which runs from 2024-01-01" in fault.reason


def test_a_backfill_takes_what_was_known_before_the_latest_evaluation() -> None:
    early = {**GOOD, "known_at": "2024-02-15T00:00:00Z"}
    backfill = ImportTerms(NOW, TERMS.opens_at, TERMS.closes_at, None)

    assert len(sort(early).refused) == 1
    assert sort(early, terms=backfill).refused == []


INSTANTS = st.integers(0, 200 * 24).map(lambda hours: (NOW - timedelta(days=190) + timedelta(hours=hours)).isoformat())
ANYTHING = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), INSTANTS)


@settings(deadline=None)
@given(st.lists(st.fixed_dictionaries({name: ANYTHING | st.just(value) for name, value in GOOD.items()}), min_size=1))
def test_whatever_comes_a_row_is_taken_or_refused_and_what_is_taken_is_in_order(rows: list[dict[str, Any]]) -> None:
    found = sort(*rows)

    refused = {fault.row for fault in found.refused}
    assert refused.isdisjoint(found.valid["row"])
    assert refused | set(found.valid["row"]) == set(range(1, len(rows) + 1))
    taken = found.valid
    event = taken["event_at"].fillna(taken["requested_at"])
    known = taken["known_at"].fillna(pd.Timestamp(NOW))
    assert ((taken["requested_at"] <= event) & (event <= known) & (known <= pd.Timestamp(NOW))).all()
    assert len({(fault.row, fault.column) for fault in found.refused}) == len(found.refused)
