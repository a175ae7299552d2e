"""Feast objects of a use case, made from its UseCase value, so that Feast and the platform cannot disagree.

Belongs here: the translation of declarations. Does not belong here: values of one use case, derivations' source text
(``derivations``). Upstream: contracts, feast. Downstream: the files of definitions beside it (``feast apply``) and
``shadow_platform.adapters.feature_store``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import feast
from feast.data_format import ParquetFormat
from feast.data_source import DataSource, PushSource, RequestSource
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.types import Float64, String

from feature_repo.derivations import transformation
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.ports import LOCAL_STORES, FeatureStores
from shadow_platform.contracts.use_case import Derivation, Feature, FeatureView, UseCase

FeastObject = feast.Entity | DataSource | feast.FeatureView | OnDemandFeatureView | feast.FeatureService
FEATURES, STREAM, SERVING = "features", "stream", "serving"
"""Stages that an object may belong to: computed by day, brought by messages, used when a request is answered."""


@dataclass(frozen=True, slots=True)
class FeastObjects:
    """Everything Feast must know of one use case, keyed by the use case's own names.

    Attributes:
        on_demand: views of derived features, by derivation.
        service: every feature of the use case.
    """

    entities: dict[str, feast.Entity]
    views: dict[str, feast.FeatureView]
    on_demand: dict[str, OnDemandFeatureView]
    service: feast.FeatureService

    def all(self) -> list[FeastObject]:
        """In the order in which they must be applied."""
        return [*self.entities.values(), *self.views.values(), *self.on_demand.values(), self.service]

    def version_service(self, version: str, tags: Mapping[str, str]) -> feast.FeatureService:
        """The feature service of one model version: what it was trained on, and what is known of it."""
        return feast.FeatureService(
            name=f"{self.service.name}_v{version}",
            features=[*self.views.values(), *self.on_demand.values()],
            description=f"Features of model version {version}. {self.service.description}",
            owner=self.service.owner,
            tags={**self.service.tags, **tags, "version": version},
        )


def feast_name(use_case: UseCase, name: str) -> str:
    """Name in Feast, where all use cases share one project."""
    return f"{use_case.name}_{name}"


def feast_objects(use_case: UseCase, layout: Layout, stores: FeatureStores = LOCAL_STORES) -> FeastObjects:
    """Entities, views and the feature service of a use case, over the Parquet partitions of the lake or its copy."""
    entities = {
        entity.join_key: feast.Entity(
            name=feast_name(use_case, entity.join_key),
            join_keys=[entity.join_key],
            value_type=feast.ValueType.STRING,
            description=entity.description,
            owner=use_case.owner,
            tags=_tags(use_case, FEATURES, example=entity.example),
        )
        for entity in use_case.entities
    }
    views = {
        view.name: _view(use_case, view, entities[view.entity], _partitions(use_case, view, layout, stores))
        for view in use_case.views
    }
    on_demand = {derivation.name: _on_demand(use_case, derivation, views) for derivation in use_case.derivations}
    service = feast.FeatureService(
        name=use_case.name,
        features=[*views.values(), *on_demand.values()],
        description=use_case.description,
        owner=use_case.owner,
        tags=_tags(use_case, SERVING),
    )
    return FeastObjects(entities, views, on_demand, service)


def _partitions(use_case: UseCase, view: FeatureView, layout: Layout, stores: FeatureStores) -> str:
    folder = str(layout.features(use_case.name, view.name))
    if stores.features_url is not None:
        folder = f"{stores.features_url.rstrip('/')}/{use_case.name}/{view.name}"
    return f"{folder}/dt=*/data.parquet"


def _view(use_case: UseCase, view: FeatureView, entity: feast.Entity, partitions: str) -> feast.FeatureView:
    name = feast_name(use_case, view.name)
    rows = feast.FileSource(
        name=f"{name}_rows",
        path=partitions,
        file_format=ParquetFormat(),
        timestamp_field="event_at",
        created_timestamp_column="created_at",
        description=f"Feature rows of {view.name}, one Parquet file a day",
        owner=use_case.owner,
        tags=_tags(use_case, FEATURES),
    )
    pushed = PushSource(
        name=f"{name}_stream",
        batch_source=rows,
        description=f"Feature rows of {view.name} as the stream makes them",
        owner=use_case.owner,
        tags=_tags(use_case, STREAM),
    )
    return feast.FeatureView(
        name=name,
        entities=[entity],
        ttl=view.ttl,
        schema=[feast.Field(name=view.entity, dtype=String), *map(_field, use_case.view_features(view.name))],
        source=rows if view.streaming is None else pushed,
        description=view.description,
        owner=use_case.owner,
        tags=_tags(use_case, FEATURES, is_streamed=view.streaming is not None, lookback=view.lookback),
    )


def _on_demand(
    use_case: UseCase, derivation: Derivation, views: Mapping[str, feast.FeatureView]
) -> OnDemandFeatureView:
    inputs = [feature for feature in use_case.features if feature.name in derivation.inputs]
    requested = [feature for feature in inputs if feature.view is None]
    features = use_case.derived_features(derivation.name)
    # Of these fields Feast reads back name and type alone, and takes the others for a change.
    fields = [feast.Field(name=feature.name, dtype=_field(feature).dtype) for feature in features]
    described = {feature.name: f"{feature.description} ({feature.unit or feature.kind})" for feature in features}
    sources: list[Any] = [
        view[[feature.name for feature in inputs if feature.view == name]]
        for name, view in views.items()
        if any(feature.view == name for feature in inputs)
    ]
    if requested:
        sources.append(
            RequestSource(
                name=f"{feast_name(use_case, derivation.name)}_request",
                schema=[_field(feature) for feature in requested],
                description=f"What {derivation.name} reads of a request",
                owner=use_case.owner,
                tags=_tags(use_case, SERVING),
            )
        )
    return OnDemandFeatureView(
        name=feast_name(use_case, derivation.name),
        sources=sources,
        schema=fields,
        mode="python",
        feature_transformation=transformation(derivation, features, fields),
        description=derivation.description,
        owner=use_case.owner,
        tags=_tags(use_case, SERVING, **described),
    )


def _field(feature: Feature) -> feast.Field:
    tags = {
        "kind": feature.kind,
        "unit": feature.unit,
        "low": feature.low,
        "high": feature.high,
        "monotone": feature.monotone,
        "is_monitored": feature.is_monitored,
    }
    return feast.Field(
        name=feature.name,
        dtype=Float64 if feature.kind == "numeric" else String,
        description=feature.description,
        tags=_texts(tags),
    )


def _tags(use_case: UseCase, stage: str, **others: object) -> dict[str, str]:
    return {"use_case": use_case.name, "stage": stage, **_texts(others)}


def _texts(tags: Mapping[str, object]) -> dict[str, str]:
    """Feast's tags are texts; what says nothing is left out."""
    return {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in tags.items()
        if value not in (None, "")
    }
