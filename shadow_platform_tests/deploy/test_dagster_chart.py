"""Values for Dagster's official chart: what Dagster itself accepts, and what fits the manifests around it.

Belongs here: values files. Does not belong here: the chart's templates, which nothing here renders: the mapping from
the chart's names to Dagster's configuration is written down below as the chart makes it. Downstream: ``deploy/helm``.
"""

import re
from typing import Any

import pytest
import yaml
from dagster._config import process_config, resolve_to_config_type
from dagster_k8s import K8sRunLauncher
from dagster_k8s.container_context import K8sContainerContext

from shadow_platform.settings import Settings
from shadow_platform_tests.deploy.manifests import OVERLAYS, Object, named, of_kind, overlay, pods, selects
from shadow_platform_tests.sources import REPOSITORY

HELM = REPOSITORY / "deploy" / "helm"
LABEL = "shadow-platform/part"
TEMPLATES = {"containerConfig", "podTemplateSpecMetadata", "podSpecConfig", "jobSpecConfig", "jobMetadata"}

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


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


def _launcher_config(values: Object) -> Object:
    """Configuration of the launcher as the chart writes it into ``dagster.yaml``."""
    given = values["runLauncher"]["config"]["k8sRunLauncher"]
    config = {_snake(key): value for key, value in given.items()}
    config["env_config_maps"] = [entry["name"] for entry in given["envConfigMaps"]]
    config["env_secrets"] = [entry["name"] for entry in given["envSecrets"]]
    config["run_k8s_config"] = {_snake(key): value for key, value in given["runK8sConfig"].items()}
    return {
        **config,
        "service_account_name": values["global"]["serviceAccountName"],
        "instance_config_map": "dagster-instance",
        "postgres_password_secret": values["global"]["postgresqlSecretName"],
    }


def _parts(values: Object) -> list[Object]:
    (code,) = values["dagster-user-deployments"]["deployments"]
    return [values["dagsterWebserver"], values["dagsterDaemon"], code]


@each_environment
def test_dagster_accepts_how_runs_are_launched(name: str) -> None:
    config = _launcher_config(_of(name))
    schema = resolve_to_config_type(K8sRunLauncher.config_type())

    assert process_config(schema, config).success
    assert _of(name)["runLauncher"]["config"]["k8sRunLauncher"]["runK8sConfig"].keys() <= TEMPLATES
    assert process_config(schema, {**config, "envSecrets": []}).errors


@each_environment
def test_runs_get_what_the_code_server_has(name: str) -> None:
    values = _of(name)
    launcher = values["runLauncher"]["config"]["k8sRunLauncher"]
    for part in _parts(values):
        for key in ("envConfigMaps", "envSecrets", "volumes", "volumeMounts", "labels", "securityContext"):
            assert part[key] == launcher[key], key
        assert [f"{key}={value}" for key, value in part["env"].items()] == launcher["envVars"]
        assert part["podSecurityContext"] == launcher["runK8sConfig"]["podSpecConfig"]["securityContext"]


@each_environment
def test_a_run_may_take_what_the_launcher_grants_it(name: str) -> None:
    """The chart hands on the code server's configuration, resources too, where that is switched on; it would win."""
    values = _of(name)
    launcher = K8sContainerContext.create_from_config({"k8s": _context(_launcher_config(values))})
    code = _parts(values)[2]
    if code["includeConfigInLaunchedRuns"]["enabled"]:
        launcher = launcher.merge(K8sContainerContext.create_from_config({"k8s": {"resources": code["resources"]}}))

    assert launcher.run_k8s_config.container_config["resources"]["limits"] == {"cpu": "2000m", "memory": "4Gi"}


def _context(config: Object) -> Object:
    """What of the launcher's configuration is about a run's container."""
    return {key: config[key] for key in ("resources", "env_config_maps", "env_secrets", "volumes", "volume_mounts")}


@each_environment
def test_the_instance_behaves_as_on_one_machine(name: str) -> None:
    values, local = _of(name), yaml.safe_load((REPOSITORY / "shadow_platform" / "dagster.yaml").read_text())
    daemon = values["dagsterDaemon"]
    monitoring = {_snake(key): value for key, value in daemon["runMonitoring"].items()}
    coordinator = daemon["runCoordinator"]["config"]["queuedRunCoordinator"]
    pools = {_snake(key): value for key, value in values["concurrency"]["pools"].items()}

    assert monitoring.pop("start_timeout_seconds") > local["run_monitoring"].pop("start_timeout_seconds")
    assert monitoring == local["run_monitoring"]
    assert daemon["runCoordinator"]["type"] == local["run_coordinator"]["class"]
    assert coordinator["maxConcurrentRuns"] == local["concurrency"]["runs"]["max_concurrent_runs"]
    assert coordinator["dequeueIntervalSeconds"] == local["run_coordinator"]["config"]["dequeue_interval_seconds"]
    assert pools == local["concurrency"]["pools"]
    assert daemon["runRetries"]["maxRetries"] == local["run_retries"]["max_retries"]
    assert values["retention"]["sensor"]["purgeAfterDays"] == local["retention"]["sensor"]["purge_after_days"]
    assert (values["telemetry"], values["additionalInstanceConfig"]["nux"]) == (local["telemetry"], local["nux"])


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
