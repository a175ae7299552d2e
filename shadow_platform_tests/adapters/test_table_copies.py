"""Guarantees of the tables' copies in a real object store: equal, whole, put once, repaired; home is never touched."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import dagster as dg
import duckdb
import pandas as pd
import pyarrow.dataset as ds
import pytest
from fsspec.implementations.arrow import ArrowFSWrapper
from pyarrow import fs

from shadow_platform.adapters.lake import Lake, copies
from shadow_platform.adapters.lake.copies import CopyReport, copy_tables
from shadow_platform.assets.warehouse import build_warehouse_assets
from shadow_platform.contracts.errors import LakeError
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.tables import DRIFT_VERDICTS, LABELS, TABLES
from shadow_platform.resources import PlatformResource
from shadow_platform_tests.registry_servers import BUCKET, READER_KEY, ObjectStore
from shadow_platform_tests.scale_column import access
from shadow_platform_tests.tiny import USE_CASE

pytestmark = pytest.mark.processes
FIRST = date(2024, 1, 1)
DAYS = [FIRST + timedelta(days=n) for n in range(3)]


class S3(ArrowFSWrapper):  # type: ignore[misc]
    """What makes a plain DuckDB read ``s3://`` without the extension that it would download."""

    protocol = "s3"


def labels(day: date, n_rows: int, is_positive: bool = True) -> pd.DataFrame:
    """Labels of a day."""
    at = pd.to_datetime([datetime(day.year, day.month, day.day, 9, tzinfo=UTC)] * n_rows)
    subjects = [f"s{n}" for n in range(n_rows)]
    return pd.DataFrame(
        {
            "use_case": USE_CASE.name, "subject_id": subjects, "requested_at": at, "label": is_positive,
            "event_at": at, "known_at": at, "source": "events",
        }
    )  # fmt: skip


@pytest.fixture
def url(object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> str:
    """A place in the object store that nobody else uses."""
    for name, value in access(object_store).items():
        monkeypatch.setenv(name, value)
    return f"s3://{BUCKET}/tables/{uuid4().hex}"


@pytest.fixture
def lake(layout: Layout) -> Lake:
    """Three days of labels."""
    made = Lake(layout)
    for n, day in enumerate(DAYS):
        made.write_table(LABELS, USE_CASE, day, labels(day, 10 + n))
    return made


@pytest.fixture
def analyst(url: str) -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB that knows nothing of the platform and may read the object store."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register_filesystem(S3(fs.FileSystem.from_uri(url)[0]))
        yield connection


def publish(lake: Lake, url: str) -> CopyReport:
    return copy_tables(lake.layout, url, TABLES)


def views_at(url: str) -> str:
    store, root = fs.FileSystem.from_uri(url)
    with store.open_input_file(f"{root}/views.sql") as file:
        return bytes(file.read()).decode()


def test_an_analyst_reads_equal_rows_through_the_views_there(
    lake: Lake, url: str, analyst: duckdb.DuckDBPyConnection
) -> None:
    report = publish(lake, url)
    assert (report.n_copied, report.n_held) == (3, 3)
    analyst.execute(views_at(url))
    here = lake.sql("SELECT * FROM labels ORDER BY ALL")
    pd.testing.assert_frame_equal(analyst.execute("SELECT * FROM labels ORDER BY ALL").df(), here)
    assert len(here) == 33
    empty = analyst.execute("SELECT * FROM drift_verdicts").df()
    assert [*empty.columns] == [*DRIFT_VERDICTS.column_names]
    assert empty.empty


def test_an_engine_of_many_machines_reads_equal_rows_without_the_views(lake: Lake, url: str) -> None:
    """Arrow's scanner, which Ray uses too, on the bare folder of a table."""
    publish(lake, url)
    store, root = fs.FileSystem.from_uri(url)
    rows = ds.dataset(f"{root}/labels", filesystem=store, format="parquet").to_table().to_pandas()
    here = lake.sql("SELECT * FROM labels ORDER BY ALL")
    pd.testing.assert_frame_equal(
        rows.sort_values([*LABELS.key], ignore_index=True)[[*here.columns]],
        here.sort_values([*LABELS.key], ignore_index=True),
        check_dtype=False,
    )


def test_only_what_changed_is_put_again(lake: Lake, url: str, analyst: duckdb.DuckDBPyConnection) -> None:
    publish(lake, url)
    assert publish(lake, url).n_copied == 0
    lake.write_table(LABELS, USE_CASE, DAYS[1], labels(DAYS[1], 11, is_positive=False))
    report = publish(lake, url)
    assert (report.n_copied, report.n_held) == (1, 3)
    analyst.execute(views_at(url))
    found = analyst.execute("SELECT count(*) FILTER (label), count(*) FROM labels").fetchone()
    assert found == (22, 33)


@pytest.mark.parametrize("lost", [f"labels/use_case=tiny/dt={DAYS[2]}/data.parquet", "copies.json", "views.sql"])
def test_what_is_lost_there_is_put_again(lake: Lake, url: str, object_store: ObjectStore, lost: str) -> None:
    """The note is what a process that died before it put it never put."""
    publish(lake, url)
    key = f"{url.removeprefix(f's3://{BUCKET}/')}/{lost}"
    assert object_store.keys(key) == [key]
    object_store.client().delete_object(Bucket=BUCKET, Key=key)
    report = publish(lake, url)
    assert report.n_copied == {"copies.json": 3, "views.sql": 0}.get(lost, 1)
    assert object_store.keys(key) == [key]
    assert publish(lake, url).n_copied == 0


def test_a_damaged_note_costs_another_copy_and_nothing_else(lake: Lake, url: str, object_store: ObjectStore) -> None:
    publish(lake, url)
    object_store.replace(f"{url.removeprefix(f's3://{BUCKET}/')}/copies.json", b'{"copies": {"labels')
    assert publish(lake, url).n_copied == 3
    assert publish(lake, url).n_copied == 0


def test_a_wrong_or_empty_home_takes_nothing_away(
    lake: Lake, url: str, tmp_path: Path, object_store: ObjectStore
) -> None:
    publish(lake, url)
    before = object_store.keys("data.parquet")
    assert copy_tables(Layout(tmp_path / "unmounted"), url, TABLES).n_held == 0
    assert object_store.keys("data.parquet") == before


def test_while_the_store_is_away_the_publication_fails_and_the_next_one_repairs(
    lake: Lake, url: str, object_store: ObjectStore, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies, "PAUSES_S", ())
    publish(lake, url)
    lake.write_table(LABELS, USE_CASE, DAYS[0], labels(DAYS[0], 40))
    before = {path: path.read_bytes() for path in lake.layout.tables.rglob("*.parquet")}
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port}")
    with pytest.raises(LakeError, match=rf"{url} cannot be listed: .*the tables in the home folder are not affected"):
        publish(lake, url)
    assert {path: path.read_bytes() for path in lake.layout.tables.rglob("*.parquet")} == before
    monkeypatch.setenv("AWS_ENDPOINT_URL", object_store.url)
    assert publish(lake, url).n_copied == 1


def test_a_store_that_takes_nothing_is_told_with_the_partition_and_what_to_do(
    lake: Lake, url: str, monkeypatch: pytest.MonkeyPatch, analyst: duckdb.DuckDBPyConnection
) -> None:
    """The key may read and list, as somebody may who mixed up two keys; what was there stays readable."""
    monkeypatch.setattr(copies, "PAUSES_S", ())
    publish(lake, url)
    for day in DAYS[:2]:
        lake.write_table(LABELS, USE_CASE, day, labels(day, 40))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", READER_KEY)
    first = f"labels/use_case=tiny/dt={DAYS[0]}/data.parquet"
    refused = (
        rf"2 of 2 partitions could not be copied to {url}; the first is {first}: .*ACCESS_DENIED.*check TABLES_URL"
    )
    with pytest.raises(LakeError, match=refused):
        publish(lake, url)
    analyst.execute(views_at(url))
    assert analyst.execute("SELECT count(*) FROM labels").fetchone() == (33,)


def test_an_answer_that_comes_at_the_second_try_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "PAUSES_S", (0.0, 0.0))
    errors = [OSError("reset by peer"), OSError("slow down")]

    def answer() -> str:
        if errors:
            raise errors.pop()
        return "answer"

    assert copies._tried(answer, "it cannot be read") == "answer"


def test_a_partition_replaced_while_it_is_copied_is_copied_again(
    lake: Lake, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By one of the same size, as most are, while the old content is on its way."""
    put, partition = copies._Store.put, lake.layout.table(LABELS.name, USE_CASE.name, DAYS[0])
    replaced: list[int] = []

    def put_late(store: copies._Store, name: str, content: bytes) -> None:
        put(store, name, content)
        if str(DAYS[0]) in name and not replaced:
            replaced.append(partition.stat().st_size)
            lake.write_table(LABELS, USE_CASE, DAYS[0], labels(DAYS[0], 10, is_positive=False))

    monkeypatch.setattr(copies._Store, "put", put_late)
    publish(lake, url)
    assert replaced == [partition.stat().st_size]
    assert publish(lake, url).n_copied == 1
    assert publish(lake, url).n_copied == 0


def test_tables_of_every_use_case_are_copied(lake: Lake, url: str, object_store: ObjectStore) -> None:
    other = replace(USE_CASE, name="other")
    lake.write_table(LABELS, other, FIRST, labels(FIRST, 2).assign(use_case="other"))
    assert publish(lake, url).n_copied == 4
    assert len(object_store.keys(f"use_case=other/dt={FIRST}/data.parquet")) == 1


def test_the_step_of_the_warehouse_tells_what_it_copied_and_fails_when_the_store_is_away(
    lake: Lake, layout: Layout, url: str, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies, "PAUSES_S", ())
    monkeypatch.setenv("TABLES_URL", url)
    assets, resources = build_warehouse_assets(USE_CASE), {"platform": PlatformResource()}
    done = dg.materialize(assets, resources=resources)
    (made,) = done.asset_materializations_for_node("tiny__warehouse")
    assert made.metadata["copies"].value == {"url": url, "n_copied": 3, "n_bytes": _n_bytes(layout), "n_held": 3}
    lake.write_table(LABELS, USE_CASE, DAYS[0], labels(DAYS[0], 40))
    layout.warehouse.unlink()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port}")
    assert not dg.materialize(assets, resources=resources, raise_on_error=False).success
    with duckdb.connect(str(layout.warehouse), read_only=True) as warehouse:
        assert warehouse.execute("SELECT count(*) FROM labels").fetchone() == (63,)


def _n_bytes(layout: Layout) -> int:
    return sum(path.stat().st_size for path in layout.tables.rglob("data.parquet"))
