"""Shadow results in MLflow, for review beside the challenger's training: one run a challenger and window.

Belongs here: how results become an MLflow run. Does not belong here: what they are (assets), versions and aliases
(``adapters.registry``). Nothing of the platform reads them back: the tables are the record, this is a copy for people.
Upstream: the asset ``shadow_results``. Downstream: MLflow's UI.
"""

import hashlib
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from shadow_platform.contracts.errors import RegistryError, ShadowPlatformError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

VERSION_TAG, WINDOW_TAG, CONTENT_TAG = "shadow_challenger", "shadow_window", "shadow_content"
PARENT_TAG = "mlflow.parentRunId"
FOLDER = "shadow"


@dataclass(frozen=True, slots=True)
class ShadowResult:
    """What a challenger did in the shadow in one window.

    Attributes:
        parent_run_id: run that trained the challenger; the result is shown below it.
        files: content by file name.
    """

    version: str
    window: str
    parent_run_id: str
    metrics: Mapping[str, float]
    files: Mapping[str, bytes]

    @property
    def content(self) -> str:
        """Fingerprint of metrics and files."""
        digest = hashlib.sha256(repr(sorted(self.metrics.items())).encode())
        for name, content in sorted(self.files.items()):
            digest.update(f"{len(name)}:{name}:{len(content)}:".encode())
            digest.update(content)
        return digest.hexdigest()


def log_shadow_result(tracking_uri: str, experiment: str, result: ShadowResult) -> str:
    """Id of the run that holds the result; the same challenger and window give the same run, brought up to date.

    A run that was left half-written is completed by the next call.

    Args:
        experiment: existing experiment (``MlflowRegistry.experiment``).

    Raises:
        RegistryError: MLflow does not answer, or refuses; call again.
    """
    from mlflow import MlflowClient

    try:
        client = MlflowClient(tracking_uri=tracking_uri)
        found = client.get_experiment_by_name(experiment)
        if found is None:
            raise RegistryError(f"experiment {experiment!r} does not exist in MLflow; make it with MlflowRegistry")
        run = _run(client, found.experiment_id, result)
        if run.data.tags.get(CONTENT_TAG) != result.content:
            _fill(client, run.info.run_id, result)
    except ShadowPlatformError:
        raise
    except Exception as error:
        raise RegistryError(
            f"shadow results of version {result.version}, {result.window}, could not be logged to MLflow "
            f"({type(error).__name__}: {error}); they stand in the tables: materialize shadow_results again"
        ) from error
    return str(run.info.run_id)


def _run(client: "MlflowClient", experiment_id: str, result: ShadowResult) -> "Run":
    own = f"tags.{VERSION_TAG} = '{result.version}' and tags.{WINDOW_TAG} = '{result.window}'"
    known = client.search_runs([experiment_id], filter_string=own, order_by=["attributes.start_time ASC"])
    if known:
        return known[0]
    tags = {VERSION_TAG: result.version, WINDOW_TAG: result.window, PARENT_TAG: result.parent_run_id}
    name = f"shadow of version {result.version}, {result.window}"
    return client.create_run(experiment_id, tags={k: v for k, v in tags.items() if v}, run_name=name)


def _fill(client: "MlflowClient", run_id: str, result: ShadowResult) -> None:
    """Content first, its fingerprint last: a run without it is filled again."""
    for name, value in result.metrics.items():
        client.log_metric(run_id, name, value)
    with tempfile.TemporaryDirectory() as folder:
        for name, content in result.files.items():
            path = Path(folder) / name
            path.write_bytes(content)
            client.log_artifact(run_id, str(path), FOLDER)
    client.set_tag(run_id, CONTENT_TAG, result.content)
    client.set_terminated(run_id, "FINISHED")
