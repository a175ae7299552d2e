"""Feast objects of a use case, made from its UseCase value, so that Feast and the platform cannot disagree.

Belongs here: the translation of declarations. Does not belong here: values of one use case. Upstream: contracts, feast.
Downstream: the files of definitions beside it (``feast apply``) and ``shadow_platform.adapters.feature_store``.
"""

from dataclasses import dataclass

import feast
from feast.data_format import ParquetFormat
from feast.types import Float64, String

from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.use_case import FeatureView, UseCase


@dataclass(frozen=True, slots=True)
class FeastObjects:
    """Everything Feast must know of one use case; ``views`` is keyed by the use case's own view names."""

    entities: dict[str, feast.Entity]
    views: dict[str, feast.FeatureView]
    service: feast.FeatureService

    def all(self) -> list[feast.Entity | feast.FeatureView | feast.FeatureService]:
        """In the order in which they must be applied."""
        return [*self.entities.values(), *self.views.values(), self.service]


def feast_name(use_case: UseCase, name: str) -> str:
    """Name in Feast, where all use cases share one project."""
    return f"{use_case.name}_{name}"


def feast_objects(use_case: UseCase, layout: Layout) -> FeastObjects:
    """Entities, feature views and the feature service of a use case, over the lake's Parquet partitions."""
    entities = {
        entity.join_key: feast.Entity(
            name=feast_name(use_case, entity.join_key),
            join_keys=[entity.join_key],
            value_type=feast.ValueType.STRING,
            description=entity.description,
            owner=use_case.owner,
        )
        for entity in use_case.entities
    }
    views = {view.name: _view(use_case, view, entities[view.entity], layout) for view in use_case.views}
    service = feast.FeatureService(
        name=use_case.name,
        features=list(views.values()),
        description=use_case.description,
        owner=use_case.owner,
    )
    return FeastObjects(entities, views, service)


def _view(use_case: UseCase, view: FeatureView, entity: feast.Entity, layout: Layout) -> feast.FeatureView:
    name = feast_name(use_case, view.name)
    fields = [
        feast.Field(
            name=feature.name,
            dtype=Float64 if feature.kind == "numeric" else String,
            description=feature.description,
            tags={"unit": feature.unit} if feature.unit else {},
        )
        for feature in use_case.view_features(view.name)
    ]
    return feast.FeatureView(
        name=name,
        entities=[entity],
        ttl=view.ttl,
        schema=[feast.Field(name=view.entity, dtype=String), *fields],
        source=feast.FileSource(
            name=f"{name}_rows",
            path=str(layout.features(use_case.name, view.name) / "dt=*" / "data.parquet"),
            file_format=ParquetFormat(),
            timestamp_field="event_at",
            created_timestamp_column="created_at",
            description=f"Feature rows of {view.name}, one Parquet file a day",
        ),
        description=view.description,
        owner=use_case.owner,
    )
