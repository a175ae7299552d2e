"""``latest`` of the store is a Bento of the champion in force, whoever changed the champion, or there is none."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from bento.image import folder_of
from shadow_platform.adapters.deployment import write_manifest
from shadow_platform.adapters.deployment.bentos import bentos_of
from shadow_platform.contracts.deployment import DeploymentManifest
from shadow_platform.contracts.errors import BundleError
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.use_case import RolloutPolicy
from shadow_platform.contracts.verdicts import Purpose
from shadow_platform_tests.assets.rolling import DAY, Rolling, versions


@pytest.fixture
def rolling(layout: Layout) -> Rolling:
    """Champion 1 and challenger 2; the Bento of each deployment so far is stored."""
    made = Rolling(layout, RolloutPolicy())
    store(made, "g1-a", made.manifest.model_copy(update={"generation": 1}))
    store(made, "g2-b", made.manifest)
    return made


def store(rolling: Rolling, version: str, held: DeploymentManifest) -> Path:
    """A Bento that holds a deployment; all of its other files are left out."""
    folder = bentos_of(rolling.layout, "shop") / version
    write_manifest(Layout(folder / "src" / "packaged").manifest("shop"), held)
    return folder


def latest(rolling: Rolling) -> str | None:
    path = bentos_of(rolling.layout, "shop") / "latest"
    return path.read_text() if path.is_file() else None


def promoted(rolling: Rolling) -> None:
    """Version 2 is champion by the gate, with the Bento that was built of it before."""
    store(rolling, "g3-0", rolling.platform.deployment_to_come(rolling.manifest, "2"))
    rolling.decide()
    rolling.promote()
    assert (versions(rolling)[0], latest(rolling)) == ("2", "g3-0")


def by_guard(rolling: Rolling) -> None:
    told = {"actor": "slo-guard", "reason": "slow", "expected_generation": rolling.manifest.generation}
    rolling.platform.deploy_without_registry(rolling.use_case, "emergency_rollback", **told)


def by_watch(rolling: Rolling) -> None:
    rolling.decide(champion_version="2", challenger_version="1", purpose=Purpose.WATCH)
    rolling.promote(later=DAY)


def by_hand(rolling: Rolling) -> None:
    rolling.platform.deploy(rolling.use_case, "rollback", actor="person", reason="worse")


def by_alias(rolling: Rolling) -> None:
    rolling.platform.registry().swap_alias("shop", "champion", "2", "1")
    rolling.platform.reconcile(rolling.use_case)


@pytest.mark.parametrize("roll_back", [by_guard, by_watch, by_hand, by_alias])
def test_a_rollback_brings_back_the_newest_bento_of_the_champion_before(
    rolling: Rolling, roll_back: Callable[[Rolling], None]
) -> None:
    promoted(rolling)

    roll_back(rolling)

    assert (versions(rolling)[0], latest(rolling)) == ("1", "g2-b")
    assert folder_of("shop", rolling.layout).name == "g2-b"


def test_a_champion_that_workers_refuse_is_not_the_latest(rolling: Rolling) -> None:
    store(rolling, "g3-0", rolling.platform.deployment_to_come(rolling.manifest, "2"))
    rolling.worker(rolling.manifest.generation, "bundle is torn", refused=(3, "2"))
    rolling.decide()

    rolling.promote()

    assert (versions(rolling)[0], latest(rolling)) == ("1", "g2-b")


def test_a_champion_that_no_bento_holds_leaves_none_and_the_image_says_what_to_do(rolling: Rolling) -> None:
    rolling.platform.reconcile(rolling.use_case)
    assert latest(rolling) == "g2-b"

    rolling.platform.deploy(rolling.use_case, "promote", version="2", actor="person", reason="by hand")

    assert latest(rolling) is None
    for tag in ("shop", "shop:latest"):
        with pytest.raises(
            BundleError, match=r"no Bento of the champion of shop .* `python -m bento.build --use-case s"
        ):
            folder_of(tag, rolling.layout)
    assert folder_of("shop:g2-b", rolling.layout).name == "g2-b"


def test_a_bento_of_a_deployment_to_come_is_not_the_latest_yet(rolling: Rolling) -> None:
    store(rolling, "g9-c", rolling.manifest.model_copy(update={"generation": 9}))

    rolling.platform.reconcile(rolling.use_case)

    assert latest(rolling) == "g2-b"


@pytest.mark.parametrize("was_asked_for", [True, False], ids=["the one that was asked for", "the one built last"])
def test_of_two_bentos_of_one_deployment_it_is(rolling: Rolling, was_asked_for: bool) -> None:
    later = store(rolling, "g2-c", rolling.manifest)
    os.utime(later, (2**31, 2**31))
    if was_asked_for:
        (later.parent / "latest").write_text("g2-b")

    rolling.platform.reconcile(rolling.use_case)

    assert latest(rolling) == ("g2-b" if was_asked_for else "g2-c")


def test_no_image_is_made_of_a_latest_that_answers_with_another_champion(rolling: Rolling) -> None:
    """A process may die between the deployment and the store."""
    promoted(rolling)
    folder = bentos_of(rolling.layout, "shop")
    by_hand(rolling)
    (folder / "latest").write_text("g3-0")

    with pytest.raises(BundleError, match=r"shop:g3-0 answers with version 2, but the champion is version 1"):
        folder_of("shop:latest", rolling.layout)

    rolling.platform.reconcile(rolling.use_case)
    assert latest(rolling) == "g2-b"


def test_a_damaged_bento_is_passed_over(rolling: Rolling) -> None:
    (store(rolling, "g2-b", rolling.manifest) / "src" / "packaged" / "serving" / "shop.json").write_bytes(b"{")

    rolling.platform.reconcile(rolling.use_case)

    assert latest(rolling) == "g1-a"


def test_a_store_that_cannot_be_written_holds_no_change_up(rolling: Rolling) -> None:
    promoted(rolling)
    folder = bentos_of(rolling.layout, "shop")
    (folder / "latest").unlink()
    (folder / "latest").mkdir()

    by_guard(rolling)

    assert versions(rolling)[0] == "1"
