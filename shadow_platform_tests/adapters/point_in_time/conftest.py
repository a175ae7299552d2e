"""Offline stores behind Feast's SDK, each with rows of its own.

Belongs here: how each store is opened. A store that joins the suite is one entry more of ``OPENED``. Does not belong
here: what they must answer.
"""

import shutil
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import feast
import pandas as pd
import pytest

from shadow_platform.adapters.feature_store import FeastStore, ray_work
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.ports import FeatureStores
from shadow_platform_tests.adapters.feature_rows import REPOSITORY, USE_CASE
from shadow_platform_tests.adapters.point_in_time.reference import Asked, Row, partitions

FEATURES = ("visits", "device")


class OfflineColumn:
    """The view ``history`` (six hours to live) in one offline store."""

    def __init__(self, name: str, store: FeastStore) -> None:
        self.name = name
        self.store = store
        self.folder = store.layout.features(USE_CASE.name, "history")
        store.apply()
        self.sdk = feast.FeatureStore(config=store.config)

    def hold(self, rows: Sequence[Row]) -> list[Row]:
        """Hold these rows and no others; returns them in the order of the files."""
        days = {row.event_at.date() for row in rows} | {
            pd.Timestamp(path.name.removeprefix("dt=")).date() for path in self.folder.glob("dt=*")
        }
        shutil.rmtree(self.folder, ignore_errors=True)
        written = partitions(self.folder, rows)
        self.store.publish("history", sorted(days))
        return written

    def ask(self, requests: Sequence[Asked]) -> list[tuple[float | None, str | None]]:
        """Values of each request."""
        times = pd.to_datetime([request.at for request in requests], utc=True).as_unit("us")
        return self.ask_frame(pd.DataFrame({"user": [request.user for request in requests], "event_timestamp": times}))

    def ask_frame(self, entities: pd.DataFrame) -> list[tuple[float | None, str | None]]:
        """Values of each entity, through Feast's SDK."""
        with warnings.catch_warnings():
            # Feast's duckdb store asks DuckDB in a way that DuckDB is about to give up.
            warnings.filterwarnings("ignore", "fetch_arrow_table", DeprecationWarning)
            found = self.sdk.get_historical_features(
                entities.assign(n=range(len(entities))),
                [f"shop_history:{feature}" for feature in FEATURES],
                filter_by_created_timestamp=True,
            ).to_df()
        values = found.sort_values("n")[list(FEATURES)].astype(object)
        return list(values.where(values.notna(), None).itertuples(index=False, name=None))


def _asof(_request: pytest.FixtureRequest, home: Path) -> FeastStore:
    return FeastStore(Layout(home), REPOSITORY, USE_CASE)


def _duckdb(_request: pytest.FixtureRequest, home: Path) -> FeastStore:
    """Feast's own DuckDB store, written by others: an independent witness."""
    repository = home / "repository"
    repository.mkdir()
    ours = (REPOSITORY / "feature_store.yaml").read_text(encoding="utf-8")
    theirs = ours.replace("shadow_platform.adapters.feature_store.offline.AsofOfflineStore", "duckdb")
    assert theirs != ours
    (repository / "feature_store.yaml").write_text(theirs, encoding="utf-8")
    return FeastStore(Layout(home), repository, USE_CASE)


def _ray(request: pytest.FixtureRequest, home: Path) -> FeastStore:
    """The same join as tasks of Ray, each of at most two entities."""
    request.getfixturevalue("ray_here")
    patch = pytest.MonkeyPatch()
    patch.setattr(ray_work, "ROWS_A_SLICE", 2)
    request.addfinalizer(patch.undo)
    redis_url = request.getfixturevalue("_valkey").start().url
    postgres_url = request.getfixturevalue("_postgres").start().new_database()
    stores = FeatureStores("scale", redis_url, postgres_url, f"file://{home}/published")
    return FeastStore(Layout(home), REPOSITORY, USE_CASE, stores)


OPENED: Mapping[str, Callable[[pytest.FixtureRequest, Path], FeastStore]] = {
    "asof": _asof,
    "duckdb": _duckdb,
    "ray": _ray,
}
"""By name: opens a store over an empty home; servers it needs are fixtures of the request, of the session's scope."""


@pytest.fixture(scope="module", params=OPENED)
def offline_column(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> OfflineColumn:
    """Every offline store in turn."""
    return OfflineColumn(request.param, OPENED[request.param](request, tmp_path_factory.mktemp(request.param)))
