"""What the cluster's containers are told: settings that exist, secrets by reference, commands that exist.

Belongs here: environments, commands, ports. Does not belong here: everything else about pods (test_kubernetes).
"""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from pydantic import SecretStr

from shadow_platform.settings import Settings
from shadow_platform_tests.deploy.commands import surplus_words, unknown_words
from shadow_platform_tests.deploy.manifests import (
    FOLDERS,
    K8S,
    Object,
    Pod,
    of_kind,
    overlay,
    pods,
    rendered,
    settings,
)
from shadow_platform_tests.sources import REPOSITORY

LIBRARIES = {"OMP_NUM_THREADS", "MLFLOW_ARTIFACTS_DESTINATION"}
"""Variables that packages read, not the platform's settings."""

OTHERS = {"Deployment/mlflow"}
"""Pods of our image that run another program: the settings are not theirs."""

each_overlay = pytest.mark.parametrize("name", FOLDERS)


def _setting(name: str) -> str:
    return name.lower()


def test_a_predictor_cannot_write_what_the_platform_wrote() -> None:
    (pod,) = [pod for pod in pods(rendered("base")) if pod.name == "Deployment/predictor"]
    for container in pod.every_container:
        values = _plain(container)
        mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
        assert mounts[values["SHADOW_SHARED"]]["readOnly"] is True
        assert mounts[values["SHADOW_HOME"]]["name"] == "home"
        assert values["SERVE_ROLES"] == "predictor"


def _plain(container: Object) -> dict[str, str]:
    return {entry["name"]: entry["value"] for entry in container.get("env", []) if "value" in entry}


def _secret(container: Object) -> dict[str, Object]:
    sources = {entry["name"]: entry.get("valueFrom", {}) for entry in container.get("env", [])}
    return {name: source["secretKeyRef"] for name, source in sources.items() if "secretKeyRef" in source}


def _environments(objects: tuple[Object, ...]) -> Iterator[tuple[Pod, Object, dict[str, str]]]:
    maps = {found["metadata"]["name"]: found["data"] for found in of_kind(objects, "ConfigMap")}
    for pod in (pod for pod in pods(objects) if pod.name not in OTHERS):
        for container in pod.every_container:
            shared = [maps[s["configMapRef"]["name"]] for s in container["envFrom"] if "configMapRef" in s]
            yield pod, container, {key: value for m in (*shared, _plain(container)) for key, value in m.items()}


@each_overlay
def test_every_variable_is_a_setting_and_its_value_is_accepted(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for pod, container, environment in _environments(overlay(name)):
        unknown = {key for key in environment if _setting(key) not in Settings.model_fields} - LIBRARIES
        assert unknown == set(), f"{pod.name} {container['name']}"
        with monkeypatch.context() as patched:
            for key, value in environment.items():
                patched.setenv(key, value)
            told = Settings()
        assert told.environment == ("staging" if name == "staging" else "production")
        assert told.log_format == "json"


@each_overlay
def test_both_maps_of_settings_say_the_same(name: str) -> None:
    first, second = (found["data"] for found in of_kind(overlay(name), "ConfigMap"))

    assert first == second


@each_overlay
def test_secrets_are_referred_to_and_never_written_down(name: str) -> None:
    objects = overlay(name)
    for pod, container, environment in _environments(objects):
        secret = _secret(container)
        assert not {key for key in environment if _is_secret(key)}, f"{pod.name} {container['name']}"
        assert [key for key in secret if not _is_secret(key)] == [], f"{pod.name} {container['name']}"
        assert {(ref["name"], ref["key"]) for ref in secret.values()} == {("shadow-platform", key) for key in secret}

    assert of_kind(objects, "Secret") == []


@each_overlay
def test_where_scripts_run_commands_is_what_the_commands_need(name: str) -> None:
    """``shadow doctor`` asks every server of the settings; ``shadow retrain`` reads and writes the buckets."""
    script = (REPOSITORY / ".github" / "scripts" / "in-cluster").read_text(encoding="utf-8")
    (found,) = re.findall(r"exec deployment/(\S+) --container (\S+)", script)
    environments = {
        (pod.owner["metadata"]["name"], c["name"]): (c, values) for pod, c, values in _environments(overlay(name))
    }
    container, _ = environments[found]
    with_credentials = {key for key, (_, values) in environments.items() if "KAFKA_CONFIG" in values}
    (lander,) = [key for key, (c, _) in environments.items() if c.get("command") == ["shadow", "log", "land"]]

    assert {"secretRef": {"name": "shadow-platform"}} in container["envFrom"], "AWS_* reach nothing but Dagster"
    assert _secret(container).keys() >= {"REDIS_URL", "POSTGRES_URL", "DAGSTER_POSTGRES_URL"}
    assert (found in with_credentials) == (lander in with_credentials) == (name != "staging")


def _is_secret(variable: str) -> bool:
    field = Settings.model_fields.get(_setting(variable))
    return field is not None and SecretStr in (field.annotation, *getattr(field.annotation, "__args__", ()))


@each_overlay
def test_targets_say_which_use_case_they_answer_for(name: str) -> None:
    objects = overlay(name)
    services = [found["metadata"]["labels"] for found in of_kind(objects, "Service")]
    labels = [pod.labels for pod in pods(objects) if pod.name not in OTHERS]
    labels += [found for found in services if "prometheus-job" in found]

    assert {label["use_case"] for label in labels} == {settings(objects)["SHADOW_USE_CASE"]}


@each_overlay
def test_containers_run_commands_that_exist(name: str) -> None:
    for pod in pods(overlay(name)):
        for container in pod.every_container:
            command: Any = container.get("command")
            if container["image"].rpartition(":")[0].endswith("serving"):
                assert command is None, "the serving image has one command"
                continue
            assert (command[0] == "shadow") == (pod.name not in OTHERS), pod.name
            assert command[0] != "shadow" or unknown_words(command[1:]) + surplus_words(command[1:]) == [], pod.name


@each_overlay
def test_ports_that_processes_listen_on_are_their_own(name: str) -> None:
    for pod, container, environment in _environments(overlay(name)):
        if container not in pod.containers:
            continue
        declared = {str(port["containerPort"]) for port in container["ports"]}
        listens = environment.get("METRICS_PORT") or next(
            (word for word in container.get("command", []) if word.isdigit()), "8000"
        )
        assert declared == {listens}, f"{pod.name} {container['name']}"
    for pod in pods(overlay(name)):
        used = [port["containerPort"] for container in pod.containers for port in container["ports"]]
        assert len(used) == len(set(used)), pod.name


def test_example_secrets_name_what_the_manifests_want() -> None:
    documents = list(yaml.safe_load_all((K8S / "examples" / "external-secret.yaml").read_text()))
    filled = {found["spec"]["target"]["name"] for found in documents}
    every = [container for pod in pods(overlay("production")) for container in pod.every_container]
    wanted = {ref["name"] for container in every for ref in _secret(container).values()}
    whole = {source["secretRef"]["name"] for c in every for source in c["envFrom"] if "secretRef" in source}
    files = {
        v["secret"]["secretName"] for pod in pods(overlay("production")) for v in pod.spec["volumes"] if "secret" in v
    }

    assert wanted | whole | files <= filled
    assert not any("data" in found or "stringData" in found for found in documents)


def test_a_secret_that_pods_take_whole_holds_nothing_of_another() -> None:
    documents = list(yaml.safe_load_all((K8S / "examples" / "external-secret.yaml").read_text()))
    entries = {
        found["spec"]["target"]["name"]: {source["extract"]["key"] for source in found["spec"].get("dataFrom", [])}
        | {source["remoteRef"]["key"] for source in found["spec"].get("data", [])}
        for found in documents
    }
    keys = [key for names in entries.values() for key in names]

    assert {"shadow-platform", "shadow-mlflow", "shadow-kafka", "dagster-postgresql"} == entries.keys()
    assert len(keys) == len({*keys}), entries
