"""Feast's own command works on the definitions, and they are those the platform applies."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from feature_repo.declarations import feast_objects
from shadow_platform.adapters.feature_store import FeastStore
from shadow_platform.contracts.layout import Layout
from shadow_platform.use_cases import load_use_case
from shadow_platform_tests.tiny import USE_CASE

FEATURE_REPO = Path(__file__).parents[2] / "feature_repo"


@pytest.mark.processes
def test_feast_apply_registers_what_the_platform_would(layout: Layout) -> None:
    layout.feast.mkdir(parents=True)
    feast = Path(sys.executable).with_name("feast")
    environment = {**os.environ, "SHADOW_HOME": str(layout.home)}
    done = subprocess.run(
        [feast, "apply"], cwd=FEATURE_REPO, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    flights = load_use_case("flights")
    store = FeastStore(layout, FEATURE_REPO, flights)
    assert store.applied_views() == tuple(view.name for view in flights.views)
    assert store.online().read([{entity.join_key: entity.example for entity in flights.entities}]) == [{}]


def test_declarations_say_of_every_feature_what_the_use_case_says(layout: Layout) -> None:
    objects = feast_objects(USE_CASE, layout)
    view = objects.views["visitor_history"]
    declared = USE_CASE.views[0]
    assert view.name == "tiny_visitor_history"
    assert view.ttl == declared.ttl
    assert [(field.name, field.description) for field in view.features] == [
        (feature.name, feature.description) for feature in USE_CASE.view_features(declared.name)
    ]
    assert view.owner == USE_CASE.owner
    assert view.batch_source is not None
    assert (view.batch_source.timestamp_field, view.batch_source.created_timestamp_column) == ("event_at", "created_at")
    assert objects.service.name == "tiny"
