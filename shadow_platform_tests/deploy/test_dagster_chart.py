"""Values for Dagster's official chart: what Dagster itself accepts, and what fits the manifests around it.

Belongs here: values files. Does not belong here: the chart's templates, which nothing here renders: ``dagster_chart``
writes what they make of the values. Downstream: ``deploy/helm``.
"""

import re
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import sqlalchemy
import yaml
from dagster._config import process_config, resolve_to_config_type
from dagster._core.errors import DagsterInvalidConfigError
from dagster_k8s.container_context import K8sContainerContext
from dagster_postgres.run_storage import PostgresRunStorage
from dagster_postgres.utils import pg_url_from_config

from shadow_platform.automation.cluster_launcher import ClusterRunLauncher
from shadow_platform.settings import Settings
from shadow_platform.telemetry.run_logs import RunLogHandler
from shadow_platform_tests.deploy.dagster_chart import STORAGES, instance_file, snake
from shadow_platform_tests.deploy.manifests import OVERLAYS, Object, named, of_kind, overlay, pods, selects
from shadow_platform_tests.sources import REPOSITORY

HELM = REPOSITORY / "deploy" / "helm"
LABEL = "shadow-platform/part"

each_environment = pytest.mark.parametrize("name", OVERLAYS)


def _values(*files: str) -> Object:
    merged: Object = {}
    for file in files:
        merged = _merge(merged, yaml.safe_load((HELM / f"{file}.yaml").read_text(encoding="utf-8")))
    return merged


def _merge(below: Any, above: Any) -> Any:
    if not (isinstance(below, dict) and isinstance(above, dict)):
        return above
    return {**below, **{key: _merge(below[key], value) if key in below else value for key, value in above.items()}}


def _of(name: str) -> Object:
    return _values("dagster-values", f"dagster-values-{name}")


def _launcher(values: Object) -> Object:
    found: Object = values["runLauncher"]["config"]["customRunLauncher"]
    return found


def _on_one_machine() -> Object:
    found: Object = yaml.safe_load((REPOSITORY / "shadow_platform" / "dagster.yaml").read_text(encoding="utf-8"))
    return found


def _in(folder: Path, written: Object) -> Object:
    """An instance's file without servers, that writes into a folder."""
    local = {key: value for key, value in written.items() if key not in STORAGES}
    for part in ("compute_logs", "local_artifact_storage"):
        local[part] = {**local[part], "config": {"base_dir": str(folder)}}
    (folder / "dagster.yaml").write_text(yaml.safe_dump(local), encoding="utf-8")
    return local


def _parts(values: Object) -> list[Object]:
    (code,) = values["dagster-user-deployments"]["deployments"]
    return [values["dagsterWebserver"], values["dagsterDaemon"], code]


@each_environment
def test_dagster_starts_with_the_file_that_the_chart_writes(name: str, tmp_path: Path) -> None:
    written, here = instance_file(_of(name)), _on_one_machine()
    _in(tmp_path, written)
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        runs = instance.get_concurrency_config().run_queue_config
        assert any(isinstance(handler, RunLogHandler) for handler in instance.get_handlers())
        assert instance.run_retries_retry_on_asset_or_op_failure is False
    assert runs is not None
    assert runs.max_concurrent_runs == here["concurrency"]["runs"]["max_concurrent_runs"]

    twice = {**written["run_coordinator"], "config": {"max_concurrent_runs": 4}}
    _in(tmp_path, {**written, "run_coordinator": twice})
    with pytest.raises(DagsterInvalidConfigError, match="incompatible"):
        dg.DagsterInstance.from_config(str(tmp_path))


@each_environment
def test_storage_is_opened_by_the_driver_that_dagster_is_written_for(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_PG_PASSWORD", "secret")
    written = instance_file(_of(name))
    for part in STORAGES:
        read = process_config(resolve_to_config_type(PostgresRunStorage.config_type()), written[part]["config"])
        assert read.success, read.errors
        assert read.value is not None
        url = sqlalchemy.make_url(pg_url_from_config(read.value))
        assert (url.get_dialect().driver, url.query["sslmode"]) == ("psycopg2", "require")
        assert sqlalchemy.make_url(f"postgresql://{url.host}").get_dialect().driver != "psycopg2"


@each_environment
def test_dagster_accepts_how_runs_are_launched(name: str) -> None:
    launcher = _launcher(_of(name))
    schema = resolve_to_config_type(ClusterRunLauncher.config_type())

    assert (launcher["module"], launcher["class"]) == (ClusterRunLauncher.__module__, ClusterRunLauncher.__name__)
    assert process_config(schema, launcher["config"]).success
    assert process_config(schema, {**launcher["config"], "envSecrets": []}).errors


@each_environment
def test_the_launcher_says_of_the_release_what_the_chart_would_say(name: str) -> None:
    values = _of(name)
    config, known = _launcher(values)["config"], values["global"]
    applications = yaml.safe_load_all((REPOSITORY / "deploy" / "argocd" / "dagster.yaml").read_text(encoding="utf-8"))
    release = (REPOSITORY / ".github" / "scripts" / "release-dagster").read_text(encoding="utf-8")
    (release_name,) = {source["helm"]["releaseName"] for a in applications for source in a["spec"]["sources"][:1]}

    assert f"--install {release_name} dagster" in release
    assert config["instance_config_map"] == f"{release_name}-instance"
    assert config["job_namespace"] == f"ml-{name}"
    assert config["dagster_home"] == known["dagsterHome"]
    assert config["service_account_name"] == known["serviceAccountName"]
    assert config["postgres_password_secret"] == known["postgresqlSecretName"]


@each_environment
def test_runs_get_what_the_code_server_has(name: str) -> None:
    values = _of(name)
    config = _launcher(values)["config"]
    for part in _parts(values):
        for key in ("volumes", "volumeMounts", "labels", "securityContext"):
            assert part[key] == config[snake(key)], key
        for key in ("envConfigMaps", "envSecrets"):
            assert [entry["name"] for entry in part[key]] == config[snake(key)], key
        assert [f"{key}={value}" for key, value in part["env"].items()] == config["env_vars"]
        assert part["podSecurityContext"] == config["run_k8s_config"]["pod_spec_config"]["securityContext"]


@each_environment
def test_a_run_may_take_what_the_launcher_grants_it(name: str) -> None:
    """The chart hands on the code server's configuration, resources too, where that is switched on; it would win."""
    values = _of(name)
    launcher = K8sContainerContext.create_from_config({"k8s": _context(_launcher(values)["config"])})
    code = _parts(values)[2]
    if code["includeConfigInLaunchedRuns"]["enabled"]:
        launcher = launcher.merge(K8sContainerContext.create_from_config({"k8s": {"resources": code["resources"]}}))

    assert launcher.run_k8s_config.container_config["resources"]["limits"] == {"cpu": "2000m", "memory": "4Gi"}


def _context(config: Object) -> Object:
    """What of the launcher's configuration is about a run's container."""
    return {key: config[key] for key in ("resources", "env_config_maps", "env_secrets", "volumes", "volume_mounts")}


@each_environment
def test_the_instance_behaves_as_on_one_machine(name: str) -> None:
    written, local = instance_file(_of(name)), _on_one_machine()

    assert written["run_monitoring"].pop("start_timeout_seconds") > local["run_monitoring"].pop("start_timeout_seconds")
    assert written["run_coordinator"]["config"].items() >= local["run_coordinator"]["config"].items()
    assert written["run_coordinator"]["class"] == local["run_coordinator"]["class"]
    assert written["retention"]["sensor"]["purge_after_days"].items() >= (
        local["retention"]["sensor"]["purge_after_days"].items()
    )
    for part in ("run_monitoring", "concurrency", "run_retries", "python_logs", "telemetry", "nux"):
        assert written[part] == local[part], part


@each_environment
def test_the_web_server_is_asked_where_it_listens(name: str) -> None:
    """The chart's own probe asks on port 80, also where the server listens elsewhere."""
    web = _of(name)["dagsterWebserver"]

    assert web["readinessProbe"] == {"httpGet": {"path": "/server_info", "port": web["service"]["port"]}}


@each_environment
def test_what_the_chart_refers_to_is_in_the_manifests(name: str) -> None:
    values, objects = _of(name), overlay(name)
    claims = {found["metadata"]["name"] for found in of_kind(objects, "PersistentVolumeClaim")}
    account = named(objects, "ServiceAccount", values["serviceAccount"]["name"])
    image = next(c["image"] for pod in pods(objects) for c in pod.containers if "/platform:" in c["image"])
    policy = named(objects, "NetworkPolicy", "dagster")["spec"]
    let_in = {rule["port"] for entry in policy["ingress"] for rule in entry["ports"]}
    (code,) = values["dagster-user-deployments"]["deployments"]

    assert account["metadata"]["name"] == values["global"]["serviceAccountName"]
    assert (values["rbacEnabled"], values["serviceAccount"]["create"]) == (False, False)
    assert values["dagster-user-deployments"]["rbacEnabled"] is False
    assert {values["dagsterWebserver"]["service"]["port"], code["port"]} == let_in
    for part in _parts(values):
        named(objects, "ConfigMap", part["envConfigMaps"][0]["name"])
        assert selects(policy["podSelector"], part["labels"])
        assert f"{part['image']['repository']}:{part['image']['tag']}" == image
        wanted = {v["persistentVolumeClaim"]["claimName"] for v in part["volumes"] if "persistentVolumeClaim" in v}
        assert wanted <= claims


@each_environment
def test_dagsters_pods_are_as_confined_as_the_others(name: str) -> None:
    values = _of(name)
    like = next(pod for pod in pods(overlay(name)) if pod.name == "Deployment/shadow-exporter")
    (container,) = like.containers
    for part in _parts(values):
        assert part["podSecurityContext"] == like.spec["securityContext"]
        assert part["securityContext"].items() <= container["securityContext"].items()
        assert part["resources"]["requests"].keys() == part["resources"]["limits"].keys() == {"cpu", "memory"}
        assert part["volumeMounts"] == sorted(container["volumeMounts"], key=part["volumeMounts"].index)
        assert part["env"] == {"SHADOW_HOME": "/var/lib/shadow"}
    written = [
        values["computeLogManager"]["config"]["customComputeLogManager"]["config"]["base_dir"],
        values["additionalInstanceConfig"]["local_artifact_storage"]["config"]["base_dir"],
    ]
    assert all(path.startswith("/var/lib/shadow/") for path in written)


@each_environment
def test_no_password_stands_in_the_values(name: str) -> None:
    values = _of(name)
    text = "".join(path.read_text() for path in HELM.glob("*.yaml"))

    assert "postgresqlPassword" not in text
    assert (values["generatePostgresqlPasswordSecret"], values["postgresql"]["enabled"]) == (False, False)
    assert values["postgresql"]["postgresqlParams"] == {"sslmode": "require"}
    assert not {key for part in _parts(values) for key in part["env"]} - {f.upper() for f in Settings.model_fields}


def test_celery_has_the_launcher_and_the_queue_that_steps_go_to() -> None:
    values = _values("dagster-values", "dagster-values-production", "dagster-values-celery")
    config = values["runLauncher"]["config"]["celeryK8sRunLauncher"]
    code = _parts(values)[2]

    assert values["runLauncher"]["type"] == "CeleryK8sRunLauncher"
    assert [queue["name"] for queue in config["workerQueues"]] == ["dagster"]
    assert [queue["labels"] for queue in config["workerQueues"]] == [code["labels"]]
    assert (values["redis"]["enabled"], values["rabbitmq"]["enabled"]) == (True, False)
    for key in ("envConfigMaps", "envSecrets", "volumes", "volumeMounts", "labels", "securityContext"):
        assert config[key] == code[key], key


def test_versions_of_the_chart_follow_the_locked_dagster() -> None:
    locked = re.search(r"^dagster==([\d.]+)", (REPOSITORY / "requirements.lock").read_text(), re.MULTILINE)
    application = (REPOSITORY / "deploy" / "argocd" / "dagster.yaml").read_text()
    celery = _values("dagster-values-celery")["runLauncher"]["config"]["celeryK8sRunLauncher"]["image"]["tag"]

    assert locked is not None
    assert set(re.findall(r"chart: dagster\n\s+targetRevision: ([\d.]+)", application)) == {locked[1]}
    assert celery == locked[1]
