"""One MLflow run per training step, through dagster-mlflow, closed by the outcome of the step (ADR 0003).

Belongs here: opening and closing a run, and what a training logs to it. Does not belong here: versions and aliases
(``adapters.registry``), what is logged (assets). Upstream: the training assets. Downstream: MLflow's UI, the registry.

dagster-mlflow alone leaves runs behind: its exit hook marks every run FINISHED, a failed step too, and a second run in
one process resumes the first. So a run is made here for the step, handed to ``mlflow_tracking`` by its id, and closed
before the resource is torn down.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.metadata import version
from typing import Any

import dagster as dg

from shadow_platform.contracts.errors import RegistryError, UseCaseError

# Types that skops may rebuild; a model that needs others is not ours to load.
# What functools.partial wraps is named, and judged, on its own.
TRUSTED_PREFIXES = ("sklearn.", "numpy.", "scipy.", "functools.partial")
REQUIREMENTS = ("scikit-learn", "numpy", "scipy", "skops")
RUN_TAG, ROOT_TAG, STEP_TAG = "dagster_run_id", "dagster_root_run_id", "dagster_step"
STATUS_FINISHED, STATUS_FAILED, STATUS_KILLED = "FINISHED", "FAILED", "KILLED"


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
        import tempfile
        from pathlib import Path

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{name}.png"
            path.write_bytes(content)
            self._mlflow.log_artifact(str(path), "plots")

    def log_model(self, estimator: Any) -> None:
        """Keep the scikit-learn model in skops format, for people who want to look inside; nothing serves it."""
        self._mlflow.sklearn.log_model(
            estimator,
            name="model",
            serialization_format="skops",
            skops_trusted_types=trusted_types(estimator),
            pip_requirements=[f"{package}=={version(package)}" for package in REQUIREMENTS],
        )

    def fail(self) -> None:
        """Let the run end as FAILED although the step returns: a blocking check will stop the Dagster run."""
        self.status = STATUS_FAILED


def trusted_types(estimator: Any) -> list[str]:
    """Types in the estimator that skops does not know but we allow; raises ``UseCaseError`` on any other."""
    import skops.io

    types: list[str] = skops.io.get_untrusted_types(data=skops.io.dumps(estimator))
    foreign = [name for name in types if not name.startswith(TRUSTED_PREFIXES)]
    if foreign:
        raise UseCaseError(
            f"model {type(estimator).__name__} holds types {', '.join(foreign)}; expected types of scikit-learn, numpy "
            "and scipy only; build the model from those"
        )
    return types


@contextmanager
def training_run(
    context: dg.AssetExecutionContext, tracking_uri: str, experiment: str, tags: Mapping[str, str]
) -> Iterator[TrainingRun]:
    """An MLflow run that is FINISHED when the block returns, FAILED when it raises, KILLED when it is interrupted.

    Args:
        experiment: existing experiment (``MlflowRegistry.experiment``).
        tags: further tags; the Dagster run, root run and step are always set.
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
    _end_stray_runs(mlflow, client, experiment_id, origin)
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
    partition = context.partition_key if context.has_partition_key else ""
    return {
        RUN_TAG: context.run.run_id,
        ROOT_TAG: context.run.root_run_id or context.run.run_id,
        STEP_TAG: f"{context.op_execution_context.op_handle}{'@' if partition else ''}{partition}",
    }


def _end_stray_runs(mlflow: Any, client: Any, experiment_id: str, origin: Mapping[str, str]) -> None:
    """End what an earlier step left active in this process, and what an attempt at this step left RUNNING."""
    while mlflow.active_run() is not None:
        mlflow.end_run(STATUS_KILLED)
    same_step = f"tags.{ROOT_TAG} = '{origin[ROOT_TAG]}' and tags.{STEP_TAG} = '{origin[STEP_TAG]}'"
    for run in client.search_runs([experiment_id], filter_string=f"attributes.status = 'RUNNING' and {same_step}"):
        client.set_terminated(run.info.run_id, STATUS_KILLED)


def _close(mlflow: Any, client: Any, run_id: str, status: str) -> None:
    while mlflow.active_run() is not None:
        mlflow.end_run(status)
    # The database may be what failed the step; its error is the one to show.
    with suppress(mlflow.exceptions.MlflowException):
        client.set_terminated(run_id, status)
