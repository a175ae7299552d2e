"""An answered and a recorded request are one when they name one event, else by subject and time."""

import json
from datetime import datetime
from typing import Any
from uuid import UUID

import duckdb
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadow_platform.contracts.use_case import ContextField, Envelope
from shadow_platform.domain.labels import hidden_among, requests_to_label, without_label
from shadow_platform.domain.labels.answered import with_context

START = pd.Timestamp("2024-01-01T00:00:00Z")
END = START + pd.Timedelta(days=1)
SECOND = pd.Timedelta(seconds=1)
ENVELOPE = Envelope(
    "event",
    "What happened",
    (ContextField("event_id", "Id", "e"), ContextField("event_ts", "When", "2024-01-01T00:00:00Z", kind="timestamp")),
    key="event_id",
)
KEYS = ["subject_id", "requested_at"]
Asked = tuple[str, int, str]


def times(seconds: Any) -> Any:
    return pd.Series([START + second * SECOND for second in seconds], dtype="datetime64[us, UTC]")


def spine(*rows: Asked) -> pd.DataFrame:
    """Recorded requests: subject, second, event."""
    columns = list(zip(*rows, strict=True)) if rows else [(), (), ()]
    return pd.DataFrame(
        {
            "subject_id": pd.Series(columns[0], dtype=object),
            "requested_at": times(columns[1]),
            "event_id": pd.Series(columns[2], dtype=object),
            "event_ts": times(columns[1]),
            "amount": 1.0,
        }
    )


def answers(*rows: Asked) -> pd.DataFrame:
    """Answered requests; an empty event means that the record kept no context."""
    made = spine(*rows)[[*KEYS, "event_id"]]
    texts = [json.dumps({"event_id": e, "event_ts": "2024-01-01T01:00:00.5+01:00"}) for e in made["event_id"]]
    contexts = [text if event else None for text, event in zip(texts, made["event_id"], strict=True)]
    return made[KEYS].assign(context=pd.Series(contexts, dtype=object))


def told(rows: pd.DataFrame) -> list[tuple[Any, float]]:
    return sorted((s, (at - START) / SECOND) for s, at in rows[KEYS].itertuples(index=False))


def within(recorded: pd.DataFrame, answered: pd.DataFrame, envelope: Envelope | None = ENVELOPE) -> pd.DataFrame:
    start, end = (datetime.fromisoformat(moment.isoformat()) for moment in (START, END))
    return requests_to_label(recorded, answered, start, end, envelope)


def test_context_has_the_declared_types_and_is_null_where_a_record_kept_none() -> None:
    rows = with_context(answers(("a", 0, "e1"), ("b", 1, "")), ENVELOPE)

    assert rows["event_id"].tolist() == ["e1", None]
    assert rows["event_ts"].dtype == "datetime64[us, UTC]"
    assert rows["event_ts"].iloc[0] == START + SECOND / 2
    assert pd.isna(rows["event_ts"].iloc[1])
    assert list(with_context(answers(("a", 0, "e1")), None)) == KEYS


def test_an_answer_takes_the_place_of_the_recorded_request_of_its_event() -> None:
    rows = within(spine(("a", 0, "e1"), ("b", 5, "e2")), answers(("a", 3, "e1")))

    assert told(rows) == [("a", 3.0), ("b", 5.0)]
    assert rows.loc[rows["subject_id"] == "a", "event_id"].tolist() == ["e1"]


@pytest.mark.parametrize(
    ("answer", "envelope"),
    [(("a", 3, ""), ENVELOPE), (("b", 3, "e1"), ENVELOPE), (("a", 3, "e1"), None)],
    ids=["no context", "another subject", "no envelope"],
)
def test_without_a_common_event_both_requests_stay(answer: Asked, envelope: Envelope | None) -> None:
    assert len(within(spine(("a", 0, "e1")), answers(answer), envelope)) == 2


def test_a_spine_that_was_answered_wholly_keeps_its_columns_and_types() -> None:
    recorded = spine(("a", 0, "e1"))
    rows = within(recorded, answers(("a", 3, "e1")))

    assert dict(rows.dtypes) == dict(recorded.dtypes)
    assert told(rows) == [("a", 3.0)]


recorded_rows = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(0, 5), st.sampled_from(["e1", "e2", "e3"])),
    max_size=6,
    unique_by=lambda row: row[:2],
)


@given(recorded_rows)
def test_a_replay_at_the_recorded_times_changes_nothing(rows: list[Asked]) -> None:
    recorded = spine(*rows)

    pd.testing.assert_frame_equal(within(recorded, answers(*rows)), recorded)


@given(recorded_rows, recorded_rows)
def test_every_answer_and_every_unanswered_event_is_there_once(recorded: list[Asked], answered: list[Asked]) -> None:
    rows = within(spine(*recorded), answers(*answered))
    moved = {(s, e) for s, at, e in answered if (s, at) not in {row[:2] for row in recorded}}
    stays = {(s, at) for s, at, e in recorded if (s, e) not in moved}

    assert told(rows) == sorted(stays | {(s, at) for s, at, _ in answered})


def test_a_hidden_outcome_hides_every_request_of_its_event_and_no_other() -> None:
    requests = spine(("a", 0, "e1"), ("a", 1, "e2"), ("b", 2, "e1"))
    hidden = answers(("a", 3, "e1"), ("b", 9, ""))

    assert told(hidden_among(requests, hidden, ENVELOPE)) == [("a", 0.0), ("a", 3.0), ("b", 9.0)]
    assert told(hidden_among(requests, hidden, None)) == [("a", 3.0), ("b", 9.0)]


def test_an_answer_is_without_label_when_none_has_its_subject_and_time() -> None:
    found = without_label(answers(("a", 0, ""), ("a", 1, ""), ("b", 0, "")), spine(("a", 0, "e1")))

    assert told(found) == [("a", 1.0), ("b", 0.0)]


NUMBERS = {"subject_id": "int64", "event_id": "int64"}


def numbered(*rows: tuple[int, int, int], **types: str) -> pd.DataFrame:
    """Recorded requests of a use case whose keys are numbers."""
    return spine(*((str(s), at, str(e)) for s, at, e in rows)).astype(NUMBERS | types)


@pytest.mark.parametrize("kind", ["int64", "Int64", "int32", "uint64", "float64"])
def test_the_text_of_a_number_is_that_number_and_answers_take_its_type(kind: str) -> None:
    recorded = numbered((7, 0, 1), (8, 5, 2), subject_id=kind, event_id=kind)

    pd.testing.assert_frame_equal(within(recorded, answers(("7", 0, "1"))), recorded)
    moved = within(recorded, answers(("7", 3, "1")))
    assert dict(moved.dtypes) == dict(recorded.dtypes)
    assert moved[["subject_id", "event_id"]].to_numpy(float).tolist() == [[8, 2], [7, 1]]
    assert (moved["requested_at"].iloc[-1] - START) / SECOND == 3


def test_a_whole_number_beside_nulls_is_that_number() -> None:
    recorded = numbered((7, 0, 1), (8, 5, 2), event_id="float64")
    recorded.loc[1, "event_id"] = None

    assert told(within(recorded, answers(("7", 3, "1")))) == [(7, 3.0), (8, 5.0)]


def test_identifiers_of_a_database_are_matched_with_their_texts() -> None:
    ids = [UUID(int=n) for n in (1, 2)]
    recorded = spine(("a", 0, "e1"), ("b", 5, "e2")).assign(subject_id=pd.Series(ids, dtype=object))
    rows = within(recorded, answers((str(ids[0]), 3, "e1"), ("stranger", 4, "e9")))

    assert told(rows) == [(ids[0], 3.0), (ids[1], 5.0)]


@pytest.mark.parametrize("subject", ["x7", "007", "7.0", " 7", "1_0", "9" * 30, "\u0667"])
def test_an_answer_about_no_number_is_left_out_and_takes_no_place(subject: str) -> None:
    recorded = numbered((7, 0, 1), (10, 0, 1))

    pd.testing.assert_frame_equal(within(recorded, answers((subject, 3, "1"))), recorded)


@pytest.mark.parametrize("event", ["e9", ""])
def test_an_event_that_is_no_number_is_none(event: str) -> None:
    recorded, large = numbered((7, 0, 1)), 2**53 + 1
    recorded.loc[0, "event_id"] = large
    rows = within(recorded, answers(("7", 3, event)))

    with duckdb.connect() as con:
        con.register("requests", rows)
        con.execute(f"CREATE TABLE payments AS SELECT {large}::BIGINT AS id")
        found = con.execute("SELECT subject_id, requested_at FROM requests JOIN payments ON id = event_id").df()
    assert told(found) == [(7, 0.0)]
    assert rows["event_id"].isna().tolist() == [False, True]


def test_a_context_that_is_null_tells_nothing() -> None:
    answered = answers(("a", 0, "e1"), ("a", 1, "e1")).assign(context=pd.Series(["null", None], dtype=object))

    assert with_context(answered, ENVELOPE)[["event_id", "event_ts"]].isna().all(axis=None)


numbered_rows = st.lists(
    st.tuples(st.integers(9, 10), st.integers(0, 4), st.integers(-1, 1)), max_size=6, unique_by=lambda row: row[:2]
)


@given(numbered_rows, numbered_rows)
def test_numbers_are_matched_as_their_texts_are(
    recorded: list[tuple[int, int, int]], answered: list[tuple[int, int, int]]
) -> None:
    asked, said = ([(str(s), at, str(e)) for s, at, e in rows] for rows in (recorded, answered))
    rows = within(numbered(*recorded), answers(*said))

    assert dict(rows.dtypes) == dict(numbered().dtypes)
    pd.testing.assert_frame_equal(rows.astype(dict.fromkeys(NUMBERS, str)), within(spine(*asked), answers(*said)))
    hidden = hidden_among(numbered(*recorded), answers(*said), ENVELOPE)
    assert told(hidden.astype({"subject_id": str})) == told(hidden_among(spine(*asked), answers(*said), ENVELOPE))
