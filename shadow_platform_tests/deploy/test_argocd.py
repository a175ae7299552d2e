"""Argo CD's applications: what exists, who may deploy what, and that only staging goes ahead by itself.

Belongs here: ``deploy/argocd``. Does not belong here: what is deployed (test_kubernetes, test_dagster_chart).
"""

from typing import Any

import jsonschema
import pytest
import yaml

from shadow_platform_tests.sources import REPOSITORY

ARGOCD = REPOSITORY / "deploy" / "argocd"
_TEXT = {"type": "string", "minLength": 1}
_SOURCE = {
    "type": "object",
    "additionalProperties": False,
    "required": ["repoURL", "targetRevision"],
    "properties": {
        **dict.fromkeys(("repoURL", "targetRevision", "path", "chart", "ref"), _TEXT),
        "helm": {
            "type": "object",
            "additionalProperties": False,
            "properties": {"releaseName": _TEXT, "valueFiles": {"type": "array", "items": _TEXT}},
        },
    },
}
APPLICATION: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["project", "destination"],
    "oneOf": [{"required": ["source"]}, {"required": ["sources"]}],
    "properties": {
        "project": {"const": "shadow-platform"},
        "source": _SOURCE,
        "sources": {"type": "array", "items": _SOURCE, "minItems": 1},
        "destination": {
            "type": "object",
            "additionalProperties": False,
            "required": ["server", "namespace"],
            "properties": {"server": _TEXT, "namespace": _TEXT},
        },
        "ignoreDifferences": {"type": "array"},
        "syncPolicy": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "automated": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {"prune": {"type": "boolean"}, "selfHeal": {"type": "boolean"}},
                },
                "syncOptions": {"type": "array", "items": {"type": "string", "pattern": "^\\w+=(true|false)$"}},
                "retry": {"type": "object"},
            },
        },
    },
}
"""Fields of an application that are used here, with Argo CD's names."""


def _documents() -> list[dict[str, Any]]:
    return [found for path in sorted(ARGOCD.glob("*.yaml")) for found in yaml.safe_load_all(path.read_text())]


APPLICATIONS = [found for found in _documents() if found["kind"] == "Application"]
each_application = pytest.mark.parametrize("found", APPLICATIONS, ids=lambda found: found["metadata"]["name"])


def _sources(spec: dict[str, Any]) -> list[dict[str, Any]]:
    sources: list[dict[str, Any]] = spec.get("sources") or [spec["source"]]
    return sources


@each_application
def test_an_application_is_valid(found: dict[str, Any]) -> None:
    assert found["apiVersion"] == "argoproj.io/v1alpha1"
    assert found["metadata"]["namespace"] == "argocd"
    jsonschema.validate(found["spec"], APPLICATION)


@each_application
def test_only_staging_goes_ahead_by_itself(found: dict[str, Any]) -> None:
    spec = found["spec"]
    is_staging = spec["destination"]["namespace"] == "ml-staging"
    revisions = {source["targetRevision"] for source in _sources(spec) if "chart" not in source}

    assert ("automated" in spec.get("syncPolicy", {})) == is_staging
    assert all((revision == "main") == is_staging for revision in revisions)
    assert found["metadata"]["name"].endswith(spec["destination"]["namespace"].removeprefix("ml-"))


@each_application
def test_what_an_application_reads_is_there(found: dict[str, Any]) -> None:
    for source in _sources(found["spec"]):
        files = [name.removeprefix("$values/") for name in source.get("helm", {}).get("valueFiles", [])]
        assert all((REPOSITORY / name).exists() for name in [*files, source.get("path", "deploy")])
        assert all(found["spec"]["destination"]["namespace"].removeprefix("ml-") in name for name in files[1:])


def test_the_project_lets_in_what_the_applications_need_and_no_secrets() -> None:
    (project,) = [found["spec"] for found in _documents() if found["kind"] == "AppProject"]
    wanted = {source["repoURL"] for found in APPLICATIONS for source in _sources(found["spec"])}
    places = {found["spec"]["destination"]["namespace"] for found in APPLICATIONS}

    assert set(project["sourceRepos"]) == wanted
    assert {place["namespace"] for place in project["destinations"]} == places
    assert {"group": "", "kind": "Secret"} in project["namespaceResourceBlacklist"]
    assert project["clusterResourceWhitelist"] == [{"group": "", "kind": "Namespace"}]
