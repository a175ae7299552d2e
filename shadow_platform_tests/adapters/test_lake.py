"""The lake keeps its promises about partitions, types and keys, whatever is written and whoever reads."""

import stat
import threading
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest

from shadow_platform.adapters.lake import Lake
from shadow_platform.contracts.errors import EventFileError, LakeError
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.tables import LABELS, PREDICTIONS, QUARANTINED_EVENTS, TABLES, TableSchema
from shadow_platform_tests.tiny import USE_CASE

DAY = date(2024, 1, 1)
NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)
VISITS, VIEW = USE_CASE.events[0], USE_CASE.views[0]


@pytest.fixture
def lake(layout: Layout) -> Lake:
    return Lake(layout)


def label_row(subject_id: str = "a", known_at: datetime = NOON, **changes: Any) -> dict[str, Any]:
    row = {"use_case": "tiny", "subject_id": subject_id, "requested_at": NOON, "label": True}
    return {**row, "event_at": known_at, "known_at": known_at, "source": "events", **changes}


def labels(*rows: dict[str, Any]) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=list(LABELS.column_names))


def visits(*moments: datetime) -> pd.DataFrame:
    rows = [
        {
            **{"event_id": f"e{i}", "event_at": moment, "received_at": moment},
            **{"visit_id": f"v{i}", "visitor_id": "x", "channel": "mail", "cart_value": 1.0},
        }
        for i, moment in enumerate(moments)
    ]
    validated: pd.DataFrame = VISITS.schema.validate(pd.DataFrame(rows))
    return validated


def feature_rows(*moments: datetime, **changes: Any) -> pd.DataFrame:
    rows = [{"visitor_id": "x", "event_at": m, "created_at": m, "visits_7d": 1, "purchases_7d": None} for m in moments]
    return pd.DataFrame(rows).assign(**changes)


def test_a_table_partition_reads_back_in_the_schemas_columns_order_and_types(lake: Lake) -> None:
    frame = labels(label_row("b", label=None), label_row("a", label=False))
    assert lake.write_table(LABELS, USE_CASE, DAY, frame[reversed(frame.columns)]) == 2
    read = lake.read_table(LABELS, USE_CASE)
    assert tuple(read.columns) == LABELS.column_names
    assert str(read["known_at"].dtype) == "datetime64[us, UTC]"
    assert read["known_at"].tolist() == [NOON, NOON]
    assert read["label"].isna().tolist() == [True, False]


def test_a_table_without_files_reads_as_no_rows_of_the_right_types(lake: Lake) -> None:
    read = lake.read_table(PREDICTIONS, "tiny")
    assert read.empty
    assert tuple(read.columns) == PREDICTIONS.column_names
    assert str(read["requested_at"].dtype) == "datetime64[us, UTC]"
    assert str(read["probability"].dtype) == "float64"


def test_days_are_read_from_start_inclusive_to_end_exclusive(lake: Lake) -> None:
    for offset in range(3):
        day = DAY + timedelta(days=offset)
        lake.write_table(LABELS, "tiny", day, labels(label_row(str(offset), NOON + timedelta(days=offset))))
    read = lake.read_table(LABELS, "tiny", DAY + timedelta(days=1), DAY + timedelta(days=2))
    assert read["subject_id"].tolist() == ["1"]
    assert lake.table_days(LABELS, "tiny") == [DAY, DAY + timedelta(days=1), DAY + timedelta(days=2)]


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (labels(label_row()).drop(columns="label"), r"columns \['label'\] are missing"),
        (labels(label_row()).assign(extra=1), r"\['extra'\] are undeclared"),
        (labels(label_row(), label_row()), "must be unique"),
        (labels(label_row(label="perhaps")), "does not fit the declared types"),
        (labels(label_row(known_at=NOON + timedelta(days=2))), "lies outside the day"),
        (labels(label_row(use_case="other")), r"use case \['other'\] do not belong here"),
    ],
)
def test_rows_that_contradict_the_schema_are_refused_and_the_old_partition_stands(
    lake: Lake, frame: pd.DataFrame, message: str
) -> None:
    lake.write_table(LABELS, "tiny", DAY, labels(label_row("old")))
    with pytest.raises(LakeError, match=message):
        lake.write_table(LABELS, "tiny", DAY, frame)
    assert lake.read_table(LABELS, "tiny")["subject_id"].tolist() == ["old"]


def test_a_window_that_ends_with_the_day_may_be_written_with_it(lake: Lake) -> None:
    midnight = datetime(2024, 1, 2, tzinfo=UTC)
    assert lake.write_table(LABELS, "tiny", DAY, labels(label_row(known_at=midnight))) == 1


def test_appended_rows_go_to_their_day_and_replace_rows_of_equal_key(lake: Lake) -> None:
    tomorrow = NOON + timedelta(days=1)
    assert lake.append_rows(LABELS, "tiny", [label_row("a"), label_row("b"), label_row("c", tomorrow)]) == 3
    lake.append_rows(LABELS, "tiny", [label_row("b", label=False)])
    read = lake.read_table(LABELS, "tiny").set_index("subject_id")["label"].to_dict()
    assert read == {"a": True, "b": False, "c": True}
    assert lake.table_days(LABELS, "tiny") == [DAY, DAY + timedelta(days=1)]


def test_a_null_in_a_key_equals_a_null(lake: Lake) -> None:
    row = {"use_case": "tiny", "received_on": datetime(2024, 1, 1, tzinfo=UTC), "kind": "visits", "file": "f", "row": 1}
    for reason in ("first", "second"):
        lake.append_rows(QUARANTINED_EVENTS, "tiny", [{**row, "column_name": None, "reason": reason, "payload": ""}])
    assert lake.read_table(QUARANTINED_EVENTS, "tiny")["reason"].tolist() == ["second"]


def test_appends_of_many_threads_to_one_partition_lose_nothing(lake: Lake) -> None:
    threads = [threading.Thread(target=lake.append_rows, args=(LABELS, "tiny", [label_row(f"{i}")])) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(lake.read_table(LABELS, "tiny")["subject_id"]) == [f"{i}" for i in range(8)]


def test_json_columns_take_mappings_and_come_back_as_text(lake: Lake) -> None:
    row = dict.fromkeys(PREDICTIONS.column_names) | {
        **{"use_case": "tiny", "request_id": "r", "requested_at": NOON},
        "features": {"a": 1.5, "b": None},
    }
    lake.append_rows(PREDICTIONS, "tiny", [row])
    found = lake.sql("SELECT features ->> 'a' AS a, features FROM predictions")
    assert found["a"].tolist() == ["1.5"]
    assert lake.read_table(PREDICTIONS, "tiny")["features"].tolist() == ['{"a": 1.5, "b": null}']


def test_nan_is_null(lake: Lake) -> None:
    frame = feature_rows(NOON, visits_7d=float("nan"))
    lake.write_features(USE_CASE, VIEW, DAY, frame)
    assert lake.read_features(USE_CASE, VIEW)["visits_7d"].isna().all()


def test_feature_rows_are_unique_by_entity_and_time(lake: Lake) -> None:
    with pytest.raises(LakeError, match=r"key \('visitor_id', 'event_at'\) must be unique"):
        lake.write_features(USE_CASE, VIEW, DAY, feature_rows(NOON, NOON))


def test_an_unknown_view_is_refused_with_the_known_ones(lake: Lake) -> None:
    with pytest.raises(LakeError, match="view 'nope' is unknown in use case 'tiny'; known: visitor_history"):
        lake.read_features(USE_CASE, "nope")


def test_event_queries_see_only_the_days_asked_for(lake: Lake) -> None:
    for offset in range(4):
        lake.write_events(USE_CASE, VISITS, DAY + timedelta(days=offset), visits(NOON + timedelta(days=offset)))
    query = "SELECT count(*) AS n, max(received_at) AS latest FROM visits"
    found = lake.events_sql(query, USE_CASE, USE_CASE.events, {}, NOON + timedelta(days=1), NOON + timedelta(days=2))
    assert found["n"].tolist() == [2]
    assert found["latest"].tolist() == [NOON + timedelta(days=2)]
    assert lake.events_sql(query, USE_CASE, USE_CASE.events)["n"].tolist() == [4]


def test_an_event_kind_without_files_is_an_empty_table(lake: Lake) -> None:
    found = lake.events_sql(
        "SELECT * FROM purchases WHERE amount > $low", USE_CASE, USE_CASE.events, {"low": 1, "x": 2}
    )
    assert found.empty
    assert list(found.columns) == list(USE_CASE.events[1].schema.columns)


def test_a_column_that_old_partitions_lack_is_null_there(lake: Lake) -> None:
    old = visits(NOON).drop(columns="cart_value")
    lake.write_events("tiny", "visits", DAY, old)
    assert lake.events_sql("SELECT cart_value FROM visits", USE_CASE, [VISITS])["cart_value"].isna().all()


def test_predictions_of_before_fallbacks_read_and_are_published_without_one(lake: Lake, layout: Layout) -> None:
    columns = [column for column in PREDICTIONS.columns if column.name != "is_fallback"]
    row = ", ".join(f"CAST({_SAMPLE.get(c.type, 'NULL')} AS {c.type}) AS {c.name}" for c in columns)
    path = layout.table("predictions", "tiny", DAY)
    path.parent.mkdir(parents=True)
    with duckdb.connect() as con:
        con.execute(f"COPY (SELECT {row}) TO '{path}' (FORMAT parquet)")
    assert lake.read_table(PREDICTIONS, "tiny")["is_fallback"].isna().tolist() == [True]
    assert lake.sql("SELECT count(*) AS n FROM predictions WHERE is_fallback IS NOT TRUE")["n"].tolist() == [1]
    with duckdb.connect(str(lake.publish_warehouse()), read_only=True) as con:
        assert con.execute("SELECT is_fallback FROM predictions").fetchall() == [(None,)]


_SAMPLE = {"VARCHAR": "'x'", "TIMESTAMPTZ": "'2024-01-01 12:00:00+00'", "DOUBLE": "0.5", "BOOLEAN": "true"}


def test_queries_take_frames_beside_the_events(lake: Lake) -> None:
    lake.write_events(USE_CASE, VISITS, DAY, visits(NOON))
    query = "SELECT r.subject_id FROM visits JOIN requests AS r ON r.subject_id = visits.visit_id"
    requests = pd.DataFrame({"subject_id": ["v0", "v9"]})
    found = lake.events_sql(query, USE_CASE, USE_CASE.events, extra={"requests": requests})
    assert found["subject_id"].tolist() == ["v0"]


def test_a_failing_query_and_a_corrupt_partition_say_what_to_do(lake: Lake, layout: Layout) -> None:
    with pytest.raises(LakeError, match="query failed"):
        lake.events_sql("SELECT nothing FROM visits", USE_CASE, USE_CASE.events)
    path = layout.events("tiny", "visits", DAY)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"PAR1 cut off")
    with pytest.raises(LakeError, match=r"data\.parquet.*materialize its partition again"):
        lake.events_sql("SELECT * FROM visits", USE_CASE, USE_CASE.events)


def test_a_failed_write_leaves_neither_a_partition_nor_a_remnant(
    lake: Lake, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    lake.write_table(LABELS, "tiny", DAY, labels(label_row("old")))
    monkeypatch.setattr("shadow_platform.adapters.lake.parquet.os.fsync", full)
    with pytest.raises(LakeError, match="No space left on device; free the disk"):
        lake.write_table(LABELS, "tiny", DAY, labels(label_row("new")))
    assert [path.name for path in layout.table("labels", "tiny", DAY).parent.iterdir()] == ["data.parquet"]
    assert lake.read_table(LABELS, "tiny")["subject_id"].tolist() == ["old"]


def test_a_raw_file_is_written_once_and_never_replaced(lake: Lake) -> None:
    assert lake.land_raw(USE_CASE, VISITS, DAY, [{"a": 1}])
    assert not lake.land_raw(USE_CASE, VISITS, DAY, [{"a": 2}])
    assert b"".join(lake.read_raw(USE_CASE, VISITS, DAY)) == b'{"a": 1}\n'


def test_raw_rows_that_are_no_json_leave_no_file(lake: Lake, layout: Layout) -> None:
    for value in (float("nan"), NOON):
        with pytest.raises(EventFileError, match="could not be written"):
            lake.land_raw(USE_CASE, VISITS, DAY, [{"a": value}])
    assert not list(layout.raw_events("tiny", "visits", DAY).parent.iterdir())


def test_a_missing_raw_file_is_named(lake: Lake) -> None:
    with pytest.raises(EventFileError, match=r"events\.jsonl cannot be read: No such file.*materialize raw_events"):
        next(lake.read_raw(USE_CASE, VISITS, DAY))


@pytest.mark.parametrize("schema", TABLES, ids=lambda schema: schema.name)
def test_the_warehouse_has_every_table_with_its_comments_and_types(lake: Lake, schema: TableSchema) -> None:
    path = lake.publish_warehouse()
    with duckdb.connect(str(path), read_only=True) as con:
        found = con.execute(
            "SELECT column_name, data_type, comment FROM duckdb_columns() WHERE table_name = ? ORDER BY column_index",
            [schema.name],
        ).fetchall()
        views = con.execute("SELECT comment FROM duckdb_views() WHERE view_name = ?", [schema.name]).fetchall()
        count = con.execute(f'SELECT count(*) FROM "{schema.name}"').fetchall()
    types = {"TIMESTAMPTZ": "TIMESTAMP WITH TIME ZONE"}
    assert found == [(c.name, types.get(c.type, c.type), c.comment) for c in schema.columns]
    assert views[0][0].startswith(schema.grain)
    assert count == [(0,)]


def test_an_open_reader_sees_new_partitions_and_blocks_no_publishing(lake: Lake, layout: Layout) -> None:
    lake.write_table(LABELS, "tiny", DAY, labels(label_row("a")))
    with duckdb.connect(str(lake.publish_warehouse()), read_only=True) as reader:
        assert reader.execute("SELECT count(*) FROM labels").fetchall() == [(1,)]
        lake.write_table(LABELS, "tiny", DAY, labels(label_row("a"), label_row("b")))
        lake.publish_warehouse()
        assert reader.execute("SELECT count(*) FROM labels").fetchall() == [(2,)]
    assert stat.S_IMODE(layout.warehouse.stat().st_mode) == 0o444
    assert [path.name for path in layout.home.iterdir() if "warehouse" in path.name] == ["warehouse.duckdb"]


def test_a_corrupt_table_keeps_the_former_warehouse(lake: Lake, layout: Layout) -> None:
    published = lake.publish_warehouse().read_bytes()
    path = layout.table("labels", "tiny", DAY)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"nothing")
    with pytest.raises(LakeError, match="the former one stands"):
        lake.publish_warehouse()
    assert layout.warehouse.read_bytes() == published


def test_queries_over_the_tables_take_parameters(lake: Lake) -> None:
    lake.append_rows(LABELS, "tiny", [label_row("a"), label_row("b", label=False)])
    found = lake.sql("SELECT subject_id FROM labels WHERE label = $label", {"label": False})
    assert found["subject_id"].tolist() == ["b"]


def test_paths_with_quotes_are_no_sql(tmp_path: Path) -> None:
    lake = Lake(Layout(tmp_path / "it's"))
    lake.append_rows(LABELS, "tiny", [label_row()])
    lake.publish_warehouse()
    assert len(lake.sql("SELECT * FROM labels")) == 1
