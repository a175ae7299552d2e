"""Feast: definitions, point-in-time retrieval for training, and the online store's writes.

Belongs here: everything that calls Feast, with its known faults closed: late rows leak unless asked not to, output is
in random order, one connection is shared by all threads, a killed materialization blocks reads, and a reported success
may have written nothing. Does not belong here: computing features, enforcing the time to live online
(``domain.serving``). Upstream: the lake's feature partitions, ``feature_repo``. Downstream: assets of features and
training; the service, which reads through ``FeastStore.online()``. Feast costs seconds to import and is imported in
functions only.
"""

import contextlib
import io
import logging
import threading
import warnings
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any, cast

import pandas as pd
from filelock import FileLock, Timeout

from shadow_platform.adapters.feature_store.online import (
    FeastOnline,
    entity_key,
    explained,
    one_line,
    open_online_store,
)
from shadow_platform.contracts.errors import AlreadyRunning, FeatureStoreError
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.use_case import FeatureView, UseCase

if TYPE_CHECKING:
    import feast
    from feast.infra.online_stores.online_store import OnlineStore
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey
    from feast.protos.feast.types.Value_pb2 import Value
    from feast.repo_config import RepoConfig

    from feature_repo.declarations import FeastObjects

LOCK_TIMEOUT_S = 60.0
ROW_NUMBER = "shadow_row_number"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_OFFLINE = threading.Lock()


class FeastStore:
    """Feast for one use case. Opening it touches nothing; Feast is loaded on first use.

    Args:
        repo_path: folder with ``feature_store.yaml``; if it has none, the one shipped with the platform is used.
    """

    def __init__(self, layout: Layout, repo_path: Path, use_case: UseCase) -> None:
        self.layout = layout
        self.repo_path = _repo_folder(repo_path)
        self.use_case = use_case

    @cached_property
    def objects(self) -> "FeastObjects":
        """What Feast must know of the use case."""
        from feature_repo.declarations import feast_objects

        return feast_objects(self.use_case, self.layout)

    @cached_property
    def config(self) -> "RepoConfig":
        """Feast's configuration with ``SHADOW_HOME`` filled in; raises ``FeatureStoreError`` if it is unusable."""
        import yaml  # type: ignore[import-untyped]
        from feast.repo_config import RepoConfig

        path = self.repo_path / "feature_store.yaml"
        try:
            text = Template(path.read_text(encoding="utf-8")).safe_substitute(SHADOW_HOME=str(self.layout.home))
            config = RepoConfig(**yaml.safe_load(text))
            config.repo_path = self.repo_path
        except Exception as error:
            raise FeatureStoreError(
                f"{path} is no usable Feast configuration: {one_line(error)}; correct it"
            ) from error
        return config

    def apply(self) -> tuple[str, ...]:
        """Register the definitions and create the online tables; returns the names of the views in Feast.

        Other use cases' definitions in the same project stay.
        """
        with self._exclusively("apply"), explained("definitions could not be applied", "check the registry's address"):
            self.layout.feast.mkdir(parents=True, exist_ok=True)
            # Feast takes a pattern of partitions for a path and warns that it does not exist.
            logging.getLogger("feast.infra.offline_stores.file_source").setLevel(logging.ERROR)
            self._sdk.apply([*self.objects.all()], partial=True)
        return tuple(view.name for view in self.objects.views.values())

    def applied_views(self) -> tuple[str, ...]:
        """Views of the use case that the registry knows, by the use case's own names."""
        if self.config.registry.path.startswith("sqlite:") and not (self.layout.feast / "registry.db").exists():
            return ()
        with explained("registry does not answer", "check its address in feature_store.yaml"):
            known = {view.name for view in self._sdk.list_feature_views()}
        return tuple(name for name, view in self.objects.views.items() if view.name in known)

    def historical(self, requests: pd.DataFrame) -> pd.DataFrame:
        """The requests with every view feature as it was known at ``requested_at``.

        Args:
            requests: the entities' join keys and ``requested_at`` (UTC); further columns are handed through.

        Returns:
            The same rows in the same order and index, with one more column a view feature: null where no row of the
            view was created by ``requested_at``, or the newest is older than its time to live.

        Raises:
            FeatureStoreError: a column or a view's rows are missing, or Feast returns another number of rows.
        """
        keys = [entity.join_key for entity in self.use_case.entities]
        missing = [name for name in (*keys, "requested_at") if name not in requests.columns]
        if missing:
            raise FeatureStoreError(f"requests have no {missing}; expected join keys {keys} and requested_at")
        features = [feature for view in self.use_case.views for feature in self.use_case.view_features(view.name)]
        spine = requests[keys].astype("string").astype(object).reset_index(drop=True)
        spine["event_timestamp"] = pd.to_datetime(requests["requested_at"].to_numpy(), utc=True).as_unit("us")
        spine[ROW_NUMBER] = range(len(spine))
        found = self._joined(spine) if len(spine) else pd.DataFrame(columns=[f.name for f in features])
        columns = {
            feature.name: found[feature.name].astype("float64")
            if feature.kind == "numeric"
            else found[feature.name].astype(object).where(found[feature.name].notna(), None)
            for feature in features
        }
        return requests.assign(**{name: values.to_numpy() for name, values in columns.items()})

    def materialize(self, start: datetime, end: datetime) -> dict[str, int]:
        """Write each entity's latest row in ``[start, end]`` to the online store; returns rows a view, verified.

        Raises:
            AlreadyRunning: another process is materializing this use case.
            FeatureStoreError: rows are missing, Feast fails, or the online store does not hold what it should.
        """
        if start >= end:
            raise FeatureStoreError(f"window [{start}, {end}] is empty; the start must be before the end")
        with self._exclusively("materialize"):
            self._recover()
            return {view.name: self._materialize_view(view, start, end) for view in self.use_case.views}

    def recover(self) -> tuple[str, ...]:
        """Free views that a killed materialization left unusable for the SDK; returns their names."""
        with self._exclusively("materialize"):
            return self._recover()

    def write_online(self, view: FeatureView | str, df: pd.DataFrame) -> int:
        """Write the latest given row of each entity to the online store; returns the number of entities.

        A row older than the stored one leaves it as it is. The registry is not touched.

        Raises:
            FeatureStoreError: a column is missing, or the store refuses.
        """
        declared = self._declared(view)
        features = self.use_case.view_features(declared.name)
        columns = [declared.entity, "event_at", "created_at", *(feature.name for feature in features)]
        missing = [name for name in columns if name not in df.columns]
        if missing:
            raise FeatureStoreError(f"rows of view {declared.name!r} have no {missing}; expected {columns}")
        latest = df.sort_values(["event_at", "created_at"], kind="stable").drop_duplicates(declared.entity, keep="last")
        rows = _rows(latest[columns], declared.entity, {feature.name: feature.kind for feature in features})
        with explained(f"rows of view {declared.name!r} could not be written online", "apply the definitions first"):
            self._online_store.online_write_batch(self.config, self.objects.views[declared.name], rows, None)
        return len(rows)

    def online(self) -> "FeastOnline":
        """Reader for the serving process; raises ``FeatureStoreError`` when Feast is misconfigured."""
        return FeastOnline(self.config, self.use_case, self.objects)

    @cached_property
    def _sdk(self) -> "feast.FeatureStore":
        import feast

        return feast.FeatureStore(config=self.config)

    @cached_property
    def _online_store(self) -> "OnlineStore":
        return open_online_store(self.config)

    def _declared(self, view: FeatureView | str) -> FeatureView:
        name = view if isinstance(view, str) else view.name
        for declared in self.use_case.views:
            if declared.name == name:
                return declared
        known = ", ".join(declared.name for declared in self.use_case.views)
        raise FeatureStoreError(f"view {name!r} is unknown in use case {self.use_case.name!r}; known: {known}")

    def _joined(self, spine: pd.DataFrame) -> pd.DataFrame:
        for view in self.use_case.views:
            self._require_rows(view)
        references = [f"{v.name}:{f.name}" for v in self.objects.views.values() for f in v.features]
        with _offline(), explained("historical features could not be read", "materialize the views' partitions"):
            found = self._sdk.get_historical_features(
                entity_df=spine, features=references, filter_by_created_timestamp=True
            ).to_df()
        if len(found) != len(spine):
            raise FeatureStoreError(
                f"Feast returned {len(found)} rows for {len(spine)} requests; use offline_store duckdb"
            )
        return found.sort_values(ROW_NUMBER)

    def _require_rows(self, view: FeatureView) -> None:
        folder = self.layout.features(self.use_case.name, view.name)
        if next(folder.glob("dt=*/data.parquet"), None) is None:
            raise FeatureStoreError(f"view {view.name!r} has no rows below {folder}; materialize its partitions first")

    def _materialize_view(self, view: FeatureView, start: datetime, end: datetime) -> int:
        self._require_rows(view)
        declared = self.objects.views[view.name]
        failed = f"view {view.name!r} could not be materialized"
        with _offline(), explained(failed, "apply the definitions, then retry"):
            expected = self._latest_rows(view, declared, start, end)
            # Feast prints its progress, which would drown the run's own log.
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                self._sdk.materialize(start, end, feature_views=[declared.name])
        with explained(failed, "check the online store"):
            keys = [entity_key(view.entity, value) for value in expected[view.entity]]
            stored = self._online_store.online_read(self.config, declared, keys)
        behind = [
            key
            for key, moment, (found, _) in zip(expected[view.entity], expected["event_at"], stored, strict=True)
            if found is None or found < moment
        ]
        if behind:
            raise FeatureStoreError(
                f"view {view.name!r}: Feast reported success, but {len(behind)} of {len(expected)} entities are "
                f"missing or stale online, first {behind[0]!r}; check the store's address and retry"
            )
        return len(expected)

    def _latest_rows(
        self, view: FeatureView, declared: "feast.FeatureView", start: datetime, end: datetime
    ) -> pd.DataFrame:
        from feast.infra.offline_stores.offline_utils import get_offline_store_from_config

        store = get_offline_store_from_config(self.config.offline_store)
        job = store.pull_latest_from_table_or_query(
            config=self.config,
            data_source=cast(Any, declared.batch_source),
            join_key_columns=[view.entity],
            feature_name_columns=[],
            timestamp_field="event_at",
            created_timestamp_column="created_at",
            start_date=start,
            end_date=end,
        )
        rows: pd.DataFrame = job.to_df()
        return rows.assign(event_at=pd.to_datetime(rows["event_at"], utc=True))

    def _recover(self) -> tuple[str, ...]:
        from feast.feature_view import FeatureViewState

        with explained("registry does not answer", "check its address in feature_store.yaml"):
            stuck = [
                view
                for view in self._sdk.list_feature_views()
                if view.name in {own.name for own in self.objects.views.values()}
                and view.state == FeatureViewState.MATERIALIZING
            ]
            for view in stuck:
                # Applying the view again is no way out: Feast takes views that differ in state alone for equal. An
                # empty interval is a difference, and recording one makes the view available.
                end = max((interval[1] for interval in view.materialization_intervals), default=_EPOCH)
                self._sdk.registry.apply_materialization(view, self._sdk.project, end, end)
        return tuple(view.name for view in stuck)

    @contextlib.contextmanager
    def _exclusively(self, work: str) -> Iterator[None]:
        path = self.layout.locks(f"feast-{work}-{self.use_case.name}" if work != "apply" else "feast-apply")
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(path, timeout=LOCK_TIMEOUT_S):
                yield
        except Timeout as error:
            raise AlreadyRunning(
                f"another process holds {path} for {work} of {self.use_case.name!r}; wait for it to end, then retry"
            ) from error


def _repo_folder(repo_path: Path) -> Path:
    if (repo_path / "feature_store.yaml").exists():
        return repo_path.resolve()
    shipped = find_spec("feature_repo")
    if shipped is None or shipped.origin is None:
        raise FeatureStoreError(f"{repo_path} has no feature_store.yaml and none is installed; set FEAST_REPO_PATH")
    return Path(shipped.origin).parent


@contextlib.contextmanager
def _offline() -> Iterator[None]:
    """One thread at a time: Feast's duckdb store shares one ibis connection, which fails when two threads use it.

    What ibis says of its own use of DuckDB is no concern of the caller's.
    """
    with _OFFLINE, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "fetch_arrow_table", DeprecationWarning)
        yield


def _rows(
    df: pd.DataFrame, join_key: str, kinds: Mapping[str, str]
) -> list[tuple["EntityKey", dict[str, "Value"], datetime, datetime | None]]:
    from feast.protos.feast.types.Value_pb2 import Value

    def encode(kind: str, value: Any) -> Value:
        if value is None or value is pd.NA or value != value:
            return Value()
        return Value(double_val=value) if kind == "numeric" else Value(string_val=str(value))

    moments = [[pd.Timestamp(m).to_pydatetime().astimezone(UTC) for m in df[c]] for c in ("event_at", "created_at")]
    columns = [[encode(kind, value) for value in df[name].tolist()] for name, kind in kinds.items()]
    values = [dict(zip(kinds, row, strict=True)) for row in zip(*columns, strict=True)] or [{} for _ in range(len(df))]
    keys = [entity_key(join_key, str(value)) for value in df[join_key]]
    return list(zip(keys, values, *moments, strict=True))
