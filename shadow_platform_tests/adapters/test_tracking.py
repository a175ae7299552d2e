"""Guarantees of MLflow runs: one a step, closed by the step's outcome, none left behind."""

import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path

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
from shadow_platform_tests.forked import ended, started


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


def test_each_dagster_run_of_one_process_has_runs_of_its_own(uri):
    def fail(run):
        run.log_params({"seed": 1})
        raise ValueError("boom")

    _, first = _materialize(uri, fail, raise_on_error=False)
    _, second = _materialize(uri, lambda run: run.log_params({"seed": 2}))
    assert [(run.info.status, run.data.params) for run in (*first, *second)] == [
        ("FAILED", {"seed": "1"}),
        ("FINISHED", {"seed": "2"}),
    ]


def test_each_attempt_at_a_step_has_a_run_of_its_own_outcome(uri):
    attempts = []

    @dg.asset(retry_policy=dg.RetryPolicy(max_retries=1))
    def model(context: dg.AssetExecutionContext) -> None:
        with training_run(context, uri, "tiny", {}) as run:
            attempts.append(run.run_id)
            if len(attempts) == 1:
                raise ValueError("boom")

    with dg.DagsterInstance.ephemeral() as instance:
        assert dg.materialize([model], instance=instance).success
    client = mlflow.MlflowClient(tracking_uri=uri)
    assert [client.get_run(run_id).info.status for run_id in attempts] == ["FAILED", "FINISHED"]


def _ended_process() -> int:
    return int(subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], stdout=-1, check=True).stdout)


@pytest.mark.parametrize(
    ("left_by", "status"),
    [
        ("a process that is gone", "KILLED"),
        ("a process whose id is another's now", "KILLED"),
        ("a Dagster run that has ended", "KILLED"),
        ("a process that is at work", "RUNNING"),
        ("a machine that nothing is known of", "RUNNING"),
    ],
)
def test_next_training_ends_the_runs_that_nobody_works_on(uri, left_by, status):
    client = mlflow.MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("tiny")
    assert experiment is not None
    model = dg.asset(name="model")(lambda context: None)
    here, started_ms = f"@{platform.node()}", int(time.time() * 1000)

    @dg.asset
    def next_model(context: dg.AssetExecutionContext) -> None:
        with training_run(context, uri, "tiny", {}):
            pass

    with dg.DagsterInstance.ephemeral() as instance:
        before = dg.materialize([model], instance=instance).run_id
        dagster_run, process, start = {
            "a process that is gone": ("unknown", f"{_ended_process()}{here}", started_ms),
            "a process whose id is another's now": ("unknown", f"{os.getpid()}{here}", started_ms - 86_400_000),
            "a Dagster run that has ended": (before, "1@elsewhere", started_ms),
            "a process that is at work": ("unknown", f"{os.getpid()}{here}", started_ms),
            "a machine that nothing is known of": ("unknown", "1@elsewhere", started_ms),
        }[left_by]
        tags = {"dagster_run_id": dagster_run, "process": process}
        left = client.create_run(experiment.experiment_id, start_time=start, tags=tags).info.run_id
        dg.materialize([next_model], instance=instance)

    assert client.get_run(left).info.status == status


def job_of_two():
    """Two trainings that wait for each other; what they then do, and where, is in the tags of the Dagster run."""

    def make(name: str, other: str) -> dg.AssetsDefinition:
        @dg.asset(name=name)
        def model(context: dg.AssetExecutionContext) -> None:
            folder, tags = Path(context.run.tags["folder"]), context.run.tags
            with training_run(context, tags["uri"], "tiny", {"role": name}):
                (folder / name).touch()
                while not (folder / other).exists():
                    time.sleep(0.05)
                if tags[name] == "fail":
                    raise ValueError("boom")
                while tags[name] == "wait":
                    time.sleep(0.05)

        return model

    assets = [make("champion", "challenger"), make("challenger", "champion")]
    job = dg.define_asset_job("two", executor_def=dg.multiprocess_executor)
    return dg.Definitions(assets=assets, jobs=[job]).resolve_job_def("two")


FORKED = {"max_concurrent": 2, "start_method": {"forkserver": {"preload_modules": ["mlflow", "dagster_mlflow"]}}}


def _execute_both(folder: Path, uri: str, what: dict[str, str]) -> None:
    (folder / "dagster").mkdir()
    with dg.DagsterInstance.local_temp(str(folder / "dagster")) as instance:
        dg.execute_job(
            dg.reconstructable(job_of_two),
            instance=instance,
            run_config={"execution": {"config": FORKED}},
            tags={"folder": str(folder), "uri": uri, **what},
        )


def _statuses(uri: str, folder: Path) -> dict[str, str]:
    """Status by role of the runs of the only Dagster run in the folder."""
    with dg.DagsterInstance.local_temp(str(folder / "dagster")) as instance:
        (dagster_run,) = instance.get_runs()
    runs = _runs(uri, f"tags.dagster_run_id = '{dagster_run.run_id}'")
    assert len(runs) == 2
    return {run.data.tags["role"]: run.info.status for run in runs}


@pytest.mark.processes
def test_steps_that_run_at_the_same_time_end_their_own_runs(uri, tmp_path):
    assert ended(started(_execute_both, tmp_path, uri, {"champion": "finish", "challenger": "fail"})) == 0
    assert _statuses(uri, tmp_path) == {"champion": "FINISHED", "challenger": "FAILED"}


@pytest.mark.processes
def test_steps_that_are_interrupted_at_the_same_time_leave_killed_runs(uri, tmp_path):
    process = started(_execute_both, tmp_path, uri, {"champion": "wait", "challenger": "wait"})
    _interrupt_once(process, lambda: (tmp_path / "champion").exists() and (tmp_path / "challenger").exists())
    assert _statuses(uri, tmp_path) == {"champion": "KILLED", "challenger": "KILLED"}


def _wait_in_a_step(folder: Path, uri: str) -> None:
    @dg.asset
    def model(context: dg.AssetExecutionContext) -> None:
        with training_run(context, uri, "tiny", {}) as run:
            (folder / "run").write_text(run.run_id)
            while True:
                time.sleep(0.05)

    with dg.DagsterInstance.ephemeral() as instance:
        dg.materialize([model], instance=instance)


@pytest.mark.processes
def test_step_that_is_interrupted_leaves_a_killed_run(uri, tmp_path):
    process = started(_wait_in_a_step, tmp_path, uri)
    _interrupt_once(process, lambda: (tmp_path / "run").exists() and (tmp_path / "run").read_text() != "")
    client = mlflow.MlflowClient(tracking_uri=uri)
    assert client.get_run((tmp_path / "run").read_text()).info.status == "KILLED"


def _interrupt_once(process, condition):
    """Do to a process what Dagster does when a person terminates its run."""
    while not condition():
        assert process.is_alive()
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGINT)
    assert ended(process) is not None


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
    with pytest.raises(UseCaseError, match=r"holds types .*Foreign \(ObjectNode\); expected those that contracts"):
        trusted_types(Foreign())
