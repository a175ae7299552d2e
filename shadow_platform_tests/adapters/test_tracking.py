"""Guarantees of MLflow runs: one a step, closed by the step's outcome, none left behind."""

import dagster as dg
import mlflow
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from shadow_platform.adapters.bundle import bundle_hash
from shadow_platform.adapters.registry import MlflowRegistry
from shadow_platform.adapters.tracking import training_run, trusted_types
from shadow_platform.contracts.errors import RegistryError, UseCaseError


@pytest.fixture(scope="module")
def uri(tmp_path_factory) -> str:
    """Tracking URI of a store with the experiment ``tiny``."""
    home = tmp_path_factory.mktemp("mlflow")
    registry = MlflowRegistry(f"sqlite:///{home / 'mlflow.db'}", home / "artifacts", bundle_hash)
    registry.experiment("tiny")
    return registry.tracking_uri


def _materialize(uri: str, *bodies, experiment: str = "tiny", raise_on_error: bool = True):
    """Run one asset a body; returns the Dagster result and its MLflow runs, oldest first."""

    def make(place: int, body):
        @dg.asset(name=f"model_{place}")
        def model(context: dg.AssetExecutionContext) -> None:
            with training_run(context, uri, experiment, {"role": "champion"}) as run:
                body(run)

        return model

    assets = [make(place, body) for place, body in enumerate(bodies)]
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize(assets, instance=instance, raise_on_error=raise_on_error)
    return result, _runs(uri, f"tags.dagster_run_id = '{result.run_id}'")


def _runs(uri: str, where: str):
    client = mlflow.MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("tiny")
    assert experiment is not None
    return client.search_runs([experiment.experiment_id], filter_string=where, order_by=["attributes.start_time"])


def test_two_steps_of_one_dagster_run_have_a_run_each(uri):
    def log(run):
        run.log_params({"run": run.run_id})
        run.log_metrics({"roc_auc": 0.7, "undefined": float("nan")})
        run.set_tags({"colour": "blue"})
        run.log_json("bundle.json", {"a": 1})
        run.log_png("roc", b"png")

    _, runs = _materialize(uri, log, log)
    assert [run.info.status for run in runs] == ["FINISHED", "FINISHED"]
    assert {run.info.run_name for run in runs} == {"model_0", "model_1"}
    for run in runs:
        assert run.data.params == {"run": run.info.run_id}
        assert run.data.metrics == {"roc_auc": 0.7}
        assert (run.data.tags["colour"], run.data.tags["role"]) == ("blue", "champion")
        client = mlflow.MlflowClient(tracking_uri=uri)
        assert {entry.path for entry in client.list_artifacts(run.info.run_id)} == {"bundle.json", "plots"}
    assert mlflow.active_run() is None


def test_failing_step_leaves_a_failed_run(uri):
    def fail(run):
        run.log_params({"model": "line"})
        raise ValueError("boom")

    result, runs = _materialize(uri, fail, raise_on_error=False)
    assert not result.success
    assert [(run.info.status, run.data.params) for run in runs] == [("FAILED", {"model": "line"})]
    assert mlflow.active_run() is None


def test_interrupted_step_leaves_a_killed_run(uri):
    def interrupt(run):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _materialize(uri, interrupt)
    assert _runs(uri, "attributes.status = 'KILLED'")
    assert not _runs(uri, "attributes.status = 'RUNNING'")


def test_step_that_a_blocking_check_stops_leaves_a_failed_run(uri):
    _, runs = _materialize(uri, lambda run: run.fail())
    assert [run.info.status for run in runs] == ["FAILED"]


def test_run_left_active_in_the_process_is_ended_and_not_resumed(uri):
    mlflow.set_tracking_uri(uri)
    mlflow.set_experiment("tiny")
    stray = mlflow.start_run().info.run_id
    _, runs = _materialize(uri, lambda run: run.log_params({"a": 1}))
    assert [run.info.status for run in runs] == ["FINISHED"]
    assert runs[0].info.run_id != stray
    found = mlflow.get_run(stray)
    assert (found.info.status, found.data.params) == ("KILLED", {})


def test_run_of_a_killed_attempt_is_ended_by_the_next(uri):
    client = mlflow.MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("tiny")
    assert experiment is not None
    left = []

    def attempt(run):
        own = client.get_run(run.run_id).data.tags
        tags = {name: own[name] for name in ("dagster_run_id", "dagster_root_run_id", "dagster_step")}
        left.append(client.create_run(experiment.experiment_id, tags=tags).info.run_id)

    def step(context: dg.AssetExecutionContext) -> None:
        for _ in range(2):
            with training_run(context, uri, "tiny", {}) as run:
                attempt(run)

    with dg.DagsterInstance.ephemeral() as instance:
        dg.materialize([dg.asset(name="model")(step)], instance=instance)
    assert [client.get_run(run_id).info.status for run_id in left] == ["KILLED", "RUNNING"]


def test_experiment_that_does_not_exist_is_named(uri):
    with pytest.raises(RegistryError, match="experiment 'other' does not exist in MLflow"):
        _materialize(uri, print, experiment="other")


@pytest.mark.parametrize(
    "estimator",
    [
        make_pipeline(StandardScaler(), LogisticRegression()),
        HistGradientBoostingClassifier(max_iter=3),
        RandomForestClassifier(3),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_model_is_kept_without_pickle(uri, estimator):
    estimator.fit([[0.0], [1.0]] * 20, [False, True] * 20)
    result, runs = _materialize(uri, lambda run: run.log_model(estimator))
    assert result.success
    client = mlflow.MlflowClient(tracking_uri=uri)
    (model,) = client.search_logged_models([runs[0].info.experiment_id], f"source_run_id = '{runs[0].info.run_id}'")
    kept = {entry.path for entry in client.list_logged_model_artifacts(model.model_id)}
    assert "model.skops" in kept
    assert not {name for name in kept if name.endswith(".pkl")}


class Foreign(LogisticRegression):  # type: ignore[misc]
    """A model of nobody we know."""


def test_model_of_foreign_types_is_refused():
    with pytest.raises(UseCaseError, match=r"holds types .*Foreign; expected types of scikit-learn"):
        trusted_types(Foreign())
