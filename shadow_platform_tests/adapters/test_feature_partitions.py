"""Wherever feature rows lie and whatever is wrong with them, the right ones are read, or it is said what to do."""

from datetime import timedelta
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import FileSource

from shadow_platform.adapters.feature_store import FeastStore
from shadow_platform.adapters.feature_store.objects import PARTITION, Partitions
from shadow_platform.adapters.feature_store.ray_tasks import Window, latest_rows
from shadow_platform.adapters.lake import Lake
from shadow_platform.contracts.errors import FeatureStoreError
from shadow_platform.contracts.layout import Layout
from shadow_platform_tests.adapters.feature_rows import (
    HISTORY,
    HOUR,
    PLANS,
    REPOSITORY,
    START,
    USE_CASE,
    history,
    plans,
)

DAYS = [START.date() + timedelta(days=day) for day in range(2)]
ASKED = pd.DataFrame({"user": ["u1"], "shop": ["s1"], "requested_at": [START + 25 * HOUR]})
COLUMNS = ["user", "event_at", "created_at", "visits"]


def held(home: Path, visits: float) -> FeastStore:
    lake = Lake(Layout(home))
    lake.write_features(USE_CASE, HISTORY, DAYS[1], history(("u1", 24, visits, "ios")))
    lake.write_features(USE_CASE, PLANS, DAYS[1], plans(("s1", 24, 4.5)))
    return FeastStore(Layout(home), REPOSITORY, USE_CASE)


@pytest.mark.parametrize("name", ["a[1]b", "a*b", "a?b"])
def test_the_name_of_a_folder_is_no_pattern(tmp_path: Path, name: str) -> None:
    held(tmp_path / "a1b", 1)
    store = held(tmp_path / name, 7)
    store.apply()
    assert store.historical(ASKED)["visits"].tolist() == [7]
    assert store.materialize(START, START + timedelta(days=2)) == {"history": 1, "plans": 1}
    assert store.online().read([{"user": "u1"}])[0]["history"].values["visits"] == 7


def test_a_view_without_partitions_is_named(tmp_path: Path) -> None:
    with pytest.raises(FeatureStoreError, match=rf"there are no rows below {tmp_path}; materialize its partitions"):
        Partitions(f"{tmp_path}/{PARTITION}").read([], COLUMNS)


def test_a_folder_of_no_day_is_named(tmp_path: Path) -> None:
    store = held(tmp_path, 7)
    folder = store.layout.features("shop", "history", DAYS[1]).parent
    folder.rename(folder.with_name("dt=2024-13-01"))
    with pytest.raises(FeatureStoreError, match=r"dt=2024-13-01/data\.parquet is of no day: .*; rename or remove"):
        store.historical(ASKED)


def test_a_column_of_another_type_in_one_partition_is_named(tmp_path: Path) -> None:
    """The type changed, or the file is another view's."""
    store = held(tmp_path, 7)
    store.apply()
    kept, other = (store.layout.features("shop", "history", day) for day in reversed(DAYS))
    rows = pq.read_table(kept)
    rows = rows.set_column(rows.column_names.index("visits"), "visits", pa.array(["many"]))
    moments = pa.array([START], pa.timestamp("us", "UTC"))
    for name in ("event_at", "created_at"):
        rows = rows.set_column(rows.column_names.index(name), name, moments)
    other.parent.mkdir()
    pq.write_table(rows, other)
    asked = ASKED.assign(requested_at=START + HOUR)
    with pytest.raises(FeatureStoreError, match=r"column 'visits' of view 'history' .*; make the partition again"):
        store.historical(asked)
    with pytest.raises(FeatureStoreError, match=r"column 'visits' of .*; make the partition again"):
        store.materialize(START, START + HOUR)
    found = Partitions(f"{kept.parent.parent}/{PARTITION}")
    with pytest.raises(FeatureStoreError, match=r"visits.*; make the partition again"):
        found.read(list(found.files.values()), COLUMNS)


def test_workers_find_the_latest_rows_that_one_process_finds(tmp_path: Path) -> None:
    """A row without a key is nobody's; of rows of one moment, one that nobody knows the creation of is the first."""
    store = held(tmp_path, 7)
    rows = history(("u1", 1, 10, "a"), ("u1", 1, 11, "b"), ("u2", 1, 20, "c"), ("u3", 2, 30, "d"), ("u3", 1, 31, "e"))
    rows = rows.astype(dict.fromkeys(("event_at", "created_at"), "datetime64[us, UTC]"))
    rows.loc[0, "created_at"] = pd.NaT
    rows.loc[2, "user"] = None
    path = store.layout.features("shop", "history", DAYS[0])
    path.parent.mkdir()
    pq.write_table(pa.Table.from_pandas(rows, preserve_index=False), path)
    declared = store.objects.views["history"].batch_source
    assert isinstance(declared, FileSource)
    start, end = START, START + 3 * HOUR
    from shadow_platform.adapters.feature_store.offline import AsofOfflineStore

    times = ("event_at", "created_at")
    expected = AsofOfflineStore.pull_latest_from_table_or_query(
        store.config, declared, ["user"], ["visits"], *times, start, end
    )
    window = Window(Partitions(declared.path), ["user"], ["visits"], *times, start, end)
    found = latest_rows(window.rows.read([str(path)], window.columns), window)
    assert found.column("visits").to_pylist() == expected.to_arrow().column("visits").to_pylist() == [11, 30]
