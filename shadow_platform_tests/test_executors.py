"""How the steps of a run are executed is one setting; what Kubernetes needs is loaded only where it is chosen.

Belongs here: the choice. Does not belong here: what a job of Kubernetes does, which is Dagster's. Upstream:
definitions. Downstream: nothing.
"""

import os
import subprocess
import sys

import dagster as dg
import kubernetes
import kubernetes_validate
import pytest
from dagster_k8s.job import DagsterK8sJobConfig, construct_dagster_k8s_job

from shadow_platform.definitions import build_definitions
from shadow_platform_tests.conftest import REPOSITORY
from shadow_platform_tests.tiny import USE_CASE

CHOSEN = """
import sys
from shadow_platform.definitions import build_definitions
from shadow_platform_tests.tiny import USE_CASE
job = build_definitions([USE_CASE]).resolve_job_def("tiny_train")
print(job.executor_def.name, "dagster_k8s" in sys.modules)
"""


@pytest.mark.parametrize(
    ("setting", "told"),
    [({}, "in_process False"), ({"DAGSTER_EXECUTOR": "k8s"}, "k8s True")],
)
def test_the_setting_decides_and_kubernetes_is_loaded_only_then(setting: dict[str, str], told: str) -> None:
    environment = {**os.environ, **setting, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [sys.executable, "-c", CHOSEN], env=environment, capture_output=True, text=True, check=False, cwd="/"
    )
    assert done.stdout.strip() == told, done.stderr


def test_a_step_on_kubernetes_takes_resources_from_its_tags_and_is_a_valid_job(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the executor sends to the cluster, judged by the schema of the cluster's own interface."""
    monkeypatch.setenv("DAGSTER_EXECUTOR", "k8s")
    executor = build_definitions([USE_CASE]).resolve_job_def("tiny_train").executor_def
    config = {"job_image": "registry.example.com/shadow-platform/platform:1", "job_namespace": "ml-production"}
    assert dg.validate_run_config(_job(executor), {"execution": {"config": config}})
    job = construct_dagster_k8s_job(
        DagsterK8sJobConfig(job_image=config["job_image"], dagster_home="/var/lib/shadow/dagster"),
        args=["dagster", "api", "execute_step"],
        job_name="dagster-step-1",
        component="step_worker",
    )
    document = kubernetes.client.ApiClient().sanitize_for_serialization(job)
    kubernetes_validate.validate({**document, "apiVersion": "batch/v1", "kind": "Job"}, "1.30", strict=True)


def _job(executor: dg.ExecutorDefinition) -> dg.JobDefinition:
    @dg.op
    def nothing() -> None:
        """Nothing."""

    @dg.job(executor_def=executor)
    def only() -> None:
        nothing()

    return only
