"""Feast's own commands work on the definitions as Feast's documents say, and tell what the platform would."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from shadow_platform.adapters.feature_store import FeastStore
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.ports import FeatureStores
from shadow_platform.use_cases import load_use_case
from shadow_platform_tests.feature_repo.rows import USE_CASES, fill, value
from shadow_platform_tests.feature_servers import Postgres, Valkey

pytestmark = [pytest.mark.processes, pytest.mark.timeout(400)]
FEATURE_REPO = Path(__file__).parents[2] / "feature_repo"
FRAUD = load_use_case("fraud")
Feast = Callable[..., str]


def run_apply(*options: str, **environment: str) -> str:
    """What ``feast apply`` prints in the folder of definitions, as a process of its own: it imports them anew."""
    command = [str(Path(sys.executable).with_name("feast")), *options, "apply"]
    done = subprocess.run(
        command,
        cwd=FEATURE_REPO,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def run_feast(environment: dict[str, str], *arguments: str) -> str:
    """What another command prints; it reads the registry, not the definitions, so this process will do."""
    from feast.cli.cli import cli

    done = CliRunner(env=environment).invoke(cli, ["-c", str(FEATURE_REPO), *arguments])
    assert done.exit_code == 0, f"{done.output}\n{done.exception!r}"
    return done.output


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """A home with rows of every use case, whose definitions Feast's command applied."""
    layout = Layout(tmp_path_factory.mktemp("feast") / "home")
    fill(layout)
    layout.feast.mkdir(parents=True)
    run_apply(SHADOW_HOME=str(layout.home))
    return layout


@pytest.fixture
def feast(home: Layout) -> Feast:
    return partial(run_feast, {"SHADOW_HOME": str(home.home)})


def online(feast: Feast, key: str, *features: str) -> dict[str, Any]:
    asked = [argument for name in features for argument in ("-f", name)]
    found: dict[str, Any] = json.loads(feast("get-online-features", "-e", key, *asked))
    return found


def test_feast_apply_registers_what_the_platform_would(home: Layout) -> None:
    for use_case in map(load_use_case, USE_CASES):
        store = FeastStore(home, FEATURE_REPO, use_case)
        assert store.applied_views() == tuple(view.name for view in use_case.views)
        assert store.online().read([{entity.join_key: "nobody" for entity in use_case.entities}]) == [{}]


def test_feast_lists_every_object_with_its_description(feast: Feast) -> None:
    listed = feast("feature-views", "list")
    for use_case in map(load_use_case, USE_CASES):
        assert all(f"{use_case.name}_{view.name}" in listed for view in use_case.views)
    described = yaml.safe_load(feast("feature-views", "describe", "fraud_user_habits"))["spec"]
    assert (described["description"], described["owner"]) == (FRAUD.views[1].description, FRAUD.owner)
    assert "fraud_amount_against_habit" in feast("on-demand-feature-views", "list")
    assert all(name in feast("feature-services", "list") for name in USE_CASES)
    assert "fraud_user_velocity_stream" in feast("data-sources", "list")
    assert "fraud_user_id" in feast("entities", "list")


def test_feast_materializes_a_window_and_then_what_came_after_it(feast: Feast, home: Layout) -> None:
    feature = FRAUD.view_features("user_habits")[0]
    asked = f"fraud_user_habits:{feature.name}"
    feast("materialize", "2024-01-01T00:00:00", "2024-01-02T00:00:00")
    assert online(feast, "user_id=a", asked) == {"user_id": ["a"], feature.name: [value(feature, 0)]}
    feast("materialize-incremental", "2024-01-03T00:00:00")
    assert online(feast, "user_id=a", asked) == {"user_id": ["a"], feature.name: [value(feature, 1)]}
    for use_case in map(load_use_case, USE_CASES):
        (found,) = (
            FeastStore(home, FEATURE_REPO, use_case).online().read([{e.join_key: "a" for e in use_case.entities}])
        )
        assert {view: dict(row.values) for view, row in found.items()} == {
            view.name: {f.name: value(f, 1) for f in use_case.view_features(view.name)} for view in use_case.views
        }


def test_feast_applies_the_same_definitions_to_redis_and_postgres(
    layout: Layout, valkey: Valkey, postgres: Postgres
) -> None:
    stores = FeatureStores("scale", valkey.url, postgres.new_database(), "s3://features/rows")
    run_apply(
        "-f",
        "feature_store.scale.yaml",
        SHADOW_HOME=str(layout.home),
        FEATURE_STORE="scale",
        REDIS_URL=valkey.url,
        POSTGRES_URL=stores.postgres_url or "",
        FEATURES_URL=stores.features_url or "",
    )
    for use_case in map(load_use_case, USE_CASES):
        store = FeastStore(layout, FEATURE_REPO, use_case, stores)
        assert store.applied_views() == tuple(view.name for view in use_case.views)
    assert not layout.feast.exists()
