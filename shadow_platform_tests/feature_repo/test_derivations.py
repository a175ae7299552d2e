"""Feast's on-demand views compute what the platform trains on and serves."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from feast.on_demand_feature_view import OnDemandFeatureView
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.declarations import feast_objects
from feature_repo.derivations import transformation
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.use_case import Derivation
from shadow_platform.use_cases import load_use_case

FRAUD = load_use_case("fraud")
OBJECTS = feast_objects(FRAUD, Layout(Path("home")))
KINDS = {feature.name: feature.kind for feature in FRAUD.features}
NUMBERS = st.none() | st.floats(0, 1e6)
TEXTS = st.sampled_from([None, "US", "DE", "web", ""])


def _columns(derivation: Derivation) -> st.SearchStrategy[list[dict[str, Any]]]:
    values = {name: NUMBERS if KINDS[name] == "numeric" else TEXTS for name in derivation.inputs}
    return st.lists(st.fixed_dictionaries(values), min_size=1, max_size=5)


def _as_feast_stores_it(view: OnDemandFeatureView) -> OnDemandFeatureView:
    """What another process reads of the registry."""
    read: OnDemandFeatureView = OnDemandFeatureView.from_proto(view.to_proto())
    return read


@pytest.mark.parametrize("derivation", FRAUD.derivations, ids=lambda derivation: derivation.name)
def test_an_on_demand_view_gives_what_the_derivation_gives(derivation: Derivation) -> None:
    made = OBJECTS.on_demand[derivation.name]
    views, features = (made, _as_feast_stores_it(made)), FRAUD.derived_features(derivation.name)

    @given(_columns(derivation))
    def same(rows: list[dict[str, Any]]) -> None:
        expected = [derivation.derive(features, row).values for row in rows]
        for view in views:
            assert view.feature_transformation is not None
            found = view.feature_transformation.udf({name: [row[name] for row in rows] for name in derivation.inputs})
            assert found == {name: [values[name] for values in expected] for name in expected[0]}

    same()


def test_every_derivation_is_a_view_of_the_features_that_it_makes() -> None:
    assert {name: [field.name for field in view.features] for name, view in OBJECTS.on_demand.items()} == {
        d.name: [feature.name for feature in FRAUD.derived_features(d.name)] for d in FRAUD.derivations
    }


def test_a_description_is_text_whatever_it_holds() -> None:
    derivation, description = FRAUD.derivations[0], 'Share of C:\\new in "quotes" and \'\'\'""", by {user}'
    features = FRAUD.derived_features(derivation.name)
    described = replace(derivation, description=description)
    assert transformation(described, features, []).udf.__doc__ == f"{description}."
