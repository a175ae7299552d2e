"""Logs become tables without losing, doubling or inventing a row."""

from dataclasses import asdict, replace
from datetime import date
from pathlib import Path
from typing import Any

import orjson
import pytest

from shadow_platform.adapters.lake import Lake
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.records import ModelAnswer, PredictionRecord, ShadowRecord, SourceOffset
from shadow_platform.contracts.tables import PREDICTIONS, SHADOW_COMPARISONS

DAY = date(2024, 1, 1)
OLD_PREDICTIONS = Path(__file__).with_name("predictions_of_versions_1_to_4.jsonl")
"""Lines as the platform wrote them at those versions of the record, one each; all were answered on ``DAY``."""
PREDICTION = PredictionRecord(
    request_id="r1",
    use_case="tiny",
    subject_id="v1",
    entities={"visitor_id": "x"},
    requested_at="2024-01-01T10:00:00.123456Z",
    logged_at="2026-05-01T03:00:00Z",
    features={"cart_value": 12.5, "channel": "mail", "visits_7d": None},
    feature_sources={"request": 2, "online": 1, "imputed": 1, "derived": 3},
    feature_age_s=60.0,
    model_version="3",
    bundle_hash="abc",
    variant="champion",
    propensity=1.0,
    probability=0.25,
    prediction=False,
    threshold=0.5,
    latency_ms=1.5,
    context={"event_id": "e1"},
    feature_times={"visitor_history": "2024-01-01T09:59:00.000001Z"},
    overridden=["visits_7d"],
)
COMPARISON = ShadowRecord(
    request_id="r1",
    use_case="tiny",
    subject_id="v1",
    requested_at="2024-01-01T10:00:00Z",
    compared_at="2026-05-01T03:00:01Z",
    outcome="compared",
    champion=ModelAnswer(0.25, False, 1.5, "3"),
    challenger=ModelAnswer(0.75, True, 0.2, "4"),
    source=SourceOffset("dt=2026-05-01/hour=03/1-a.jsonl", 100),
    probability_diff=0.5,
    prediction_match=False,
)


@pytest.fixture
def lake(layout: Layout) -> Lake:
    return Lake(layout)


def segment(root: Path, lines: list[Any], dt: str = "2026-05-01", name: str = "1-a") -> Path:
    path = root / f"dt={dt}" / "hour=03" / f"{name}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    content = [line if isinstance(line, bytes) else orjson.dumps(asdict(line)) for line in lines]
    path.write_bytes(b"".join(line + b"\n" for line in content))
    return path


def test_a_prediction_keeps_every_field_of_its_record(lake: Lake, layout: Layout) -> None:
    segment(layout.log("predictions", "tiny"), [PREDICTION])
    rows, n_bad = lake.ingest_predictions("tiny", DAY)
    row = rows.iloc[0]
    assert (len(rows), n_bad) == (1, 0)
    assert tuple(rows.columns) == PREDICTIONS.column_names
    assert row["requested_at"].isoformat() == "2024-01-01T10:00:00.123456+00:00"
    assert (row["features_from_request"], row["features_from_online"], row["features_imputed"]) == (2, 1, 1)
    assert row["features_derived"] == 3
    assert orjson.loads(row["feature_times"]) == PREDICTION.feature_times
    assert list(row["overridden"]) == PREDICTION.overridden
    assert orjson.loads(row["features"]) == PREDICTION.features
    assert orjson.loads(row["context"]) == PREDICTION.context
    assert row[["model_version", "bundle_hash", "probability", "feature_age_s"]].tolist() == ["3", "abc", 0.25, 60.0]
    assert lake.write_table(PREDICTIONS, "tiny", DAY, rows) == 1


def test_a_comparison_keeps_both_answers(lake: Lake, layout: Layout) -> None:
    failed = replace(
        COMPARISON,
        request_id="r2",
        outcome="failed",
        challenger=ModelAnswer(None, None, None, "4", "no number"),
        probability_diff=None,
        prediction_match=None,
    )
    segment(layout.log("shadow", "tiny") / "challenger=4", [COMPARISON, failed])
    rows, n_bad = lake.ingest_shadow("tiny", DAY)
    assert n_bad == 0
    assert tuple(rows.columns) == SHADOW_COMPARISONS.column_names
    first, second = rows.iloc[0], rows.iloc[1]
    assert (first["champion_version"], first["champion_probability"]) == ("3", 0.25)
    assert (first["challenger_version"], first["challenger_probability"], first["probability_diff"]) == ("4", 0.75, 0.5)
    assert (second["outcome"], second["challenger_error"]) == ("failed", "no number")
    assert lake.write_table(SHADOW_COMPARISONS, "tiny", DAY, rows) == 2


@pytest.mark.parametrize(
    "line",
    [
        b'{"request_id": "torn", "use_ca',
        b"not json",
        orjson.dumps({**asdict(PREDICTION), "request_id": "x", "probability": "high"}),
        orjson.dumps({**asdict(PREDICTION), "request_id": "x", "requested_at": "yesterday"}),
        orjson.dumps({**asdict(PREDICTION), "request_id": "x", "schema_version": 99}),
        orjson.dumps({**asdict(PREDICTION), "request_id": None}),
    ],
    ids=["torn", "text", "wrong type", "no time", "unknown version", "no id"],
)
def test_an_unreadable_line_is_counted_and_harms_no_other(lake: Lake, layout: Layout, line: bytes) -> None:
    other = replace(PREDICTION, request_id="r2")
    segment(layout.log("predictions", "tiny"), [PREDICTION, line, other])
    rows, n_bad = lake.ingest_predictions("tiny", DAY)
    assert rows["request_id"].tolist() == ["r1", "r2"]
    assert n_bad == 1


def test_a_record_that_was_written_twice_is_one_row_the_first(lake: Lake, layout: Layout) -> None:
    root = layout.log("predictions", "tiny")
    again = replace(PREDICTION, logged_at="2026-05-01T03:00:05Z", model_version="9")
    segment(root, [again, PREDICTION])
    segment(root, [PREDICTION], name="2-b")
    rows, _ = lake.ingest_predictions("tiny", DAY)
    assert rows["model_version"].tolist() == ["3"]


def test_a_replay_that_compared_replaces_what_was_dropped(lake: Lake, layout: Layout) -> None:
    dropped = replace(COMPARISON, outcome="dropped", drop_reason="lag", probability_diff=None)
    replayed = replace(COMPARISON, compared_at="2026-05-02T00:00:00Z", is_replay=True)
    segment(layout.log("shadow", "tiny") / "challenger=4", [dropped, replayed])
    rows, _ = lake.ingest_shadow("tiny", DAY)
    assert rows[["outcome", "is_replay"]].to_numpy().tolist() == [["compared", True]]


def test_a_line_that_came_twice_is_counted_although_the_table_has_one_row(lake: Lake, layout: Layout) -> None:
    root = layout.log("shadow", "tiny") / "challenger=4"
    other = replace(COMPARISON, request_id="r2", source=replace(COMPARISON.source, end=200))
    segment(root, [COMPARISON, other, COMPARISON])
    segment(root, [replace(COMPARISON, is_replay=True)], name="2-b")
    rows, _ = lake.ingest_shadow("tiny", DAY)
    assert rows["request_id"].tolist() == ["r1", "r2"]
    found = lake.doubled_comparisons("tiny", DAY)
    assert found[["challenger_version", "n_doubled"]].to_numpy().tolist() == [["4", 2]]
    assert found["day"].dt.date.tolist() == [DAY]
    assert lake.doubled_comparisons("tiny", date(2024, 1, 2)).empty


def test_a_replay_of_what_was_dropped_is_no_double(lake: Lake, layout: Layout) -> None:
    dropped = replace(COMPARISON, outcome="dropped", drop_reason="circuit_open", probability_diff=None)
    again = replace(dropped, is_replay=True, compared_at="2026-05-01T12:00:00Z")
    replayed = replace(COMPARISON, compared_at="2026-05-02T00:00:00Z", is_replay=True)
    root = layout.log("shadow", "tiny") / "challenger=4"
    segment(root, [dropped, again, replayed])
    assert lake.doubled_comparisons("tiny", DAY).empty
    segment(root, [dropped], name="2-b")
    assert lake.doubled_comparisons("tiny", DAY)["n_doubled"].tolist() == [1]


def test_a_prediction_logged_before_a_field_was_reads_as_if_what_it_tells_of_had_not_happened(
    lake: Lake, layout: Layout
) -> None:
    explored = replace(PREDICTION, is_explored=True, label_propensity=0.05)
    segment(layout.log("predictions", "tiny"), [*OLD_PREDICTIONS.read_bytes().splitlines(), explored])
    rows, n_bad = lake.ingest_predictions("tiny", DAY)
    assert n_bad == 0
    assert rows["is_fallback"].tolist() == [False, True, False, False, False]
    assert rows["is_explored"].tolist() == [False, False, True, False, True]
    assert rows["label_propensity"].tolist() == [1.0, 1.0, 0.05, 1.0, 0.05]
    assert rows["probability"].tolist() == [0.75, 0.75, 0.75, 0.75, 0.25]
    context = {"event_id": "e1"}
    assert [orjson.loads(found) for found in rows["context"]] == [{}, {}, {}, context, context]
    assert rows["features_derived"].tolist() == [0, 0, 0, 0, 3]
    assert [orjson.loads(times) for times in rows["feature_times"]] == [{}, {}, {}, {}, PREDICTION.feature_times]
    assert [list(names) for names in rows["overridden"]] == [[], [], [], [], PREDICTION.overridden]
    assert lake.write_table(PREDICTIONS, "tiny", DAY, rows) == 5


def test_every_challenger_has_its_own_row(lake: Lake, layout: Layout) -> None:
    for version in ("4", "5"):
        answer = replace(COMPARISON.challenger, model_version=version)
        segment(layout.log("shadow", "tiny") / f"challenger={version}", [replace(COMPARISON, challenger=answer)])
    rows, _ = lake.ingest_shadow("tiny", DAY)
    assert rows["challenger_version"].tolist() == ["4", "5"]


def test_a_day_holds_its_own_requests_and_its_own_use_case_only(lake: Lake, layout: Layout) -> None:
    moments = (
        "2023-12-31T23:59:59.999999Z",
        "2024-01-01T00:00:00Z",
        "2024-01-01T23:59:59.999999Z",
        "2024-01-02T00:00:00Z",
    )
    lines = [replace(PREDICTION, request_id=str(i), requested_at=moment) for i, moment in enumerate(moments)]
    segment(layout.log("predictions", "tiny"), [*lines, replace(PREDICTION, request_id="o", use_case="other")])
    rows, _ = lake.ingest_predictions("tiny", DAY)
    assert rows["request_id"].tolist() == ["1", "2"]


def test_segments_older_than_the_day_are_not_read(lake: Lake, layout: Layout) -> None:
    root = layout.log("predictions", "tiny")
    segment(root, [b"unreadable"], dt="2023-12-30")
    segment(root, [PREDICTION], dt="2024-01-01")
    rows, n_bad = lake.ingest_predictions("tiny", DAY)
    assert (len(rows), n_bad) == (1, 0)


def test_no_log_at_all_is_no_rows(lake: Lake) -> None:
    for rows, n_bad in (lake.ingest_predictions("tiny", DAY), lake.ingest_shadow("tiny", DAY)):
        assert rows.empty
        assert n_bad == 0


def test_fields_of_a_newer_writer_are_ignored(lake: Lake, layout: Layout) -> None:
    segment(layout.log("predictions", "tiny"), [orjson.dumps({**asdict(PREDICTION), "shoe_size": 46})])
    rows, n_bad = lake.ingest_predictions("tiny", DAY)
    assert (len(rows), n_bad) == (1, 0)
