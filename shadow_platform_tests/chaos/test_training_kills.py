"""What is left when a training dies by SIGKILL at any of its steps: nothing half, and what the next one can finish."""

import signal
from pathlib import Path

import mlflow
import pytest

from shadow_platform.adapters.bundle import Bundle
from shadow_platform.cli.inspect import _registry
from shadow_platform.contracts.errors import BundleError, ShadowPlatformError
from shadow_platform.contracts.tables import MODEL_EXPERIMENTS, MODEL_METRICS, MODEL_VERSIONS
from shadow_platform.domain.training import frame_fingerprint
from shadow_platform_tests.chaos import trainings
from shadow_platform_tests.chaos.trainings import USE_CASE, Death, TrainingHome
from shadow_platform_tests.forked import ended, started

pytestmark = [pytest.mark.processes, pytest.mark.timeout(600)]

NAME = USE_CASE.name
ADAPTERS = "shadow_platform.adapters"
UNTOLD = "version made, in no table"
DEATHS = (
    Death("frame written, its record not", f"{ADAPTERS}.lake.frames:_add_record"),
    Death("model fitted, nothing logged", f"{ADAPTERS}.onnx_export:export_onnx"),
    Death("one picture kept of several", f"{ADAPTERS}.tracking:TrainingRun.log_png", nth=2),
    Death("fitted model kept, no bundle", f"{ADAPTERS}.tracking:TrainingRun.log_model", "after"),
    Death("half of the bundle's files", "shadow_platform.contracts.bundle:BundleManifest.model_dump_json"),
    Death("bundle written, not under its name", f"{ADAPTERS}.bundle.writing:publish"),
    Death("bundle there, not registered", f"{ADAPTERS}.registry:MlflowRegistry.register"),
    Death("bundle uploaded, no version", "mlflow:MlflowClient.create_model_version"),
    Death(UNTOLD, "mlflow:MlflowClient.create_model_version", "after"),
    Death("version told, its metrics not", f"{ADAPTERS}.lake.store:Lake.append_rows", "after"),
    Death("metrics told, the training not", f"{ADAPTERS}.lake.store:Lake.append_rows", "after", 2),
    Death("all told, run not closed", f"{ADAPTERS}.tracking:_close"),
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> TrainingHome:
    """A home with events, in which nothing was trained yet."""
    return TrainingHome(tmp_path_factory.mktemp("kills") / "home").make_data()


def _train(folder: Path, death: Death | None) -> None:
    if death is not None:
        death.await_it()
    TrainingHome(folder).train()


def _require_nothing_half(home: TrainingHome, scratch: Path) -> None:
    """What must hold whenever a process died."""
    platform, registry = home.platform, home.platform.registry()
    for version in registry.versions(NAME):
        Bundle.load(registry.fetch_bundle(NAME, version.version, scratch)).selftest()
        assert version.aliases == ()
    for folder in home.layout.bundles.glob("*"):
        if folder.name.startswith("."):
            with pytest.raises(BundleError):
                Bundle.load(folder)
        else:
            Bundle.load(folder).selftest()
    for path in home.layout.frame(NAME, "any").parent.glob("*.parquet"):
        assert frame_fingerprint(platform.lake().read_frame(NAME, path.stem)) == path.stem
    told = platform.lake().read_table(MODEL_VERSIONS, NAME)
    assert set(told["version"]) <= {version.version for version in registry.versions(NAME)}


def _statuses(home: TrainingHome) -> list[str]:
    """Statuses of the MLflow runs, oldest first."""
    client = mlflow.MlflowClient(tracking_uri=home.platform.settings.mlflow_uri)
    experiment = client.get_experiment_by_name(home.platform.registry().experiment(NAME))
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], order_by=["attributes.start_time"])
    return [run.info.status for run in runs]


def _complaint(home: TrainingHome, monkeypatch: pytest.MonkeyPatch) -> str:
    """What ``shadow doctor`` finds wrong with the registry."""
    monkeypatch.setenv("SHADOW_HOME", str(home.folder))
    try:
        _registry(f"{trainings.__name__}:USE_CASE")
    except ShadowPlatformError as error:
        return str(error)
    return ""


def test_training_killed_at_each_step_in_turn_leaves_nothing_half_and_the_next_finishes_it(
    home: TrainingHome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place, death in enumerate(DEATHS):
        assert ended(started(_train, home.folder, death)) == -signal.SIGKILL, f"not reached: {death.what}"
        _require_nothing_half(home, tmp_path / "fetched")
        assert _statuses(home) == ["KILLED"] * (place - 1) + ["RUNNING"] * (place > 0), death.what
        is_untold = "version 1 (as of 2024-01-27" in _complaint(home, monkeypatch)
        assert is_untold == (death.what == UNTOLD)

    made = [folder.name for folder in home.layout.bundles.glob("[!.]*")]
    assert ended(started(_train, home.folder, None)) == 0

    _require_nothing_half(home, tmp_path / "fetched")
    (version,) = home.platform.registry().versions(NAME)
    assert made == [version.bundle_hash], "made again, the bundle is the same"
    lake = home.platform.lake()
    (told,) = lake.read_table(MODEL_VERSIONS, NAME).to_dict("records")
    assert (told["version"], told["bundle_hash"], told["run_id"]) == ("1", version.bundle_hash, version.run_id)
    experiments = lake.read_table(MODEL_EXPERIMENTS, NAME)
    assert set(experiments["version"]) == {version.version}
    assert set(experiments["run_id"]) <= set(lake.read_table(MODEL_METRICS, NAME)["run_id"])
    assert _statuses(home) == ["KILLED"] * (len(DEATHS) - 1) + ["FINISHED"]
