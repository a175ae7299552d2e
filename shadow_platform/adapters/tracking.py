"""One MLflow run per training step, through dagster-mlflow, closed by the outcome of the step (ADR 0003).

Belongs here: opening and closing a run, and what a training logs to it. Does not belong here: versions and aliases
(``adapters.registry``), what is logged (assets). Upstream: the training assets. Downstream: MLflow's UI, the registry.

dagster-mlflow alone leaves runs behind: its exit hook marks every run FINISHED, a failed step too, and a second run in
one process resumes the first. So a run is made here for the step, handed to ``mlflow_tracking`` by its id, and closed
before the resource is torn down.
"""

import io
import json
import os
import platform
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.metadata import version
from typing import Any

import dagster as dg
import psutil

from shadow_platform.contracts.errors import RegistryError, UseCaseError
from shadow_platform.contracts.estimator_types import foreign_types

REQUIREMENTS = ("scikit-learn", "numpy", "scipy", "skops")
RUN_TAG, ROOT_TAG, STEP_TAG, PROCESS_TAG = "dagster_run_id", "dagster_root_run_id", "dagster_step", "process"
STATUS_FINISHED, STATUS_FAILED, STATUS_KILLED = "FINISHED", "FAILED", "KILLED"
CLOCK_STEP_S = 5.0
"""A process seems younger than its run by as much as the clock was set back in between."""


class TrainingRun:
    """The open MLflow run of one training step."""

    def __init__(self, mlflow: Any, run_id: str) -> None:
        self._mlflow = mlflow
        self.run_id = run_id
        self.status = STATUS_FINISHED

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log parameters."""
        self._mlflow.log_params(dict(params))

    def log_metrics(self, metrics: Mapping[str, float]) -> None:
        """Log metrics; what is not finite is left out, since MLflow's stores refuse it."""
        self._mlflow.log_metrics({name: value for name, value in metrics.items() if abs(value) < float("inf")})

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags."""
        self._mlflow.set_tags(dict(tags))

    def log_json(self, name: str, value: Any) -> None:
        """Keep a value as JSON artifact ``name``."""
        self._mlflow.log_dict(value, name)

    def log_png(self, name: str, content: bytes) -> None:
        """Keep a picture as artifact ``plots/<name>.png``."""
        self.log_file(f"plots/{name}.png", content)

    def log_file(self, path: str, content: bytes) -> None:
        """Keep a file as artifact ``path``."""
        import tempfile
        from pathlib import Path, PurePosixPath

        artifact = PurePosixPath(path)
        folder = None if artifact.parent == PurePosixPath() else str(artifact.parent)
        with tempfile.TemporaryDirectory() as temporary:
            local = Path(temporary) / artifact.name
            local.write_bytes(content)
            self._mlflow.log_artifact(str(local), folder)

    def log_model(self, estimator: Any) -> str | None:
        """Keep the scikit-learn model in skops format, for people who want to look inside; nothing serves it.

        Returns:
            Why it was not kept, if it holds types that nobody may load; the bundle does not need it.
        """
        try:
            trusted = trusted_types(estimator)
        except UseCaseError as error:
            return f"the fitted model is not kept in MLflow, its bundle is complete without it: {error}"
        self._mlflow.sklearn.log_model(
            estimator,
            name="model",
            serialization_format="skops",
            skops_trusted_types=trusted,
            pip_requirements=[f"{package}=={version(package)}" for package in REQUIREMENTS],
        )
        return None

    def fail(self) -> None:
        """Let the run end as FAILED although the step returns: a blocking check will stop the Dagster run."""
        self.status = STATUS_FAILED


def trusted_types(estimator: Any) -> list[str]:
    """Types in the estimator that skops does not know but we allow; raises ``UseCaseError`` on any that we do not."""
    import skops.io

    content = skops.io.dumps(estimator)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        foreign = foreign_types(json.loads(archive.read("schema.json")))
    if foreign:
        raise UseCaseError(
            f"model {type(estimator).__name__} holds types {', '.join(foreign)}; expected those that "
            "contracts.estimator_types lists; build the model from them, or add a type after a look at what it does "
            "when it is rebuilt"
        )
    types: list[str] = skops.io.get_untrusted_types(data=content)
    return types


@contextmanager
def training_run(
    context: dg.AssetExecutionContext, tracking_uri: str, experiment: str, tags: Mapping[str, str]
) -> Iterator[TrainingRun]:
    """An MLflow run that is FINISHED when the block returns, FAILED when it raises, KILLED when it is interrupted.

    A run whose process was killed cannot close itself: the next training of the experiment ends it as KILLED.

    Args:
        experiment: existing experiment (``MlflowRegistry.experiment``).
        tags: further tags; the Dagster run, root run, step and process are always set.
    """
    import mlflow
    from dagster_mlflow import mlflow_tracking

    client = mlflow.MlflowClient(tracking_uri=tracking_uri)
    mlflow.set_tracking_uri(tracking_uri)
    origin = _origin(context)
    found = mlflow.get_experiment_by_name(experiment)
    if found is None:
        raise RegistryError(
            f"experiment {experiment!r} does not exist in MLflow; create it with MlflowRegistry.experiment"
        )
    experiment_id = found.experiment_id
    _end_stray_runs(mlflow, client, experiment_id, context.instance, origin)
    run_id = client.create_run(experiment_id, tags={**tags, **origin}).info.run_id
    config = {"experiment_name": experiment, "mlflow_tracking_uri": tracking_uri, "mlflow_run_id": run_id}
    status = STATUS_FAILED
    try:
        with dg.build_resources(
            {"mlflow": mlflow_tracking},
            instance=context.instance,
            resource_config={"mlflow": {"config": {**config, "env": {}, "extra_tags": {}}}},
            dagster_run=context.run,
            log_manager=context.log,
        ) as resources:
            # Only now: dagster-mlflow names every run after the Dagster job.
            client.update_run(run_id, name=context.asset_key.path[-1])
            run = TrainingRun(resources.mlflow, run_id)
            yield run
            status = run.status
    except Exception:
        raise
    except BaseException:
        status = STATUS_KILLED
        raise
    finally:
        _close(mlflow, client, run_id, status)


def _origin(context: dg.AssetExecutionContext) -> dict[str, str]:
    """Tags that say whose a run is: Dagster's run, the run it repeats, its step, and the process on its machine."""
    partition = context.partition_key if context.has_partition_key else ""
    return {
        RUN_TAG: context.run.run_id,
        ROOT_TAG: context.run.root_run_id or context.run.run_id,
        STEP_TAG: f"{context.op_execution_context.op_handle}{'@' if partition else ''}{partition}",
        PROCESS_TAG: f"{os.getpid()}@{platform.node()}",
    }


def _end_stray_runs(
    mlflow: Any, client: Any, experiment_id: str, instance: dg.DagsterInstance, origin: Mapping[str, str]
) -> None:
    """End what an earlier step left active in this process, and what nobody works on any more."""
    while mlflow.active_run() is not None:
        mlflow.end_run(STATUS_KILLED)
    where = f"attributes.status = 'RUNNING' and tags.{RUN_TAG} LIKE '%'"
    for run in client.search_runs([experiment_id], filter_string=where):
        if _is_stray(run, instance, origin):
            client.set_terminated(run.info.run_id, STATUS_KILLED)


def _is_stray(run: Any, instance: dg.DagsterInstance, origin: Mapping[str, str]) -> bool:
    """Whether it is an earlier attempt at this step, or its Dagster run or its process has ended."""
    tags: Mapping[str, str] = run.data.tags
    if all(tags.get(name) == origin[name] for name in (ROOT_TAG, STEP_TAG)):
        return True
    dagster_run = instance.get_run_by_id(tags[RUN_TAG])
    if dagster_run is not None and dagster_run.is_finished:
        return True
    pid, _, machine = tags.get(PROCESS_TAG, "").partition("@")
    return machine == platform.node() and not _has_run_since(int(pid), run.info.start_time / 1000)


def _has_run_since(pid: int, moment_s: float) -> bool:
    """Whether the process of that moment still runs; its id may be another's by now."""
    try:
        process = psutil.Process(pid)
        return bool(process.status() != psutil.STATUS_ZOMBIE and process.create_time() <= moment_s + CLOCK_STEP_S)
    except psutil.NoSuchProcess:
        return False


def _close(mlflow: Any, client: Any, run_id: str, status: str) -> None:
    while mlflow.active_run() is not None:
        mlflow.end_run(status)
    # The database may be what failed the step; its error is the one to show.
    with suppress(mlflow.exceptions.MlflowException):
        client.set_terminated(run_id, status)
