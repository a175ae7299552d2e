"""Partitions that many machines read and replace at once: a reader gets one publication, and no more than it needs."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import fs

from shadow_platform.adapters.feature_store import objects, ray_work
from shadow_platform.adapters.feature_store.asof import JoinedView
from shadow_platform.adapters.feature_store.objects import Partitions
from shadow_platform_tests.registry_servers import BUCKET, ObjectStore
from shadow_platform_tests.scale_column import access

START = datetime(2024, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
COLUMNS = ["a", "b"]


def published(value: float, n_rows: int) -> bytes:
    written = BytesIO()
    table = pa.table({name: [value] * n_rows for name in COLUMNS})
    pq.write_table(table, written, compression="none", use_dictionary=False)
    return written.getvalue()


def after_it_was_opened(publish: Callable[[], None], patch: pytest.MonkeyPatch) -> None:
    real = objects._file_system

    class Opening:
        def get_file_info(self, path: str) -> fs.FileInfo:
            return real(f"s3://{BUCKET}")[0].get_file_info(path)

        def open_input_file(self, path: str) -> pa.NativeFile:
            opened = real(f"s3://{BUCKET}")[0].open_input_file(path)
            publish()
            return opened

    patch.setattr(objects, "_file_system", lambda folder: (Opening(), real(folder)[1]))


def after_its_footer_was_read(publish: Callable[[], None], patch: pytest.MonkeyPatch) -> None:
    class Reading(pq.ParquetFile):  # type: ignore[misc]  # pyarrow has no types
        def read(self, *columns: Any, **options: Any) -> pa.Table:
            publish()
            return super().read(*columns, **options)

    patch.setattr(pq, "ParquetFile", Reading)


@pytest.mark.processes
@pytest.mark.parametrize("n_rows", [5_000, 2_000, 9_000], ids=["as long", "shorter", "longer"])
@pytest.mark.parametrize("replaced", [after_it_was_opened, after_its_footer_was_read])
def test_a_partition_replaced_while_it_is_read_is_one_or_the_other(
    object_store: ObjectStore,
    replaced: Callable[[Callable[[], None], pytest.MonkeyPatch], None],
    n_rows: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in access(object_store).items():
        monkeypatch.setenv(name, value)
    key = f"replaced/{n_rows}/dt=2024-01-01/data.parquet"
    object_store.replace(key, published(0, 5_000))
    times = iter([1])

    def publish_once() -> None:
        for _ in times:
            object_store.replace(key, published(1, n_rows))

    replaced(publish_once, monkeypatch)
    there = Partitions(f"s3://{BUCKET}/replaced/{n_rows}/dt=*/data.parquet")
    found = there.read([f"{BUCKET}/{key}"], COLUMNS).to_pydict()
    assert found in [{name: [value] * n for name in COLUMNS} for value, n in ((0, 5_000), (1, n_rows))]
    assert not list(times)


@pytest.fixture(scope="module")
def half_a_year(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 180 daily partitions, which are listed and not read."""
    folder = tmp_path_factory.mktemp("half_a_year")
    for day in range(180):
        path = folder / f"dt={(START + day * DAY).date()}" / "data.parquet"
        path.parent.mkdir()
        path.touch()
    return folder


@settings(max_examples=60, deadline=None)
@given(
    ttls=st.lists(st.none() | st.integers(1, 400).map(timedelta), min_size=1, max_size=3),
    days=st.lists(st.integers(0, 179), min_size=1, max_size=40),
    n_cpus=st.integers(1, 64),
)
def test_slices_read_at_most_twice_what_one_task_would(
    half_a_year: Path, ttls: list[timedelta | None], days: list[int], n_cpus: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ray_work, "ROWS_A_SLICE", 1)
        times = pa.chunked_array([pa.array([START + day * DAY for day in days], pa.timestamp("us", "UTC"))])
        views = [JoinedView(pa.table({}), {}, {}, ttl) for ttl in ttls]
        slices = ray_work.cut(times, views, n_cpus)
    assert sorted(pa.concat_arrays(slices).to_pylist()) == list(range(len(days)))
    rows = Partitions(f"{half_a_year}/dt=*/data.parquet")
    for view in views:
        read = [len(ray_work.needed_rows(view, rows, times.take(part)).files) for part in slices]
        span_and_ttl = 180 if view.ttl is None else max(days) - min(days) + view.ttl.days
        # A slice reads the days in which it begins and ends as a whole.
        assert sum(read) <= 2 * span_and_ttl + 2 * len(slices)
    assert len(slices) >= min(n_cpus, len(days), 2)
    if max(days) - min(days) >= 8 * max(ttl.days if ttl else 1_000 for ttl in ttls):
        assert len(slices) >= min(n_cpus, len(days), 10)
