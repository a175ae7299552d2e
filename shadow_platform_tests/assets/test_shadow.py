"""Shadow results reach MLflow once a window, and losing MLflow loses nothing."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts

from shadow_platform.adapters.deployment import write_manifest
from shadow_platform.adapters.shadow_results import CONTENT_TAG, VERSION_TAG, WINDOW_TAG
from shadow_platform.assets.comparison import build_comparison_assets
from shadow_platform.assets.shadow import build_shadow_assets
from shadow_platform.contracts.deployment import DeployedModel, DeploymentManifest
from shadow_platform.contracts.layout import Layout
from shadow_platform.resources import PlatformResource
from shadow_platform_tests.assets.served import FIRST_DAY, USE_CASE, Home
from shadow_platform_tests.bento.bundles import line_bundle

PREDICTIONS, COMPARISONS, _ = build_comparison_assets(USE_CASE)
_, RESULTS = build_shadow_assets(USE_CASE)
DAYS, PER_DAY = 2, 30
WINDOW = f"{FIRST_DAY:%Y-%m-%d}..{FIRST_DAY + timedelta(days=DAYS - 1):%Y-%m-%d}"


class TrackedPlatform(PlatformResource):
    """The platform as it is; its MLflow can be taken away."""

    is_reachable: bool = True

    @property
    def settings(self) -> Any:
        found = super().settings
        away = {"mlflow_tracking_uri": f"sqlite:////dev/null/{self.shadow_home}"}
        return found if self.is_reachable else found.model_copy(update=away)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Champion 1 and challenger 2, registered in MLflow, and two days of traffic in tables."""
    made = Home(Layout(tmp_path_factory.mktemp("tracked") / "home"))
    made.platform = TrackedPlatform(shadow_home=str(made.layout.home))  # type: ignore[assignment]
    registry = made.platform.registry()
    client = MlflowClient(made.platform.settings.mlflow_uri)
    experiment = client.get_experiment_by_name(registry.experiment(USE_CASE.name))
    assert experiment is not None
    models = []
    for slope in (0.02, 0.06):
        run = client.create_run(experiment.experiment_id).info.run_id
        bundle = made.layout.bundles / line_bundle(made.layout.bundles, slope)
        version = registry.register(USE_CASE.name, bundle, run, {}).version
        models.append(DeployedModel(version=version, bundle_hash=bundle.name, model_name="line", since=FIRST_DAY))
    champion, challenger = models
    manifest = DeploymentManifest(
        use_case=USE_CASE.name, generation=1, champion=champion, challengers=(challenger,), written_at=FIRST_DAY
    )
    write_manifest(made.layout.manifest(USE_CASE.name), manifest)
    made.serve(DAYS, PER_DAY, (0.06, -3.0))
    assert made.materialize(PREDICTIONS, COMPARISONS, days=DAYS).success
    return made


def results(home: Home) -> list[Any]:
    client = MlflowClient(home.platform.settings.mlflow_uri)
    experiment = client.get_experiment_by_name(USE_CASE.name)
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id], f"tags.{WINDOW_TAG} = '{WINDOW}'"))


def test_a_window_is_one_run_below_the_challengers_training_however_often_it_is_logged(
    home: Home, tmp_path: Path
) -> None:
    for _ in range(2):
        assert home.materialize(RESULTS, days=DAYS).success
    (run,) = results(home)
    training = home.platform.registry().get(USE_CASE.name, "2").run_id
    assert (run.data.tags["mlflow.parentRunId"], run.info.status) == (training, "FINISHED")
    metrics = run.data.metrics
    assert metrics["sent"] == metrics["compared"] == DAYS * PER_DAY
    assert (metrics["failed"], metrics["dropped"]) == (0, 0)
    assert 0 <= metrics["agreement_rate"] <= 1
    uri = home.platform.settings.mlflow_uri
    folder = Path(download_artifacts(run_id=run.info.run_id, dst_path=str(tmp_path), tracking_uri=uri)) / "shadow"
    rows = pd.read_parquet(folder / "comparisons.parquet")
    assert rows["challenger_version"].tolist() == ["2"] * DAYS * PER_DAY
    assert (folder / "comparison.png").read_bytes().startswith(b"\x89PNG")


def test_a_run_that_was_left_half_written_is_completed(home: Home) -> None:
    home.materialize(RESULTS, days=DAYS)
    (run,) = results(home)
    client = MlflowClient(home.platform.settings.mlflow_uri)
    client.delete_tag(run.info.run_id, CONTENT_TAG)
    client.update_run(run.info.run_id, status="RUNNING")
    home.materialize(RESULTS, days=DAYS)
    (again,) = results(home)
    assert (again.info.run_id, again.info.status) == (run.info.run_id, "FINISHED")
    assert again.data.tags[VERSION_TAG] == "2"
    assert CONTENT_TAG in again.data.tags


def test_an_outage_of_mlflow_fails_this_asset_alone_and_the_next_run_makes_up_for_it(home: Home) -> None:
    away = TrackedPlatform(shadow_home=str(home.layout.home), is_reachable=False)
    day = f"{FIRST_DAY:%Y-%m-%d}"
    failed = dg.materialize([RESULTS], resources={"platform": away}, partition_key=day, raise_on_error=False)
    assert not failed.success
    assert home.materialize(RESULTS, days=DAYS).success
