"""What MLflow kept of the run that trained a model: its status, its tags, its pictures.

Belongs here: reading. Does not belong here: writing a run (``adapters.tracking``), versions and aliases
(``adapters.registry``), loading the model of a run. Upstream: MLflow. Downstream: ``shadow models lineage|compare``.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from shadow_platform.contracts.errors import RegistryError, ShadowPlatformError
from shadow_platform.contracts.versions import RunRecord

if TYPE_CHECKING:
    from mlflow import MlflowClient

PICTURES = "plots"
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
MAX_PICTURE_BYTES = 5_000_000


class TrainingRuns:
    """Runs of one MLflow store, which must exist already."""

    def __init__(self, tracking_uri: str) -> None:
        self.tracking_uri = tracking_uri

    def record(self, run_id: str) -> RunRecord | None:
        """The run; ``None`` when it is gone, or deleted and only not yet swept away."""
        from mlflow.exceptions import MlflowException

        with _guard(run_id):
            try:
                run = self._client().get_run(run_id)
            except MlflowException as error:
                if error.error_code in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
                    return None
                raise
        if run.info.lifecycle_stage == "deleted":
            return None
        return RunRecord(
            run_id=run_id,
            status=run.info.status,
            started_at=_moment(run.info.start_time),
            ended_at=_moment(run.info.end_time),
            tags={str(name): str(text) for name, text in run.data.tags.items() if not name.startswith("mlflow.")},
        )

    def pictures(self, run_id: str) -> dict[str, bytes]:
        """PNG pictures of the training by name; none when the run or its pictures are gone.

        Raises:
            RegistryError: the store does not answer, or a file that is named as a picture is none.
        """
        if self.record(run_id) is None:
            return {}
        with _guard(run_id), tempfile.TemporaryDirectory() as folder:
            client = self._client()
            found = [PurePosixPath(entry.path) for entry in client.list_artifacts(run_id, PICTURES) if not entry.is_dir]
            return {
                path.stem: _png(Path(client.download_artifacts(run_id, str(path), folder)))
                for path in sorted(found)
                if path.suffix == ".png"
            }

    def _client(self) -> "MlflowClient":
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        from mlflow import MlflowClient

        return MlflowClient(tracking_uri=self.tracking_uri)


def _png(path: Path) -> bytes:
    """Content of a picture; who may write artifacts must not thereby write into a page."""
    if path.stat().st_size > MAX_PICTURE_BYTES:
        raise RegistryError(f"picture {path.name} has more than {MAX_PICTURE_BYTES} bytes; remove it from the run")
    content = path.read_bytes()
    if not content.startswith(PNG_SIGNATURE):
        raise RegistryError(f"artifact {PICTURES}/{path.name} is no PNG picture; remove it from the run")
    return content


def _moment(milliseconds: int | None) -> datetime | None:
    return None if milliseconds is None else datetime.fromtimestamp(milliseconds / 1000, tz=UTC)


@contextmanager
def _guard(run_id: str) -> Iterator[None]:
    try:
        yield
    except ShadowPlatformError:
        raise
    except Exception as error:
        first_line = (str(error).strip().splitlines() or [""])[0]
        raise RegistryError(
            f"MLflow run {run_id} cannot be read ({type(error).__name__}: {first_line}); check that "
            "MLFLOW_TRACKING_URI is right and its artifacts are reachable"
        ) from error
