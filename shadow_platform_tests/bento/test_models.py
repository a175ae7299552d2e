"""Which models one worker has in service, whatever the manifest and the bundles look like."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bento.answering.models import ModelWatcher, Refusal
from bento.answering.worker_states import WorkerReport
from shadow_platform.adapters.bundle import SELFTEST_FILE, bundle_hash
from shadow_platform.adapters.deployment import read_manifest, write_manifest
from shadow_platform.adapters.deployment.worker_states import live_workers, refusing
from shadow_platform.contracts.layout import Layout
from shadow_platform_tests.bento.bundles import line_bundle, slow_bundle
from shadow_platform_tests.bento.helpers import USE_CASE, deploy
from shadow_platform_tests.bento.predictors import set_canary


def refusal_of(models: ModelWatcher) -> Refusal:
    assert models.refusal is not None
    return models.refusal


def steep(layout: Layout) -> str:
    return line_bundle(layout.bundles, slope=0.03)


def answering(models: ModelWatcher) -> tuple[str, str | None]:
    """Versions in service: champion, canary."""
    serving = models.current
    assert serving is not None
    canary = serving.canary.model.deployed.version if serving.canary else None
    return serving.champion.deployed.version, canary


def test_a_manifest_is_followed_once_and_an_older_one_never(layout: Layout) -> None:
    models = ModelWatcher(layout, USE_CASE)
    assert (models.refresh(), models.current) == (False, None)
    deploy(layout, line_bundle(layout.bundles))
    assert [models.refresh(), models.refresh()] == [True, False]
    older = read_manifest(layout.manifest(USE_CASE))
    deploy(layout, steep(layout), version="2")
    assert models.refresh()
    assert older is not None
    write_manifest(layout.manifest(USE_CASE), older)
    assert not models.refresh()
    assert answering(models) == ("2", None)


def test_the_split_of_the_settings_makes_the_newest_challenger_a_canary(layout: Layout) -> None:
    deploy(layout, line_bundle(layout.bundles), {"3": steep(layout), "2": line_bundle(layout.bundles)})
    models = ModelWatcher(layout, USE_CASE, split=0.2)
    assert models.refresh()
    assert answering(models) == ("1", "3")


def test_a_promoted_canary_is_not_read_again(layout: Layout) -> None:
    deploy(layout, line_bundle(layout.bundles), {"2": steep(layout)})
    set_canary(layout, 0.5)
    models = ModelWatcher(layout, USE_CASE)
    assert models.refresh()
    assert models.current is not None
    assert models.current.canary is not None
    bundle = models.current.canary.model.bundle
    deploy(layout, steep(layout), version="2")
    shutil.rmtree(layout.bundles / steep(layout))
    assert models.refresh()
    assert models.current.champion.bundle is bundle


@pytest.mark.parametrize("is_canary", [False, True])
def test_a_refused_bundle_goes_into_service_once_it_is_whole(layout: Layout, is_canary: bool) -> None:
    deploy(layout, line_bundle(layout.bundles))
    models = ModelWatcher(layout, USE_CASE)
    models.refresh()
    folder, away = layout.bundles / steep(layout), layout.home / "away"
    folder.rename(away)
    if is_canary:
        deploy(layout, line_bundle(layout.bundles), {"2": folder.name}, version="1")
        set_canary(layout, 1.0)
    else:
        deploy(layout, folder.name, version="2")
    assert models.refresh() == is_canary
    for _ in range(2):
        models.retry()
        assert not models.refresh()
        refusal = refusal_of(models)
        assert "cannot be read" in refusal.reason
        assert (refusal.generation, refusal.version) == (models.newest, "2")
        assert answering(models) == ("1", None)
    away.rename(folder)
    models.retry()
    assert models.refresh()
    assert models.refusal is None
    assert answering(models) == (("1", "2") if is_canary else ("2", None))


def test_a_bundle_that_fails_its_self_test_is_refused(layout: Layout) -> None:
    deploy(layout, line_bundle(layout.bundles))
    models = ModelWatcher(layout, USE_CASE)
    models.refresh()
    digest = slow_bundle(layout.bundles, n_rounds=1)
    tampered = _with_other_answers(layout, digest)
    deploy(layout, tampered, version="2")
    assert not models.refresh()
    assert "fails its self-test" in refusal_of(models).reason
    assert answering(models) == ("1", None)


def _with_other_answers(layout: Layout, digest: str) -> str:
    """A bundle whose hash is right, and whose stored answers are another model's."""
    folder = layout.bundles / "tampered"
    shutil.copytree(layout.bundles / digest, folder)
    cases = (folder / SELFTEST_FILE).read_text()
    (folder / SELFTEST_FILE).write_text(cases.replace('"probability": 0.', '"probability": 0.9'))
    tampered = bundle_hash(folder)
    folder.rename(layout.bundles / tampered)
    return tampered


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe"])
def test_a_manifest_that_cannot_be_read_changes_nothing(layout: Layout, content: bytes) -> None:
    deploy(layout, line_bundle(layout.bundles))
    models = ModelWatcher(layout, USE_CASE)
    models.refresh()
    path: Path = layout.manifest(USE_CASE)
    whole = path.read_bytes()
    path.write_bytes(content)
    assert not models.refresh()
    refusal = refusal_of(models)
    assert "put back the manifest" in refusal.reason
    assert (refusal.generation, refusal.version) == (None, None)
    assert answering(models) == ("1", None)
    (beside := path.with_suffix(".whole")).write_bytes(whole)
    beside.replace(path)
    models.refresh()
    assert models.refusal is None


@pytest.mark.parametrize("is_canary", [False, True])
def test_a_worker_says_what_it_refuses_of_which_deployment_until_another_is_in_force(
    layout: Layout, is_canary: bool
) -> None:
    whole, torn = line_bundle(layout.bundles), "0" * 64
    deploy(layout, whole)
    models = ModelWatcher(layout, USE_CASE)
    report = WorkerReport(layout, USE_CASE, models)
    models.refresh()
    deploy(layout, whole if is_canary else torn, {"2": torn} if is_canary else {}, version="1" if is_canary else "2")
    if is_canary:
        set_canary(layout, 1.0)
    models.refresh()
    report.write()

    (told,) = live_workers(layout, USE_CASE, datetime.now(UTC))
    assert (told.refused_generation, told.refused_version) == (models.newest, "2")
    assert told.refusal == report.describe()["refusal"]
    assert refusing([told], models.newest, {"2"}) == [told]

    deploy(layout, whole, version="1")
    models.refresh()
    report.write()
    (told,) = live_workers(layout, USE_CASE, datetime.now(UTC))
    assert (told.generation, told.refusal, told.refused_generation) == (models.newest, None, None)
