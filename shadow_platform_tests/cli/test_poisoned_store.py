"""Pickles and foreign types in the artifact store: whatever reads the store, nothing of theirs is ever run."""

import functools
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
import skops.io
from sklearn.linear_model import LogisticRegression
from typer.testing import CliRunner

from shadow_platform.adapters.estimators import run_estimator
from shadow_platform.adapters.tracking import TrainingRun
from shadow_platform.cli import typer_app
from shadow_platform.contracts.errors import BundleError, RegistryError
from shadow_platform_tests.cli.versions_home import ADDRESS, CARDED, CHALLENGER, OLD, VersionsHome
from shadow_platform_tests.poison import Poison
from shadow_platform_tests.tiny import USE_CASE

MATRIX = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
ESTIMATOR = LogisticRegression().fit(MATRIX, MATRIX[:, 0] > 0)
OPEN_NO_BUNDLE = (
    ("models", "list", "--all", "--archived"),
    ("models", "search", "--metric", "roc_auc>=0"),
    ("models", "history"),
    ("models", "reconcile"),
)
OPEN_A_BUNDLE = (
    ("models", "show", CARDED),
    ("models", "show", CHALLENGER, "--json"),
    ("models", "compare", OLD, CARDED, "--html", "page.html"),
    ("models", "lineage", CARDED),
    ("promote", CHALLENGER, "--reason", "try"),
    ("rollback", "--reason", "try"),
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> VersionsHome:
    """Versions whose runs keep their model, as a training does."""
    made = VersionsHome(tmp_path_factory.mktemp("store") / "home")
    mlflow.set_tracking_uri(made.platform.settings.mlflow_uri)
    for run_id in made.runs.values():
        with mlflow.start_run(run_id=run_id):
            TrainingRun(mlflow, run_id).log_model(ESTIMATOR)
    return made


@pytest.fixture
def poisoned(home: VersionsHome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Marker of a poison that lies in every folder of the artifact store, under every name that loaders know."""
    store, marker = home.layout.mlflow / "artifacts", tmp_path / "marker"
    kept = {folder: tmp_path / folder.name for folder in (store, home.layout.bundles)}
    monkeypatch.setenv("SHADOW_HOME", str(home.layout.home))
    monkeypatch.chdir(tmp_path)
    for folder, copy in kept.items():
        shutil.copytree(folder, copy)
    poison = Poison(marker)
    for folder in [path for path in store.rglob("*") if path.is_dir() and path.name != ".locks"]:
        for name in ("model.pkl", "python_model.pkl", "model.joblib", "data.npy", "card.json", "extra.parquet"):
            poison.write(folder / name)
    for file in store.rglob("MLmodel"):
        file.write_text(
            "flavors:\n  sklearn: {pickled_model: model.pkl, serialization_format: pickle}\n"
            "  python_function: {loader_module: mlflow.sklearn, model_path: model.pkl}\n"
        )
    for file in store.rglob("*.png"):
        poison.write(file)
    # What was fetched before is gone, so that commands turn to the store.
    shutil.rmtree(home.layout.bundles)
    yield marker
    for folder, copy in kept.items():
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(copy, folder)


@pytest.mark.parametrize("arguments", OPEN_NO_BUNDLE, ids=lambda arguments: " ".join(arguments[:2]))
def test_a_command_that_opens_no_bundle_runs_nothing_of_the_store(poisoned: Path, arguments: tuple[str, ...]) -> None:
    result = CliRunner().invoke(typer_app, [*arguments, "--use-case", ADDRESS])

    assert result.exit_code == 0, result.output
    assert not poisoned.exists()


@pytest.mark.parametrize("arguments", OPEN_A_BUNDLE, ids=lambda arguments: " ".join(arguments[:2]))
def test_a_command_that_opens_a_bundle_refuses_it_unread(poisoned: Path, arguments: tuple[str, ...]) -> None:
    result = CliRunner().invoke(typer_app, [*arguments, "--use-case", ADDRESS])

    assert isinstance(result.exception, BundleError), result.output
    assert "expected only plain files" in str(result.exception)
    assert not poisoned.exists()


def test_a_bundle_with_poison_beside_its_files_is_not_fetched(home: VersionsHome, poisoned: Path) -> None:
    with pytest.raises(BundleError, match=r"holds data\.npy, model\.joblib, model\.pkl, python_model\.pkl, expected"):
        home.platform.bundle(USE_CASE, CARDED)
    assert list(home.layout.bundles.iterdir()) == []
    assert not poisoned.exists()


def test_the_kept_model_is_loaded_and_the_pickles_around_it_are_not(home: VersionsHome, poisoned: Path) -> None:
    estimator = home.platform.estimator(USE_CASE, CARDED)

    np.testing.assert_array_equal(estimator.predict_proba(MATRIX), ESTIMATOR.predict_proba(MATRIX))
    assert not poisoned.exists()


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (lambda marker: Poison(marker).pickled(), "is no skops file"),
        (lambda marker: skops.io.dumps(_holding(functools.partial(os.makedirs, str(marker)))), "PartialNode"),
        (lambda marker: skops.io.dumps(_holding(np.array([os.makedirs], dtype=object))), r"os\.makedirs"),
    ],
    ids=["pickle", "partial", "array of objects"],
)
def test_a_kept_model_that_was_exchanged_is_refused(
    home: VersionsHome, poisoned: Path, content: Any, found: str
) -> None:
    for file in (home.layout.mlflow / "artifacts").rglob("model.skops"):
        file.write_bytes(content(poisoned))

    with pytest.raises(BundleError, match=found):
        home.platform.estimator(USE_CASE, CARDED)
    assert not poisoned.exists()


def _holding(value: Any) -> LogisticRegression:
    estimator = LogisticRegression()
    estimator.C = value
    return estimator


def test_a_version_whose_model_is_gone_says_so(home: VersionsHome, poisoned: Path) -> None:
    for file in (home.layout.mlflow / "artifacts").rglob("model.skops"):
        file.unlink()

    with pytest.raises(RegistryError, match=r"has no model\.skops that can be fetched .* train the version again"):
        home.platform.estimator(USE_CASE, CARDED)
    assert not poisoned.exists()


def test_a_run_that_kept_no_model_says_so(home: VersionsHome) -> None:
    run_id = home.run_of("without")
    with pytest.raises(RegistryError, match=f"run {run_id} kept no model"):
        run_estimator(home.platform.settings.mlflow_uri, run_id)
