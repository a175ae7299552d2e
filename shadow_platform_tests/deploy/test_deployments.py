"""The scripts that bring a version into a cluster: what they ask kubectl, kustomize and helm for, and in which order.

Belongs here: ``.github/scripts/deploy`` and the scripts it calls. Does not belong here: workflows (test_workflows),
what is applied (test_kubernetes, test_dagster_chart). No cluster is there: the three tools note what they are asked.
"""

import os
import re
import subprocess
from pathlib import Path

import pytest

from shadow_platform_tests.deploy.manifests import OVERLAYS, kubectl, of_kind, overlay
from shadow_platform_tests.sources import REPOSITORY

GITHUB = REPOSITORY / ".github"


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder whose commands are found first."""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path


@pytest.mark.parametrize("digest", ["", "sha256:" + "0" * 64])
def test_a_deployment_pins_the_images_it_was_given(tools: Path, digest: str) -> None:
    calls = tools / "calls"
    tool = tools / "kustomize"
    tool.write_text(f'#!/usr/bin/env bash\necho "$PWD $*" >>{calls}\n')
    tool.chmod(0o755)

    subprocess.run(
        [str(GITHUB / "scripts" / "set-images"), "staging", "ghcr.io/ml", "1.2.3", digest, digest], check=True
    )

    ending = f"@{digest}" if digest else ":1.2.3"
    folder = REPOSITORY / "deploy" / "k8s" / "overlays" / "staging"
    assert calls.read_text().splitlines() == [
        f"{folder} edit set image shadow-platform/{name}=ghcr.io/ml/shadow-platform/{name}{ending}"
        for name in ("platform", "serving")
    ]


TOOL = """#!/usr/bin/env bash
echo "$(basename "$0") $*" >>{calls}
case "$*" in
kustomize*) exec {kubectl} "$@" ;;
*"get deployment dagster-daemon"*) echo deployment.apps/dagster-daemon ;;
*"get deployment mlflow"*) ;;
*"get deployment shadow-exporter"*) printf 7 ;;
*"get deployment"*) if grep -q "kubectl apply" {calls}; then printf 8; else printf 7; fi ;;
*"{failing}"*) exit 1 ;;
esac
"""
"""kubectl, kustomize and helm of a cluster where predictor and worker get an eighth revision, the exporter none and
MLflow its first; overlays are rendered by the real one."""


def _deploy(tools: Path, failing: str, *digests: str, to: str = "staging") -> tuple[int, list[str]]:
    calls, real = tools / "calls", kubectl()
    for name in ("kubectl", "kustomize", "helm"):
        tool = tools / name
        tool.write_text(TOOL.format(calls=calls, failing=failing, kubectl=real))
        tool.chmod(0o755)
    command = [str(GITHUB / "scripts" / "deploy"), to, "ghcr.io/ML", "1.2.3", *digests]
    done = subprocess.run(command, capture_output=True, check=False)
    return done.returncode, calls.read_text().splitlines()


@pytest.mark.parametrize("failing", ["kubectl apply", "rollout status deployment/shadow-worker", "upgrade --install"])
def test_a_deployment_that_does_not_come_up_puts_back_what_it_changed(tools: Path, failing: str) -> None:
    failing = failing.removeprefix("kubectl ")
    code, calls = _deploy(tools, failing)

    undone = [call.partition("rollout undo ")[2] for call in calls if "rollout undo" in call]
    assert code == 1
    assert sorted(undone) == [f"deployment/{name} --to-revision 7" for name in ("predictor", "shadow-worker")]
    assert any("helm upgrade" in call for call in calls) == (failing == "upgrade --install")
    assert calls[-1].endswith("scale deployment/dagster-daemon --replicas 1")
    assert not any("doctor" in call for call in calls)


@pytest.mark.parametrize("name", OVERLAYS)
def test_a_deployment_waits_for_what_its_overlay_has_and_for_nothing_else(tools: Path, name: str) -> None:
    code, calls = _deploy(tools, "nothing fails", to=name)
    waited = [call.partition("rollout status deployment/")[2].split()[0] for call in calls if "rollout status" in call]

    assert code == 0
    assert sorted(waited) == sorted(found["metadata"]["name"] for found in of_kind(overlay(name), "Deployment"))


def test_dagster_stands_still_while_its_storage_is_migrated_and_follows_the_version(tools: Path) -> None:
    code, calls = _deploy(tools, "nothing fails", "sha256:" + "0" * 64)
    order = ["--replicas 0", "kubectl apply", "status deployment/shadow-worker", "helm upgrade", "-- shadow doctor"]
    places = [next(i for i, call in enumerate(calls) if word in call) for word in order]
    (release,) = [call for call in calls if call.startswith("helm")]
    image = "image.repository=ghcr.io/ml/shadow-platform/platform@sha256"

    assert code == 0
    assert places == sorted(places)
    assert calls[-1].endswith("scale deployment/dagster-daemon --replicas 1")
    for part in ("dagsterWebserver", "dagsterDaemon", "dagster-user-deployments.deployments[0]"):
        assert f"--set-string {part}.{image} " in release
        assert f"--set-string {part}.image.tag={'0' * 64} " in release
    assert "force-conflicts" in next(call for call in calls if "kubectl apply" in call), "an undo owns what it put back"


def test_dagsters_release_has_the_version_and_the_images_of_the_deployment(tools: Path) -> None:
    _, calls = _deploy(tools, "nothing fails")
    (release,) = [call for call in calls if call.startswith("helm")]
    locked = re.search(r"^dagster==([\d.]+)", (REPOSITORY / "requirements.lock").read_text(), re.MULTILINE)

    assert locked is not None
    assert f"--version {locked[1]} " in release
    assert release.count("image.repository=ghcr.io/ml/shadow-platform/platform ") == 3
    assert release.count("image.tag=1.2.3 ") == 3
    files = re.findall(r"--values (\S+)", release)
    assert [Path(file).name for file in files] == ["dagster-values.yaml", "dagster-values-staging.yaml"]
    assert all(Path(file).is_file() for file in files)
