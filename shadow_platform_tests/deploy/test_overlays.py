"""What an overlay runs, held to what its use case and its settings ask for.

Belongs here: choices between components. Does not belong here: rules for every object (test_kubernetes), what
containers are told (test_kubernetes_settings).
"""

import re

import pytest

from shadow_platform.contracts.errors import UseCaseError
from shadow_platform.streaming.producer import topics_of
from shadow_platform.use_cases import load_use_case
from shadow_platform_tests.deploy.composed import services
from shadow_platform_tests.deploy.manifests import (
    FOLDERS,
    Object,
    named,
    of_kind,
    overlay,
    pods,
    rendered,
    selects,
    settings,
)

ON_KAFKA = (["shadow", "log", "relay"], ["shadow", "log", "land"], ["shadow", "stream"])
DAGSTER = {"shadow-platform/part": "dagster"}

each_overlay = pytest.mark.parametrize("name", FOLDERS)


def _has_topics(use_case: str) -> bool:
    try:
        return bool(topics_of(load_use_case(use_case)))
    except UseCaseError:
        return False


def _containers(objects: tuple[Object, ...]) -> list[Object]:
    return [container for pod in pods(objects) for container in pod.every_container]


@each_overlay
def test_the_stream_consumer_runs_where_the_use_case_has_a_topic_and_nowhere_else(name: str) -> None:
    """Without a topic ``shadow stream`` ends with an error, and the deployment that waits for it is undone."""
    objects = overlay(name)
    commands = [container.get("command") for container in _containers(objects)]

    assert (["shadow", "stream"] in commands) == _has_topics(settings(objects)["SHADOW_USE_CASE"])


def test_one_overlay_shows_the_stream_consumer_and_the_base_has_none() -> None:
    assert [name for name in FOLDERS if "fraud" in settings(overlay(name))["SHADOW_USE_CASE"]] == ["fraud"]
    assert "shadow-stream" not in {found["metadata"]["name"] for found in rendered("base")}


@each_overlay
def test_credentials_of_the_broker_reach_all_who_speak_to_it_or_none(name: str) -> None:
    """A component that is listed before the one it changes would change nothing, silently."""
    speaking = [container for container in _containers(overlay(name)) if container.get("command") in ON_KAFKA]
    given = ["KAFKA_CONFIG" in {entry["name"] for entry in container["env"]} for container in speaking]

    assert len(given) == 2 + (name == "fraud")
    assert set(given) == {name != "staging"}


@each_overlay
def test_a_server_without_a_namespace_in_its_name_is_in_the_overlay(name: str) -> None:
    objects = overlay(name)
    near = {
        (host, int(port))
        for value in settings(objects).values()
        for host, port in re.findall(r"(?://|^)([a-z-]+):(\d+)", value)
    }
    served = {(s["metadata"]["name"], port["port"]) for s in of_kind(objects, "Service") for port in s["spec"]["ports"]}

    assert near == {("mlflow", 5000)}
    assert near <= served


@each_overlay
def test_mlflow_runs_as_in_compose_and_answers_to_its_name(name: str) -> None:
    objects = overlay(name)
    (container,) = named(objects, "Deployment", "mlflow")["spec"]["template"]["spec"]["containers"]
    compose = [word for word in services()["mlflow"]["command"] if "destination" not in word]
    (hosts,) = [word.partition("=")[2].split(",") for word in container["command"] if "allowed-hosts" in word]
    given = {entry["name"]: entry for entry in container["env"]}
    source = given["MLFLOW_ARTIFACTS_DESTINATION"]["valueFrom"]["configMapKeyRef"]
    bucket = settings(objects)["FEATURES_URL"].removesuffix("/features")

    assert container["command"] == compose
    assert settings(objects)["MLFLOW_TRACKING_URI"].removeprefix("http://") in hosts
    assert named(objects, "ConfigMap", source["name"])["data"][source["key"]] == f"{bucket}/mlflow"
    assert given["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"]["value"] == "false"


@each_overlay
def test_mlflow_lets_in_exactly_the_pods_that_may_go_there(name: str) -> None:
    objects = overlay(name)
    policies = {found["metadata"]["name"]: found["spec"] for found in of_kind(objects, "NetworkPolicy")}
    callers = {pod.name: pod.labels for pod in pods(objects)} | {"Dagster": DAGSTER}
    (rule,) = policies["mlflow"]["ingress"]
    let_in = {who for who, labels in callers.items() if any(selects(p["podSelector"], labels) for p in rule["from"])}
    let_out = {
        who
        for who, labels in callers.items()
        for spec in policies.values()
        if selects(spec["podSelector"], labels)
        and 5000 in {port["port"] for entry in spec.get("egress", []) for port in entry["ports"]}
    }

    assert let_in == let_out >= {"Deployment/shadow-worker", "Dagster"}


@each_overlay
def test_a_predictors_log_lies_on_a_disk_whose_free_space_is_its_limit(name: str) -> None:
    """What ``log_disk_free_bytes`` tells of an emptyDir is the node's: the pod is evicted long before it is low."""
    spec = named(overlay(name), "Deployment", "predictor")["spec"]["template"]["spec"]
    (home,) = [volume for volume in spec["volumes"] if volume["name"] == "home"]

    assert home.keys() == {"name", "ephemeral"}
    assert home["ephemeral"]["volumeClaimTemplate"]["spec"]["accessModes"] == ["ReadWriteOnce"]


def test_figures_that_a_bare_cluster_has_are_all_that_the_base_scales_by() -> None:
    """A figure that nobody offers keeps an autoscaler from ever taking a pod away."""
    (scaler,) = of_kind(rendered("base"), "HorizontalPodAutoscaler")

    assert {metric["type"] for metric in scaler["spec"]["metrics"]} == {"ContainerResource"}
