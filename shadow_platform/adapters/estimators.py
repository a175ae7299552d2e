"""The scikit-learn model behind a version (skops in MLflow), for people: loaded only when it is made of types we know.

Belongs here: finding, checking and loading it. Does not belong here: which types those are
(``contracts.estimator_types``), keeping it (``adapters.tracking``), serving: that is the bundle's ONNX.
Upstream: MLflow's artifacts, which others may have written. Downstream: notebooks, through
``PlatformResource.estimator``.

The file alone is read. What MLflow's own ``MLmodel`` says of it (a flavour, a path, types to be trusted) would be the
word of whoever wrote the artifacts.
"""

import io
import json
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shadow_platform.contracts.errors import BundleError, RegistryError
from shadow_platform.contracts.estimator_types import TYPE_NAMES, foreign_types
from shadow_platform.contracts.models import Estimator

if TYPE_CHECKING:
    from mlflow import MlflowClient

MODEL_FILE = "model.skops"


def load_estimator(path: Path) -> Estimator:
    """Estimator in a ``.skops`` file, or in a folder's ``model.skops``.

    Raises:
        BundleError: there is no such file, or it holds a type that our model families do not need. Nothing in it was
            imported or run then.
    """
    file = path / MODEL_FILE if path.is_dir() else path
    if file.suffix != ".skops":
        raise BundleError(f"{file} is not loaded: expected a .skops file; pickle and its kin run code when loaded")
    try:
        content = file.read_bytes()
    except OSError as error:
        held = sorted(entry.name for entry in path.iterdir()) if path.is_dir() else []
        raise BundleError(
            f"{file} cannot be read ({error}); the folder holds {', '.join(held) or 'nothing'}; train the version again"
        ) from error
    _require_known_types(file, content)
    import skops.io

    try:
        estimator: Estimator = skops.io.loads(content, trusted=list(TYPE_NAMES))
    except Exception as error:  # skops and what it rebuilds raise whatever a damaged file leads them to
        raise BundleError(f"{file} cannot be loaded ({error}); train the version again") from error
    if not callable(getattr(estimator, "predict_proba", None)):
        raise BundleError(f"{file} holds a {type(estimator).__name__}, expected a classifier; train the version again")
    return estimator


def _require_known_types(file: Path, content: bytes) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            foreign = foreign_types(json.loads(archive.read("schema.json")))
    except (zipfile.BadZipFile, KeyError, ValueError, RecursionError) as error:
        raise BundleError(f"{file} is no skops file ({error}); train the version again") from error
    if foreign:
        raise BundleError(
            f"{file} holds {', '.join(foreign)}, which none of our model families needs: it was not loaded; train the "
            "version again, or add the type to contracts.estimator_types after a look at what it does when rebuilt"
        )


def run_estimator(tracking_uri: str, run_id: str) -> Estimator:
    """Estimator that a training's MLflow run kept; raises as ``load_estimator``, or ``RegistryError`` without one."""
    from mlflow import MlflowClient
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    try:
        model = _logged_model(MlflowClient(tracking_uri=tracking_uri), run_id)
        with tempfile.TemporaryDirectory() as folder:
            fetched = download_artifacts(
                artifact_uri=f"{model.artifact_location}/{MODEL_FILE}", dst_path=folder, tracking_uri=tracking_uri
            )
            return load_estimator(Path(fetched))
    except (MlflowException, OSError) as error:
        reason = (str(error).strip().splitlines() or [""])[-1]
        raise RegistryError(
            f"run {run_id} has no {MODEL_FILE} that can be fetched ({reason}); train the version again"
        ) from error


def _logged_model(client: "MlflowClient", run_id: str) -> Any:
    experiment = client.get_run(run_id).info.experiment_id
    found = client.search_logged_models([experiment], filter_string=f"source_run_id = '{run_id}'")
    if not found:
        raise RegistryError(f"run {run_id} kept no model; train the version again")
    return found[0]
