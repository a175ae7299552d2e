"""The home in a cluster: how its class is named, and the example that brings an archive back into it.

Belongs here: the claim, the restore beside the component `backup`. Does not belong here: what a restore does
(cli/test_backup), classes of the clouds (test_terraform).
"""

import re
import shutil
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from shadow_platform_tests.deploy.commands import unknown_words
from shadow_platform_tests.deploy.manifests import K8S, OVERLAYS, Object, named, of_kind, overlay_with, rendered

EXAMPLE = K8S / "examples" / "restore.yaml"


@pytest.fixture
def example() -> tuple[Object, ...]:
    return tuple(yaml.safe_load_all(EXAMPLE.read_text(encoding="utf-8")))


@pytest.mark.parametrize("version", ["1.30", "1.37"])
def test_the_example_is_valid_for_the_oldest_and_the_newest_cluster(example: tuple[Object, ...], version: str) -> None:
    for found in example:
        kubernetes_validate.validate(found, version, strict=True)


def test_its_job_is_the_backup_the_other_way_round(example: tuple[Object, ...], tmp_path: Path) -> None:
    objects = overlay_with("backup", tmp_path)
    backup = named(objects, "CronJob", "shadow-backup")["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    restore = named(example, "Job", "shadow-restore")["spec"]["template"]["spec"]
    (writing,), (reading,) = backup.pop("containers"), restore.pop("containers")
    mounts = {mount["name"]: mount for mount in reading["volumeMounts"]}

    assert restore == backup
    assert mounts.pop("archive") == {**_mount(writing, "archive"), "readOnly": True}
    assert mounts == {name: _mount(writing, name) for name in ("home", "tmp")}
    assert reading["securityContext"] == writing["securityContext"]
    assert reading["image"].rpartition(":")[0] == writing["image"].rpartition(":")[0]


def test_it_restores_an_archive_named_as_the_backup_names_it_under_settings_that_exist(
    example: tuple[Object, ...],
) -> None:
    (job,) = of_kind(example, "Job")
    (container,) = job["spec"]["template"]["spec"]["containers"]
    told = {each["name"]: each["value"] for each in container["env"]}
    maps = {found["metadata"]["name"] for found in of_kind(rendered("base"), "ConfigMap")}
    written = (K8S / "components" / "backup" / "backup.yaml").read_text(encoding="utf-8")
    (folder, shown_at) = re.findall(r'shadow backup "(/[\w/-]+)/shadow-\$\(date -u \+([^)]+)\)\.tar"', written)[0]

    assert container["command"] == ["shadow", "restore", f"{folder}/$(ARCHIVE)"]
    assert unknown_words(["restore"]) == []
    assert shown_at == "%Y-%m-%dT%H%M"
    assert re.fullmatch(r"shadow-\d{4}-\d\d-\d\dT\d{4}\.tar", told["ARCHIVE"])
    assert container["envFrom"][0]["configMapRef"]["name"] in maps


def test_the_home_it_makes_is_the_one_of_the_manifests(example: tuple[Object, ...]) -> None:
    (claim,) = of_kind(example, "PersistentVolumeClaim")
    assert claim["spec"] == named(rendered("base"), "PersistentVolumeClaim", "shadow-home")["spec"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_commented_patch_of_an_overlay_names_a_class_once_it_is_switched_on(overlay: str, tmp_path: Path) -> None:
    shutil.copytree(K8S, tmp_path / "k8s")
    file = tmp_path / "k8s" / "overlays" / overlay / "kustomization.yaml"
    file.write_text(re.sub("^#(patches:|  )", r"\1", file.read_text(), flags=re.MULTILINE))
    with_class = named(rendered(str(file.parent)), "PersistentVolumeClaim", "shadow-home")["spec"]
    classes = yaml.safe_load_all((K8S / "examples" / "storage-classes.yaml").read_text(encoding="utf-8"))

    assert with_class.pop("storageClassName") in {found["metadata"]["name"] for found in classes}
    assert with_class == named(rendered(f"overlays/{overlay}"), "PersistentVolumeClaim", "shadow-home")["spec"]


def _mount(container: Object, name: str) -> Object:
    found: Object = next(mount for mount in container["volumeMounts"] if mount["name"] == name)
    return found
