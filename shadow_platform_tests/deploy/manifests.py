"""The cluster's manifests as tests see them, and the one of them that is generated.

Belongs here: rendering by kubectl, reading objects out of what it renders, schemas of the operators' own kinds, the
Prometheus operator's rules. Does not belong here: what must be true of objects (test_kubernetes). Upstream:
``deploy/k8s``, ``deploy/prometheus/rules``. Downstream: tests; ``make manifests``, which runs this module.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from shadow_platform_tests.sources import REPOSITORY

K8S = REPOSITORY / "deploy" / "k8s"
OVERLAYS = ("staging", "production")
FOLDERS = {**{name: f"overlays/{name}" for name in OVERLAYS}, "fraud": "examples/fraud"}
"""Every overlay there is by the end of its namespace: those that are deployed, and the example of another use case."""
RULES = K8S / "components" / "prometheus-operator" / "rules.yaml"
PROMETHEUS = REPOSITORY / "deploy" / "prometheus"
RUNBOOK = "docs/operations.md"
"""Page that alerts lead to, in this repository: where the page is published, who runs the platform knows."""
RULES_HEADER = "# Written by `make manifests` from deploy/prometheus/rules: change them there.\n"
WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet", "Job")

Object = dict[str, Any]

_NAMES = {"type": "array", "items": {"type": "string"}}
_SELECTOR = {
    "type": "object",
    "additionalProperties": False,
    "properties": {"matchLabels": {"type": "object"}, "matchExpressions": {"type": "array"}},
    "minProperties": 1,
}
_ENDPOINT = {
    "type": "object",
    "additionalProperties": False,
    "required": ["port"],
    "properties": {
        "port": {"type": "string"},
        "path": {"type": "string", "pattern": "^/"},
        "honorLabels": {"type": "boolean"},
        "interval": {"type": "string", "pattern": "^[0-9]+s$"},
        "scrapeTimeout": {"type": "string", "pattern": "^[0-9]+s$"},
        "relabelings": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "properties": {key: {"type": "string"} for key in ("targetLabel", "replacement", "action")},
            },
        },
    },
}


def _schema(properties: Object, *required: str) -> Object:
    spec = {"type": "object", "additionalProperties": False, "properties": properties, "required": list(required)}
    return {"type": "object", "required": ["apiVersion", "kind", "metadata", "spec"], "properties": {"spec": spec}}


OPERATOR_KINDS: dict[tuple[str, str], Object] = {
    ("monitoring.coreos.com/v1", "ServiceMonitor"): _schema(
        {
            "jobLabel": {"type": "string"},
            "targetLabels": _NAMES,
            "selector": _SELECTOR,
            "endpoints": {"type": "array", "items": _ENDPOINT, "minItems": 1},
        },
        "selector",
        "endpoints",
    ),
    ("monitoring.coreos.com/v1", "PodMonitor"): _schema(
        {
            "jobLabel": {"type": "string"},
            "podTargetLabels": _NAMES,
            "selector": _SELECTOR,
            "podMetricsEndpoints": {"type": "array", "items": _ENDPOINT, "minItems": 1},
        },
        "selector",
        "podMetricsEndpoints",
    ),
    ("monitoring.coreos.com/v1", "PrometheusRule"): _schema(
        {"groups": {"type": "array", "minItems": 1, "items": {"type": "object", "required": ["name", "rules"]}}},
        "groups",
    ),
}
"""Kinds that no schema of Kubernetes knows: as much of the Prometheus operator's own as is used here, and no more."""


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod's template and the object it belongs to."""

    owner: Object
    labels: dict[str, str]
    spec: Object

    @property
    def name(self) -> str:
        """Kind and name of the owner."""
        return f"{self.owner['kind']}/{self.owner['metadata']['name']}"

    @property
    def containers(self) -> list[Object]:
        """Containers that keep running: those of the pod and its sidecars."""
        return [*self.spec["containers"], *(c for c in self._first() if c.get("restartPolicy") == "Always")]

    @property
    def every_container(self) -> list[Object]:
        """All containers, also those that run once before the others."""
        return [*self.spec["containers"], *self._first()]

    def _first(self) -> list[Object]:
        found: list[Object] = self.spec.get("initContainers", [])
        return found


def kubectl() -> str:
    """Path of kubectl; raises when neither this environment nor the machine has it."""
    found = shutil.which("kubectl", path=str(Path(sys.executable).parent)) or shutil.which("kubectl")
    if found is None:
        raise AssertionError("kubectl is not on PATH; `make kubectl` puts one into .venv/bin")
    return found


@cache
def rendered(folder: str) -> tuple[Object, ...]:
    """Objects of ``base``, an overlay's folder or one elsewhere, as kubectl's kustomize renders them."""
    done = subprocess.run([kubectl(), "kustomize", str(K8S / folder)], capture_output=True, text=True, check=False)
    if done.returncode or done.stderr.strip():
        raise AssertionError(f"kustomize {folder}: {done.stderr}")
    return tuple(yaml.safe_load_all(done.stdout))


def overlay_with(component: str, folder: Path) -> tuple[Object, ...]:
    """Objects of production with a component that is not switched on there; ``folder`` takes a copy of them."""
    shutil.copytree(K8S, folder / "k8s")
    file = folder / "k8s" / "overlays" / "production" / "kustomization.yaml"
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace("components:\n", f"components:\n  - ../../components/{component}\n"), encoding="utf-8")
    return rendered(str(file.parent))


def overlay(name: str) -> tuple[Object, ...]:
    """Objects of an overlay."""
    return rendered(FOLDERS[name])


def of_kind(objects: tuple[Object, ...], *kinds: str) -> list[Object]:
    """Objects of these kinds."""
    return [found for found in objects if found["kind"] in kinds]


def named(objects: tuple[Object, ...], kind: str, name: str) -> Object:
    """The object of this kind and name."""
    return next(found for found in of_kind(objects, kind) if found["metadata"]["name"] == name)


def settings(objects: tuple[Object, ...]) -> dict[str, str]:
    """What the platform's processes are told in common."""
    (found,) = [o for o in of_kind(objects, "ConfigMap") if o["metadata"]["name"].startswith("shadow-settings")]
    data: dict[str, str] = found["data"]
    return data


def pods(objects: tuple[Object, ...]) -> list[Pod]:
    """Templates of every workload's pods."""
    templates = ((owner, owner["spec"]["template"]) for owner in of_kind(objects, *WORKLOADS))
    return [Pod(owner, template["metadata"]["labels"], template["spec"]) for owner, template in templates]


def selects(selector: Object, labels: dict[str, str]) -> bool:
    """Whether a label selector of Kubernetes chooses something with these labels."""
    exact = all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())
    return exact and all(_holds(rule, labels) for rule in selector.get("matchExpressions", []))


def _holds(rule: Object, labels: dict[str, str]) -> bool:
    if rule["operator"] != "In":
        raise AssertionError(f"operator {rule['operator']} is not used here")
    return labels.get(rule["key"]) in rule["values"]


def rule_groups() -> Iterator[Object]:
    """Groups of the platform's Prometheus rules, file by file."""
    for path in sorted((PROMETHEUS / "rules").glob("*.yml")):
        yield from yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]


def prometheus_rule(page: str = RUNBOOK) -> str:
    """Text of the Prometheus operator's object with the platform's rules; alerts lead to sections of ``page``."""
    groups = list(rule_groups())
    for told in (rule["annotations"] for group in groups for rule in group["rules"] if "annotations" in rule):
        told["runbook_url"] = told["runbook_url"].replace(RUNBOOK, page)
    document = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "shadow-platform"},
        "spec": {"groups": groups},
    }
    text: str = yaml.safe_dump(document, sort_keys=False, width=110, allow_unicode=True)
    return RULES_HEADER + text


if __name__ == "__main__":
    RULES.write_text(prometheus_rule(os.environ.get("RUNBOOK_URL") or RUNBOOK), encoding="utf-8")
