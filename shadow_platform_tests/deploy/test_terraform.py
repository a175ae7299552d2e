"""Terraform examples: they parse, name nothing that is not declared, and leave no server open or unprotected.

Belongs here: what can be told without the providers, which cannot be downloaded everywhere; so types of arguments are
not checked. Does not belong here: applying anything. Where Terraform is installed it checks the format as well.
"""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hcl2
import kubernetes_validate
import pytest
import yaml

from shadow_platform_tests.sources import REPOSITORY

TERRAFORM = REPOSITORY / "deploy" / "terraform"
CLOUDS = ("aws", "azure", "gcp")
NEEDED = {
    "aws": {"aws_db_instance", "aws_elasticache_replication_group", "aws_msk_cluster", "aws_s3_bucket"}
    | {"aws_ecr_repository", "aws_efs_file_system"},
    "azure": {"azurerm_kubernetes_cluster", "azurerm_postgresql_flexible_server", "azurerm_redis_cache"}
    | {"azurerm_eventhub_namespace", "azurerm_storage_account", "azurerm_container_registry"},
    "gcp": {"google_container_cluster", "google_sql_database_instance", "google_redis_instance"}
    | {"google_managed_kafka_cluster", "google_storage_bucket", "google_artifact_registry_repository"}
    | {"google_filestore_instance"},
}
REFERENCE = re.compile(r"(?<![\w.\"/-])((?:aws|azurerm|google|random)_[a-z0-9_]+)\.([a-z][a-z0-9_]*)")

each_cloud = pytest.mark.parametrize("cloud", CLOUDS)


def _files(cloud: str) -> list[Path]:
    return sorted((TERRAFORM / cloud).glob("*.tf"))


def _text(cloud: str) -> str:
    lines = "\n".join(path.read_text(encoding="utf-8") for path in _files(cloud)).splitlines()
    return "\n".join(line for line in lines if not line.lstrip().startswith("#"))


def _bare(name: str) -> str:
    return name.strip('"')


def _blocks(cloud: str, kind: str) -> Iterator[tuple[str, Any]]:
    for path in _files(cloud):
        for block in hcl2.loads(path.read_text(encoding="utf-8")).get(kind, []):
            yield from ((_bare(name), body) for name, body in block.items() if not name.startswith("__"))


def _resources(cloud: str) -> set[tuple[str, str]]:
    return {
        (kind, _bare(name)) for kind, body in _blocks(cloud, "resource") for name in body if not name.startswith("__")
    }


@each_cloud
def test_an_example_holds_every_server_the_platform_needs(cloud: str) -> None:
    assert NEEDED[cloud] <= {kind for kind, _ in _resources(cloud)}
    assert "Example" in (TERRAFORM / cloud / "versions.tf").read_text().splitlines()[0]


@each_cloud
def test_what_is_referred_to_is_declared(cloud: str) -> None:
    text, variables = _text(cloud), {name for name, _ in _blocks(cloud, "variable")}
    modules = {name for name, _ in _blocks(cloud, "module")}

    assert set(REFERENCE.findall(text)) <= _resources(cloud)
    assert set(re.findall(r"\bvar\.([a-z_]+)", text)) == variables
    assert set(re.findall(r"\bmodule\.([a-z_]+)", text)) == modules


@each_cloud
def test_variables_and_outputs_say_what_they_are(cloud: str) -> None:
    for name, body in (*_blocks(cloud, "variable"), *_blocks(cloud, "output")):
        assert body["description"], name
    assert all("type" in body for _, body in _blocks(cloud, "variable"))
    secret = {name for name, body in _blocks(cloud, "output") if body.get("sensitive")}
    assert {name for name, body in _blocks(cloud, "output") if "password" in str(body) or "_url" in name} <= secret


def test_the_clouds_give_the_same_outputs() -> None:
    outputs = [{name for name, _ in _blocks(cloud, "output")} for cloud in CLOUDS]

    assert outputs[0] == outputs[1] == outputs[2]


@each_cloud
def test_providers_and_modules_are_pinned(cloud: str) -> None:
    versions = TERRAFORM / cloud / "versions.tf"
    (requirements,) = hcl2.loads(versions.read_text(encoding="utf-8"))["terraform"]
    pinned = re.findall(r'(?<!\w)version\s*=\s*("[^"]+")', versions.read_text(encoding="utf-8"))
    pinned += [body["version"] for _, body in _blocks(cloud, "module")]

    assert _bare(requirements["required_version"]) == ">= 1.7"
    assert pinned
    assert all(re.fullmatch(r"~> \d+\.\d+", _bare(version)) for version in pinned)


@each_cloud
def test_no_password_stands_in_the_example(cloud: str) -> None:
    assert re.findall(r'(?:password|token|secret|key)\w*\s*=\s*"[^"$]+"', _text(cloud)) == []


@each_cloud
def test_servers_keep_what_they_hold_and_answer_inside_the_network_only(cloud: str) -> None:
    text = _text(cloud)

    assert re.search(r"var\.is_protected", text)
    assert "noeviction" in text
    assert re.search(r"versioning(_enabled|_configuration)?\b", text)
    assert "0.0.0.0/0" not in text
    assert not re.search(r"publicly_accessible\s*=\s*true|ipv4_enabled\s*=\s*true|admin_enabled\s*=\s*true", text)
    assert not re.search(r"public_network_access_enabled\s*=\s*true|non_ssl_port_enabled\s*=\s*true", text)


def test_postgres_lets_in_a_user_with_the_password_that_the_urls_carry() -> None:
    """The platform's URLs know passwords alone; Google's server makes no user by itself."""
    assert {"google_sql_user", "random_password"} <= {kind for kind, _ in _resources("gcp")}
    assert "administrator_password" in _text("azure")
    assert "manage_master_user_password" in _text("aws")


def test_redis_of_google_is_addressed_as_it_answers() -> None:
    """Its TLS has a certificate of an authority of its own, which ``rediss://`` would refuse."""
    text = _text("gcp")

    assert re.search(r'transit_encryption_mode\s*=\s*"DISABLED"', text)
    assert '"redis://:' in text
    assert '"rediss://' not in text


@each_cloud
def test_the_shared_file_system_is_mounted_by_nfs(cloud: str) -> None:
    """File locks and ``rename`` of NFS are what manifests and logs rest on; Azure's built-in classes speak SMB."""
    classes = {name: found for name, found in _storage_classes().items() if not _is_default(found)}

    assert classes.keys() == {"efs.csi.aws.com", "filestore.csi.storage.gke.io", "file.csi.azure.com"}
    assert classes["file.csi.azure.com"]["parameters"]["protocol"] == "nfs"
    assert all(found["reclaimPolicy"] == "Retain" for found in classes.values())
    assert "azurefile-premium" not in _text(cloud)


def test_claims_that_name_no_class_find_a_default_one_where_the_cluster_brings_none() -> None:
    """A predictor's disk goes with its pod, so the class must not keep it; a disk is made where the pod is put."""
    (found,) = filter(_is_default, _storage_classes().values())

    assert found["provisioner"] == "ebs.csi.aws.com"
    assert (found["reclaimPolicy"], found["volumeBindingMode"]) == ("Delete", "WaitForFirstConsumer")


def test_every_driver_of_volumes_on_aws_has_a_role_and_the_agent_that_hands_it_out() -> None:
    (cluster,) = (body for name, body in _blocks("aws", "module") if name == "cluster")
    roles = {name for name, body in _blocks("aws", "module") if "eks-pod-identity/aws" in body["source"]}
    addons, provisioners = cluster["addons"], _storage_classes().keys()
    drivers = {f"aws-{name.split('.')[0]}-csi-driver" for name in provisioners if name.endswith(".aws.com")}

    assert {name for name in addons if name.endswith("-csi-driver")} == drivers
    assert "eks-pod-identity-agent" in addons
    associations = {name: str(addons[name]["pod_identity_association"]) for name in drivers}
    assert {re.findall(r"module\.(\w+)\.iam_role_arn", text)[0] for text in associations.values()} == roles
    assert all(f"{name.split('-')[1]}-csi-controller-sa" in text for name, text in associations.items())


def _storage_classes() -> dict[str, Any]:
    """Classes of the example by their provisioner, each held to Kubernetes' schema."""
    path = REPOSITORY / "deploy" / "k8s" / "examples" / "storage-classes.yaml"
    classes = {found["provisioner"]: found for found in yaml.safe_load_all(path.read_text(encoding="utf-8"))}
    for found in classes.values():
        kubernetes_validate.validate(found, "1.30", strict=True)
    return classes


def _is_default(found: Any) -> bool:
    annotations = found["metadata"].get("annotations", {})
    return bool(annotations.get("storageclass.kubernetes.io/is-default-class") == "true")


if shutil.which("terraform"):

    def test_files_are_formatted() -> None:
        command = ["terraform", "fmt", "-check", "-recursive", "-diff", str(TERRAFORM)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)

        assert done.returncode == 0, done.stdout
