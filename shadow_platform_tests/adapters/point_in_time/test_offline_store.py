"""Our offline store is a whole one: what Feast's SDK offers of history works with it, or says why not."""

import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import feast
import pandas as pd
import pyarrow.parquet as pq
import pytest
from feast.data_format import ParquetFormat
from feast.errors import SavedDatasetLocationAlreadyExists
from feast.infra.offline_stores.file_source import SavedDatasetFileStorage
from feast.on_demand_feature_view import on_demand_feature_view
from feast.repo_config import RepoConfig
from feast.types import Float64, String
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shadow_platform.adapters.feature_store.offline import AsofOfflineStore
from shadow_platform.contracts.errors import FeatureStoreError
from shadow_platform_tests.adapters.feature_rows import HOUR, START
from shadow_platform_tests.adapters.point_in_time.reference import Row, feature_rows, partitions, table

OURS = "shadow_platform.adapters.feature_store.offline.AsofOfflineStore"
USERS = ["u1", "u2", None]
USER = feast.Entity(name="user", join_keys=["user"], value_type=feast.ValueType.STRING)
ROWS = [
    Row("u1", START, START, 1.0, "ios"),
    Row("u1", START + HOUR, START + 3 * HOUR, 2.0, "web"),
    Row("u2", START + HOUR, START + HOUR, 3.0, None),
]


def source(path: Path | str, **options: Any) -> feast.FileSource:
    named = {"file_format": ParquetFormat(), "timestamp_field": "event_at", "created_timestamp_column": "created_at"}
    return feast.FileSource(path=str(path), **{**named, **options})


def view(batch_source: feast.FileSource, name: str = "history", **options: Any) -> feast.FeatureView:
    fields = {"user": String, "visits": Float64, "device": String}
    schema = [feast.Field(name=column, dtype=kind) for column, kind in fields.items()]
    return feast.FeatureView(**{"name": name, "entities": [USER], "schema": schema, "source": batch_source, **options})


def opened(home: Path, *objects: Any, offline: Mapping[str, Any] | None = None) -> feast.FeatureStore:
    config = RepoConfig(
        project="history",
        provider="local",
        registry={"registry_type": "sql", "path": f"sqlite:///{home}/registry.db"},
        online_store={"type": "sqlite", "path": str(home / "online.db")},
        offline_store={"type": OURS, **(offline or {})},
        entity_key_serialization_version=3,
    )
    config.repo_path = home
    store = feast.FeatureStore(config=config)
    store.apply([USER, *objects])
    return store


@pytest.fixture
def rows(tmp_path: Path) -> feast.FileSource:
    partitions(tmp_path / "rows", ROWS)
    return source("rows/dt=*/data.parquet")


def entities(*asked: tuple[str | None, float]) -> pd.DataFrame:
    users, hours = zip(*asked, strict=True)
    return pd.DataFrame({"user": users, "event_timestamp": [START + hour * HOUR for hour in hours]})


def test_late_rows_stay_out_unless_the_configuration_lets_them_in(tmp_path: Path, rows: feast.FileSource) -> None:
    """Feast's own default is to let them in."""
    asked, refs = entities(("u1", 2), ("u1", 3)), ["history:visits"]
    store = opened(tmp_path, view(rows))
    assert store.get_historical_features(asked, refs).to_df()["visits"].tolist() == [1, 2]
    lenient = opened(tmp_path, view(rows), offline={"filter_by_created_timestamp": False})
    assert lenient.get_historical_features(asked, refs).to_df()["visits"].tolist() == [2, 2]
    strict = lenient.get_historical_features(asked, refs, filter_by_created_timestamp=True)
    assert strict.to_df()["visits"].tolist() == [1, 2]


def test_features_carry_their_views_names_where_asked_to(tmp_path: Path, rows: feast.FileSource) -> None:
    store = opened(tmp_path, view(rows), view(rows, name="again"))
    job = store.get_historical_features(
        entities(("u1", 0)), ["history:visits", "again:visits"], full_feature_names=True
    )
    assert job.to_df().columns.tolist() == ["user", "event_timestamp", "history__visits", "again__visits"]


def test_a_view_is_joined_on_other_columns_under_another_name(tmp_path: Path, rows: feast.FileSource) -> None:
    history = view(rows)
    buyer = history.with_name("buyer").with_join_key_map({"user": "buyer"})
    seller = history.with_name("seller").with_join_key_map({"user": "seller"})
    service = feast.FeatureService(name="trade", features=[buyer[["visits"]], seller[["visits", "device"]]])
    store = opened(tmp_path, history, service)
    asked = entities(("u1", 1), ("u2", 1)).rename(columns={"user": "buyer"}).assign(seller=["u2", "u1"])
    found = store.get_historical_features(asked, service, full_feature_names=True).to_df()
    assert found["buyer__visits"].tolist() == [1, 3]
    assert found["seller__visits"].tolist() == [3, 1]
    assert found["seller__device"].tolist() == [None, "ios"]


def test_columns_of_the_file_may_have_other_names(tmp_path: Path) -> None:
    names = ["who", "at", "known", "n", "device"]
    pq.write_table(table(ROWS).rename_columns(names), tmp_path / "rows.parquet")
    mapped = source(
        tmp_path / "rows.parquet",
        timestamp_field="at",
        created_timestamp_column="known",
        field_mapping={"who": "user", "n": "visits"},
    )
    store = opened(tmp_path, view(mapped))
    found = store.get_historical_features(entities(("u1", 2), ("u1", 3)), ["history:visits"]).to_df()
    assert found["visits"].tolist() == [1, 2]


def test_a_view_without_entity_has_one_answer_for_all(tmp_path: Path, rows: feast.FileSource) -> None:
    schema = [feast.Field(name="visits", dtype=Float64)]
    store = opened(tmp_path, view(rows, name="everybody", entities=[], schema=schema))
    found = store.get_historical_features(entities(("u9", 0), ("u8", 1)), ["everybody:visits"]).to_df()
    assert found["visits"].tolist() == [1, 3]


@pytest.mark.filterwarnings("ignore:On demand feature view is an experimental feature:RuntimeWarning")
def test_features_are_computed_on_demand_from_the_answer(tmp_path: Path, rows: feast.FileSource) -> None:
    history = view(rows, ttl=2 * HOUR)
    amount = feast.RequestSource(name="payment", schema=[feast.Field(name="amount", dtype=Float64)])

    @on_demand_feature_view(  # type: ignore[untyped-decorator]
        sources=[amount, history], schema=[feast.Field(name="amount_a_visit", dtype=Float64)], mode="python"
    )
    def ratio(inputs: dict[str, Any]) -> dict[str, Any]:
        pairs = zip(inputs["amount"], inputs["visits"], strict=True)
        return {"amount_a_visit": [None if not visits else amount / visits for amount, visits in pairs]}

    store = opened(tmp_path, history, ratio)
    asked = entities(("u2", 1), ("u1", 1), ("u1", 5.5)).assign(amount=[12.0, 5.0, 1.0])
    found = store.get_historical_features(asked, ["ratio:amount_a_visit"]).to_df()["amount_a_visit"]
    assert found.fillna(-1).tolist() == [4, 5, -1]


@pytest.mark.filterwarnings("ignore:Saving dataset is an experimental feature:RuntimeWarning")
def test_a_data_set_is_saved_and_read_back(tmp_path: Path, rows: feast.FileSource) -> None:
    store = opened(tmp_path, view(rows))
    job = store.get_historical_features(entities(("u1", 1), ("u2", 1)), ["history:visits"])
    storage = SavedDatasetFileStorage(path=str(tmp_path / "saved" / "training.parquet"))
    saved = store.create_saved_dataset(from_=job, name="training", storage=storage)
    assert saved.to_df().sort_values("user")["visits"].tolist() == [1, 3]
    with pytest.raises(SavedDatasetLocationAlreadyExists):
        job.persist(storage)
    job.persist(storage, allow_overwrite=True)
    assert [path.name for path in (tmp_path / "saved").iterdir()] == ["training.parquet"]


def test_threads_share_nothing(tmp_path: Path, rows: feast.FileSource) -> None:
    store = opened(tmp_path, view(rows))

    def ask(hour: int) -> list[float]:
        found = store.get_historical_features(entities(("u1", hour)), ["history:visits"]).to_df()
        return list(found["visits"])

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(ask, [1, 3] * 16)) == [[1], [2]] * 16


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(rows=feature_rows(USERS), start=st.integers(18, 32), hours=st.integers(0, 10))
def test_the_latest_row_of_each_entity_in_a_window_is_pulled(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Row], start: int, hours: int
) -> None:
    """Both ends belong to the window; of rows of one moment the one created last counts, of those the last."""
    home = tmp_path_factory.mktemp("latest")
    held = partitions(home / "rows", rows)
    config = RepoConfig(project="latest", provider="local", registry="unused", offline_store={"type": OURS})
    first, last = START + start * HOUR, START + (start + hours) * HOUR
    expected: dict[str, Row] = {}
    for row in sorted(held, key=lambda row: (row.event_at, row.created_at)):
        if row.user is not None and first <= row.event_at <= last:
            expected[row.user] = row
    job = AsofOfflineStore.pull_latest_from_table_or_query(
        config, source(home / "rows"), ["user"], ["visits"], "event_at", "created_at", first, last
    )
    found = {row.pop("user"): row for row in job.to_arrow().to_pylist()}
    names = ("visits", "event_at", "created_at")
    assert found == {user: {name: getattr(row, name) for name in names} for user, row in expected.items()}
    shutil.rmtree(home)


def test_all_rows_of_a_window_are_pulled(tmp_path: Path, rows: feast.FileSource) -> None:
    config = opened(tmp_path, view(rows)).config
    pull = AsofOfflineStore.pull_all_from_table_or_query
    everything = pull(config, rows, ["user"], ["visits"], "event_at", "created_at").to_df()
    assert sorted(everything["visits"]) == [1, 2, 3]
    later = pull(config, rows, ["user"], ["visits"], "event_at", start_date=START + timedelta(seconds=1)).to_df()
    assert sorted(later["visits"]) == [2, 3]
    assert later.columns.tolist() == ["user", "visits", "event_at"]


def test_feast_materializes_what_it_pulls(tmp_path: Path, rows: feast.FileSource) -> None:
    store = opened(tmp_path, view(rows))
    store.materialize(START, START + HOUR)
    found = store.get_online_features(["history:visits"], [{"user": user} for user in ("u1", "u2", "u3")]).to_dict()
    assert found["visits"] == [2, 3, None]


def test_what_the_store_does_not_do_it_refuses_in_words(tmp_path: Path, rows: feast.FileSource) -> None:
    history, asked = view(rows), entities(("u1", 1))
    store = opened(tmp_path, history)
    with pytest.raises(FeatureStoreError, match=r"entities are str; expected a pandas\.DataFrame"):
        store.get_historical_features("SELECT 1", ["history:visits"])
    with pytest.raises(FeatureStoreError, match="entities are NoneType"):
        store.get_historical_features(None, ["history:visits"], start_date=START)
    with pytest.raises(FeatureStoreError, match="rows of 'history' are computed from events and cannot be written"):
        store.write_to_offline_store("history", table(ROWS).to_pandas())
    shutil.rmtree(tmp_path / "rows")
    with pytest.raises(FeatureStoreError, match=r"no file .*/rows/dt=\*/data\.parquet; materialize its partitions"):
        store.get_historical_features(asked, ["history:visits"]).to_df()
    remote = opened(tmp_path, view(source("s3://rows/*.parquet")))
    with pytest.raises(
        FeatureStoreError, match=r"s3://rows/\*\.parquet is on no file system of this machine; set FEATU"
    ):
        remote.get_historical_features(asked, ["history:visits"]).to_df()
