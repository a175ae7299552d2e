"""Feast's registry: many apply at once and lose nothing; when it is gone, serving goes on and the rest says so."""

import sys
from itertools import count
from multiprocessing.synchronize import Barrier
from pathlib import Path

import feast
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import IntegrityError

from shadow_platform.adapters.feature_store import FeastStore
from shadow_platform.adapters.feature_store.registering import first_or_after
from shadow_platform.contracts.errors import FeatureStoreError
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.ports import LOCAL_STORES, FeatureStores
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.use_cases import load_use_case
from shadow_platform_tests.feature_repo.rows import DAYS, USE_CASES, rows, value
from shadow_platform_tests.feature_servers import Postgres, Valkey
from shadow_platform_tests.forked import FORKSERVER, TIMEOUT_S, ended, started

FEATURE_REPO = Path(__file__).parents[2] / "feature_repo"
N_VERSIONS = 3


def apply_at_once(homes: dict[str, Layout], stores: FeatureStores) -> None:
    """A process for each use case; all start when the last is ready."""
    gate = FORKSERVER.Barrier(len(homes))
    running = [started(apply_and_name_versions, name, layout, stores, gate) for name, layout in homes.items()]
    assert [ended(process) for process in running] == [0] * len(homes)


def apply_and_name_versions(use_case: str, layout: Layout, stores: FeatureStores, gate: Barrier) -> None:
    """Apply the definitions, then register a service for each version."""
    store = FeastStore(layout, FEATURE_REPO, load_use_case(use_case), stores)
    gate.wait(TIMEOUT_S)
    store.apply()
    for version in range(N_VERSIONS):
        store.register_service(str(version), {})


def assert_nothing_is_lost(layout: Layout, stores: FeatureStores) -> None:
    sdk = feast.FeatureStore(config=FeastStore(layout, FEATURE_REPO, load_use_case("fraud"), stores).config)
    services = {service.name for service in sdk.list_feature_services()}
    for use_case in map(load_use_case, USE_CASES):
        store = FeastStore(layout, FEATURE_REPO, use_case, stores)
        assert store.applied_views() == tuple(view.name for view in use_case.views)
        assert {use_case.name, *(f"{use_case.name}_v{version}" for version in range(N_VERSIONS))} <= services
    assert len(sdk.list_on_demand_feature_views()) == len(load_use_case("fraud").derivations)


@pytest.mark.processes
@pytest.mark.timeout(400)
def test_processes_that_apply_at_once_lose_nothing_on_sqlite(layout: Layout) -> None:
    apply_at_once(dict.fromkeys(USE_CASES, layout), LOCAL_STORES)
    assert_nothing_is_lost(layout, LOCAL_STORES)


@pytest.mark.processes
@pytest.mark.timeout(400)
def test_machines_that_apply_at_once_lose_nothing_on_postgres(
    tmp_path: Path, valkey: Valkey, postgres: Postgres
) -> None:
    stores = FeatureStores("scale", valkey.url, postgres.new_database(), "s3://features/rows")
    # A home each, so that no lock file keeps them apart.
    apply_at_once({name: Layout(tmp_path / name) for name in USE_CASES}, stores)
    assert_nothing_is_lost(Layout(tmp_path / "reader"), stores)


def test_who_came_second_tries_again_and_a_lasting_refusal_is_raised() -> None:
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE made (n INTEGER PRIMARY KEY)"))
        connection.execute(text("INSERT INTO made VALUES (0), (1)"))
    tries = count()

    def add(n: int) -> int:
        with engine.begin() as connection:
            connection.execute(text("INSERT INTO made VALUES (:n)"), {"n": n})
        return n

    assert first_or_after(lambda: add(next(tries))) == 2
    with pytest.raises(IntegrityError):
        first_or_after(lambda: add(0))
    engine.dispose()


def test_without_a_registry_serving_goes_on_and_the_rest_says_so_in_a_line(
    layout: Layout, valkey: Valkey, postgres: Postgres
) -> None:
    use_case = load_use_case("fraud")
    stores = FeatureStores("scale", valkey.url, postgres.new_database(), "s3://features/rows")
    opened = FeastStore(layout, FEATURE_REPO, use_case, stores)
    opened.apply()
    opened.register_service("1", {})
    postgres.stop()
    try:
        for store in (opened, FeastStore(layout, FEATURE_REPO, use_case, stores)):
            for call in (store.apply, store.applied_views, lambda store=store: store.register_service("2", {})):
                with pytest.raises(FeatureStoreError, match="connection failed") as refused:
                    call()
                assert "\n" not in str(refused.value)
            serve(store, use_case)
    finally:
        postgres.start()
    for store in (opened, FeastStore(layout, FEATURE_REPO, use_case, stores)):
        assert store.applied_views() == tuple(view.name for view in use_case.views)
        assert store.register_service("2", {}) == "fraud_v2"


def serve(store: FeastStore, use_case: UseCase) -> None:
    """Rows are written and read as if nothing had happened."""
    for view in use_case.views:
        store.write_online(view, rows(use_case, view, DAYS[1]))
    (found,) = store.online().read([{"user_id": "a"}])
    assert {view: dict(row.values) for view, row in found.items()} == {
        view.name: {feature.name: value(feature, 1) for feature in use_case.view_features(view.name)}
        for view in use_case.views
    }


def test_without_its_driver_the_extra_to_install_is_named(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("psycopg.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    stores = FeatureStores("scale", "redis://127.0.0.1:1", "postgresql://nobody@127.0.0.1:1/none", "s3://features/rows")
    with pytest.raises(FeatureStoreError, match=r"pip install 'shadow-platform\[postgres\]'"):
        FeastStore(layout, FEATURE_REPO, load_use_case("fraud"), stores).applied_views()
