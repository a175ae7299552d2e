"""What Feast knows of a use case is what its UseCase value says, and derives what the platform derives."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import feast
import pandas as pd
import pytest
from feast.data_source import DataSource, PushMode, PushSource

from feature_repo.declarations import FeastObjects, feast_objects
from shadow_platform.adapters.feature_store import FeastStore
from shadow_platform.contracts.errors import FeatureStoreError
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.ports import FeatureStores
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.use_cases import load_use_case
from shadow_platform_tests.feature_repo.rows import DAYS, KEYS, USE_CASES, fill, rows
from shadow_platform_tests.tiny import USE_CASE

FEATURE_REPO = Path(__file__).parents[2] / "feature_repo"
FRAUD = load_use_case("fraud")
DAY_ONE, DAY_TWO, DAY_THREE = (datetime(2024, 1, day, tzinfo=UTC) for day in (1, 2, 3))


@pytest.fixture
def store(layout: Layout) -> FeastStore:
    opened = FeastStore(layout, FEATURE_REPO, FRAUD)
    opened.apply()
    return opened


def sdk(store: FeastStore) -> feast.FeatureStore:
    return feast.FeatureStore(config=store.config)


def test_declarations_say_of_every_feature_what_the_use_case_says(layout: Layout) -> None:
    view = feast_objects(USE_CASE, layout).views["visitor_history"]
    declared = USE_CASE.views[0]
    assert view.name == "tiny_visitor_history"
    assert view.ttl == declared.ttl
    assert [(field.name, field.description, field.tags["unit"], field.tags["kind"]) for field in view.features] == [
        (f.name, f.description, f.unit, f.kind) for f in USE_CASE.view_features(declared.name)
    ]
    assert [field.tags["is_monitored"] for field in view.features] == ["false", "false"]
    assert view.batch_source is not None
    assert (view.batch_source.timestamp_field, view.batch_source.created_timestamp_column) == ("event_at", "created_at")


@pytest.mark.parametrize("name", USE_CASES)
def test_every_object_has_a_description_an_owner_and_says_its_use_case_and_stage(name: str, layout: Layout) -> None:
    use_case = load_use_case(name)
    objects = feast_objects(use_case, layout)
    for found in _everything(objects):
        assert found.description, found.name
        assert found.owner == use_case.owner, found.name
        assert found.tags["use_case"] == name, found.name
        assert found.tags["stage"] in {"features", "stream", "serving"}, found.name
    for view in objects.views.values():
        assert all(field.description and field.tags["kind"] for field in view.features)
    for declared in use_case.derivations:
        for feature in use_case.derived_features(declared.name):
            assert feature.description in objects.on_demand[declared.name].tags[feature.name]


def _everything(objects: FeastObjects) -> Iterator[Any]:
    yield from objects.all()
    for view in objects.views.values():
        yield from filter(None, (view.batch_source, view.stream_source))
    for on_demand in objects.on_demand.values():
        yield from on_demand.source_request_sources.values()


@pytest.mark.parametrize("name", USE_CASES)
def test_the_columns_differ_in_where_rows_lie_alone(name: str, layout: Layout) -> None:
    use_case = load_use_case(name)
    local = feast_objects(use_case, layout)
    scale = feast_objects(use_case, layout, FeatureStores("scale", "redis://r", "postgresql://p", "s3://bucket/rows/"))
    for view in use_case.views:
        sources: list[Any] = [objects.views[view.name].batch_source for objects in (local, scale)]
        assert [source.path for source in sources] == [
            f"{layout.features(name, view.name)}/dt=*/data.parquet",
            f"s3://bucket/rows/{name}/{view.name}/dt=*/data.parquet",
        ]
        sources[1].file_options.uri = sources[0].file_options.uri
    for ours, theirs in zip(local.all(), scale.all(), strict=True):
        assert ours == theirs


def test_streamed_views_have_a_push_source_over_their_rows(layout: Layout) -> None:
    objects = feast_objects(FRAUD, layout)
    for view in FRAUD.views:
        found: DataSource | None = objects.views[view.name].stream_source
        assert isinstance(found, PushSource) == (view.streaming is not None)


def test_feast_pushes_rows_of_a_streamed_view_online(store: FeastStore) -> None:
    (view,) = [view for view in FRAUD.views if view.streaming is not None]
    newer, older = (rows(FRAUD, view, day) for day in reversed(DAYS))
    sdk(store).push(f"fraud_{view.name}_stream", newer, to=PushMode.ONLINE)
    sdk(store).push(f"fraud_{view.name}_stream", older, to=PushMode.ONLINE)
    for found in store.online().read([{view.entity: key} for key in KEYS]):
        assert found[view.name].event_at == newer["event_at"][0]
        assert found[view.name].values == {f.name: newer[f.name][0] for f in FRAUD.view_features(view.name)}


def asked(use_case: UseCase, **changed: object) -> list[dict[str, object]]:
    """A request for each known entity, and one for an unknown one."""
    body = {feature.name: feature.example for feature in use_case.request_features} | changed
    return [{**body, **dict.fromkeys((e.join_key for e in use_case.entities), key)} for key in (*KEYS, "unknown")]


@pytest.mark.parametrize("changed", [{}, {"transaction_amount": 0.0}, {"country": "a word", "device": "kind 1"}])
def test_feast_derives_online_what_the_platform_derives(store: FeastStore, changed: dict[str, object]) -> None:
    for view in FRAUD.views:
        store.write_online(view, rows(FRAUD, view, DAYS[1]))
    requests, opened = asked(FRAUD, **changed), sdk(store)
    found = opened.get_online_features(opened.get_feature_service("fraud"), requests).to_dict()
    for n, request in enumerate(requests):
        read = store.online().read([{"user_id": str(request["user_id"])}])[0]
        values = request | {name: value for row in read.values() for name, value in row.values.items()}
        assert {name: found[name][n] for name in found if name in values} == {
            name: values[name] for name in found if name in values
        }
        for derivation in FRAUD.derivations:
            features = FRAUD.derived_features(derivation.name)
            assert {f.name: found[f.name][n] for f in features} == derivation.derive(features, values).values


def test_feast_derives_from_history_what_the_platform_derives(store: FeastStore) -> None:
    fill(store.layout)
    requests = pd.DataFrame(asked(FRAUD)).assign(event_timestamp=DAY_THREE)
    opened = sdk(store)
    found = opened.get_historical_features(requests, opened.get_feature_service("fraud")).to_df()
    assert len(found) == len(requests)
    for row in found.to_dict("records"):
        values = {str(name): None if pd.isna(value) else value for name, value in row.items()}
        for derivation in FRAUD.derivations:
            features = FRAUD.derived_features(derivation.name)
            assert {f.name: values[f.name] for f in features} == derivation.derive(features, values).values


def test_a_derivation_without_a_name_to_import_is_refused(layout: Layout) -> None:
    (first, *others) = FRAUD.derivations
    nameless = replace(first, compute=lambda **_: {})
    with pytest.raises(FeatureStoreError, match="define the function at the top of a module"):
        feast_objects(replace(FRAUD, derivations=(nameless, *others)), layout)


def test_a_model_version_has_a_service_of_its_features_and_registering_it_again_changes_nothing(
    store: FeastStore,
) -> None:
    tags = {"model": "trees", "run_id": "abc"}
    names = {store.register_service("7", tags) for _ in range(2)}
    assert names == {"fraud_v7"}
    opened = sdk(store)
    assert {service.name for service in opened.list_feature_services()} == {"fraud", "fraud_v7"}
    service = opened.get_feature_service("fraud_v7")
    assert service.tags == {"use_case": "fraud", "stage": "serving", "version": "7", **tags}
    features = {field.name for projection in service.feature_view_projections for field in projection.features}
    assert features == {feature.name for feature in FRAUD.features if feature not in FRAUD.request_features}
    store.apply()
    assert {service.name for service in opened.list_feature_services()} == {"fraud", "fraud_v7"}


def test_a_version_can_be_named_before_any_definition_was_applied(layout: Layout) -> None:
    store = FeastStore(layout, FEATURE_REPO, FRAUD)
    store.register_service("1", {})
    store.apply()
    opened = sdk(store)
    found = opened.get_online_features(opened.get_feature_service("fraud_v1"), asked(FRAUD)).to_dict()
    assert set(FRAUD.feature_names) - {feature.name for feature in FRAUD.request_features} < set(found)


def test_applying_again_changes_nothing_and_forgets_no_materialization(store: FeastStore) -> None:
    before = {view.name: view.last_updated_timestamp for view in sdk(store).list_all_feature_views()}
    FeastStore(store.layout, FEATURE_REPO, FRAUD).apply()
    assert {view.name: view.last_updated_timestamp for view in sdk(store).list_all_feature_views()} == before
    fill(store.layout)
    store.materialize(DAY_ONE, DAY_THREE)
    FeastStore(store.layout, FEATURE_REPO, FRAUD).apply()
    for view in sdk(store).list_feature_views():
        assert view.materialization_intervals == [(DAY_ONE, DAY_THREE)]
    assert sdk(store).get_online_features(["fraud_user_habits:user_payments_30d"], [{"user_id": "a"}]).to_dict()[
        "user_payments_30d"
    ] == [rows(FRAUD, FRAUD.views[1], DAYS[1])["user_payments_30d"][0]]
