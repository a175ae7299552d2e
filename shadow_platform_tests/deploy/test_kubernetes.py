"""The cluster's manifests: valid to the last field, and what a careful reader would ask of each object.

Belongs here: schemas, and rules about workloads. Does not belong here: rendering (manifests), what they are told
(test_kubernetes_settings), who may talk to them (test_kubernetes_network).
"""

import re
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest
import yaml

from shadow_platform_tests.deploy.commands import unknown_words
from shadow_platform_tests.deploy.manifests import (
    FOLDERS,
    K8S,
    OPERATOR_KINDS,
    Object,
    named,
    of_kind,
    overlay,
    overlay_with,
    pods,
    rendered,
    selects,
)

CLUSTERS = ("1.30", "1.37")
"""Oldest release the manifests are for (an autoscaler by container), and the newest with a schema here."""
OWN_IMAGES = ("shadow-platform/serving", "shadow-platform/platform")

each_overlay = pytest.mark.parametrize("name", FOLDERS)


def _name(found: Object) -> str:
    return f"{found['kind']}/{found['metadata']['name']}"


@pytest.mark.parametrize("version", CLUSTERS)
@pytest.mark.parametrize("folder", ["base", *FOLDERS.values()])
def test_every_object_is_valid_for_the_oldest_and_the_newest_cluster(folder: str, version: str) -> None:
    objects = rendered(folder)
    for found in objects:
        schema = OPERATOR_KINDS.get((found["apiVersion"], found["kind"]))
        if schema is None:
            kubernetes_validate.validate(found, version, strict=True)
        else:
            jsonschema.validate(found, schema)

    assert len({_name(found) for found in objects}) == len(objects)


def test_a_field_that_kubernetes_does_not_know_is_refused() -> None:
    deployment = {**named(rendered("base"), "Deployment", "predictor")}
    deployment["spec"] = {**deployment["spec"], "replica": 3}

    with pytest.raises(kubernetes_validate.ValidationError, match="replica"):
        kubernetes_validate.validate(deployment, CLUSTERS[0], strict=True)


@each_overlay
def test_everything_lies_in_one_namespace(name: str) -> None:
    objects = overlay(name)
    (namespace,) = of_kind(objects, "Namespace")

    assert namespace["metadata"]["name"] == f"ml-{name}"
    assert {o["metadata"]["namespace"] for o in objects if o["kind"] != "Namespace"} == {f"ml-{name}"}
    assert {s["namespace"] for o in of_kind(objects, "RoleBinding") for s in o["subjects"]} == {f"ml-{name}"}


@each_overlay
def test_containers_run_as_nobody_and_can_change_nothing_of_their_image(name: str) -> None:
    for pod in pods(overlay(name)):
        rules = pod.spec["securityContext"]
        assert (rules["runAsNonRoot"], rules["runAsUser"], rules["runAsGroup"]) == (True, 10001, 10001), pod.name
        assert rules["seccompProfile"] == {"type": "RuntimeDefault"}, pod.name
        assert pod.spec["automountServiceAccountToken"] is False, pod.name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.spec.keys(), pod.name
        assert not [v for v in pod.spec["volumes"] if "hostPath" in v], pod.name
        for container in pod.every_container:
            own = container["securityContext"]
            assert own["allowPrivilegeEscalation"] is False, container["name"]
            assert (own["readOnlyRootFilesystem"], own["privileged"]) == (True, False), container["name"]
            assert own["capabilities"] == {"drop": ["ALL"]}, container["name"]


@each_overlay
def test_every_container_says_what_it_needs_and_may_take(name: str) -> None:
    for pod in pods(overlay(name)):
        for container in pod.every_container:
            asked, most = container["resources"]["requests"], container["resources"]["limits"]
            assert asked.keys() == most.keys() == {"cpu", "memory"}, container["name"]


@each_overlay
def test_the_predictor_is_as_large_and_as_many_as_was_agreed(name: str) -> None:
    objects = overlay(name)
    deployment = named(objects, "Deployment", "predictor")
    (predictor,) = deployment["spec"]["template"]["spec"]["containers"]
    budget, scaler = named(objects, "PodDisruptionBudget", "predictor"), _scaler(objects)

    assert scaler["minReplicas"] == 3
    assert scaler["maxReplicas"] == (4 if name == "staging" else 10)
    assert predictor["resources"]["requests"] == {"cpu": "250m", "memory": "512Mi"}
    assert predictor["resources"]["limits"] == {"cpu": "1000m", "memory": "1Gi"}
    assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    assert budget["spec"]["minAvailable"] == 2


@each_overlay
def test_a_deployment_never_undoes_what_the_autoscaler_decided(name: str) -> None:
    """A number in the manifest would be a conflict of owners at the next apply, or cut ten pods to three."""
    for scaler in of_kind(overlay(name), "HorizontalPodAutoscaler"):
        target = scaler["spec"]["scaleTargetRef"]
        assert "replicas" not in named(overlay(name), target["kind"], target["name"])["spec"]


def _scaler(objects: tuple[Object, ...]) -> Object:
    spec: Object = named(objects, "HorizontalPodAutoscaler", "predictor")["spec"]
    return spec


@each_overlay
def test_the_autoscaler_looks_at_containers_and_a_metric_that_exist(name: str) -> None:
    objects = overlay(name)
    scaler = _scaler(objects)
    target = named(objects, scaler["scaleTargetRef"]["kind"], scaler["scaleTargetRef"]["name"])
    containers = {c["name"] for c in target["spec"]["template"]["spec"]["containers"]}
    shares = {
        m["containerResource"]["name"]: m["containerResource"]["target"]["averageUtilization"]
        for m in scaler["metrics"]
        if m["type"] == "ContainerResource" and m["containerResource"]["container"] in containers
    }
    pods_metrics = [m["pods"] for m in scaler["metrics"] if m["type"] == "Pods"]
    adapter = yaml.safe_load((K8S / "examples" / "prometheus-adapter-values.yaml").read_text())
    (rule,) = adapter["rules"]["custom"]
    answers = {
        "metric": {"name": rule["name"]["as"]},
        "target": {"type": "AverageValue", "averageValue": "1000"},
    }

    assert shares == {"cpu": 70, "memory": 80}
    assert pods_metrics == ([] if name == "staging" else [answers])
    assert rule["seriesQuery"].partition("{")[0] in _series()


def _series() -> set[str]:
    from shadow_platform.contracts.metrics import by_series

    return set(by_series())


@each_overlay
def test_containers_that_keep_running_are_watched(name: str) -> None:
    for pod in pods(overlay(name)):
        for container in pod.containers:
            ports = {port["name"] for port in container["ports"]}
            wanted = {"startupProbe", "livenessProbe"} | ({"readinessProbe"} & {*container})
            assert wanted <= container.keys(), f"{pod.name} {container['name']}"
            for probe in wanted:
                asked = container[probe].get("httpGet") or container[probe]["tcpSocket"]
                assert asked["port"] in ports, f"{pod.name} {container['name']} {probe}"
        assert all("readinessProbe" in container for container in pod.spec["containers"]), pod.name


def test_a_pod_without_a_model_is_not_killed_for_it() -> None:
    (predictor,) = named(rendered("base"), "Deployment", "predictor")["spec"]["template"]["spec"]["containers"]
    paths = {probe: predictor[probe]["httpGet"]["path"] for probe in predictor if probe.endswith("Probe")}

    assert paths == {"startupProbe": "/health", "livenessProbe": "/health", "readinessProbe": "/ready"}


def test_what_a_predictor_logged_last_is_relayed_before_its_pod_ends() -> None:
    from bento.serve import STOP_TIMEOUT_S

    pod = named(rendered("base"), "Deployment", "predictor")["spec"]["template"]["spec"]
    (relay,) = pod["initContainers"]
    (predictor,) = pod["containers"]
    mounts = [{m["name"]: m["mountPath"] for m in container["volumeMounts"]} for container in (relay, predictor)]
    drained_s = predictor["lifecycle"]["preStop"]["sleep"]["seconds"] + STOP_TIMEOUT_S

    assert relay["restartPolicy"] == "Always"
    assert relay["command"] == ["shadow", "log", "relay"]
    assert mounts[0] == mounts[1]
    assert pod["terminationGracePeriodSeconds"] >= drained_s + 20


@each_overlay
def test_images_are_ours_and_pinned(name: str) -> None:
    for pod in pods(overlay(name)):
        for container in pod.every_container:
            image, _, tag = container["image"].rpartition(":")
            assert image.endswith(OWN_IMAGES), container["image"]
            assert re.fullmatch(r"\d+\.\d+\.\d+", tag), container["image"]


@each_overlay
def test_selectors_choose_their_own_pods_and_no_others(name: str) -> None:
    objects = overlay(name)
    for owner in of_kind(objects, "Deployment"):
        chosen = [pod.name for pod in pods(objects) if selects(owner["spec"]["selector"], pod.labels)]
        assert chosen == [_name(owner)]
    for service in of_kind(objects, "Service"):
        (pod,) = [p for p in pods(objects) if selects({"matchLabels": service["spec"]["selector"]}, p.labels)]
        ports = {port["name"] for c in pod.containers for port in c["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports, service["metadata"]["name"]
    for budget in of_kind(objects, "PodDisruptionBudget"):
        (pod,) = [p for p in pods(objects) if selects(budget["spec"]["selector"], p.labels)]
        assert pod.owner["metadata"]["name"] == _scaler(objects)["scaleTargetRef"]["name"]
        assert budget["spec"]["minAvailable"] < _scaler(objects)["minReplicas"]
    for pod in pods(objects):
        for spread in pod.spec.get("topologySpreadConstraints", []):
            assert selects(spread["labelSelector"], pod.labels)


@each_overlay
def test_volumes_and_accounts_that_are_named_exist(name: str) -> None:
    objects = overlay(name)
    claims = {found["metadata"]["name"] for found in of_kind(objects, "PersistentVolumeClaim")}
    accounts = {found["metadata"]["name"] for found in of_kind(objects, "ServiceAccount")}
    for pod in pods(objects):
        volumes = {volume["name"]: volume for volume in pod.spec["volumes"]}
        mounted = [mount for container in pod.every_container for mount in container["volumeMounts"]]
        assert {mount["name"] for mount in mounted} == volumes.keys(), pod.name
        assert pod.spec["serviceAccountName"] in accounts, pod.name
        wanted = {v["persistentVolumeClaim"]["claimName"] for v in volumes.values() if "persistentVolumeClaim" in v}
        assert wanted <= claims, pod.name


def test_dagster_alone_may_ask_the_cluster_and_ends_what_it_started() -> None:
    objects = rendered("base")
    (role,), (binding,) = of_kind(objects, "Role"), of_kind(objects, "RoleBinding")
    trusted = [a["metadata"]["name"] for a in of_kind(objects, "ServiceAccount") if a["automountServiceAccountToken"]]
    changed = {
        resource for rule in role["rules"] if {"create", "delete"} & {*rule["verbs"]} for resource in rule["resources"]
    }

    assert [subject["name"] for subject in binding["subjects"]] == trusted == ["shadow-dagster"]
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert changed == {"jobs", "pods"}
    assert "*" not in str(role["rules"])


def test_a_backup_reads_the_home_and_keeps_its_archives_on_another_volume(tmp_path: Path) -> None:
    objects = overlay_with("backup", tmp_path)
    cron = named(objects, "CronJob", "shadow-backup")
    spec = cron["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    like = next(pod for pod in pods(objects) if pod.name == "Deployment/shadow-exporter")
    claims = {v["name"]: v["persistentVolumeClaim"]["claimName"] for v in spec["volumes"] if "emptyDir" not in v}
    paths = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    (words,) = re.findall(r"^shadow (\w+) \"(/[\w/-]+)/", container["command"][-1], re.MULTILINE)

    for found in objects:
        if found["metadata"]["name"] in ("shadow-backup", "shadow-archive"):
            kubernetes_validate.validate(found, CLUSTERS[0], strict=True)
    assert unknown_words([words[0]]) == []
    assert words == ("backup", paths["archive"])
    assert container["env"] == [{"name": "SHADOW_HOME", "value": paths["home"]}]
    assert claims == {"home": "shadow-home", "archive": "shadow-archive"}
    assert set(claims.values()) <= {found["metadata"]["name"] for found in of_kind(objects, "PersistentVolumeClaim")}
    assert spec["securityContext"] == like.spec["securityContext"]
    assert container["securityContext"] == like.containers[0]["securityContext"]
    assert container["image"] == like.containers[0]["image"]
    assert cron["spec"]["concurrencyPolicy"] == "Forbid"
