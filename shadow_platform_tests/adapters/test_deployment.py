"""Transitions: alias, manifest and audit record agree, also after a crash between any two of them."""

import json
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from shadow_platform.adapters import deployment
from shadow_platform.adapters.deployment import journal
from shadow_platform.contracts.deployment import DeployedModel, DeploymentManifest
from shadow_platform.contracts.errors import LogError, RegistryError, TransitionConflict
from shadow_platform.contracts.layout import Layout
from shadow_platform_tests.fakes_log import FullLog, InMemoryLog
from shadow_platform_tests.fakes_registry import NOW, CrashError, FrailRegistry

WHO: dict[str, Any] = {"use_case": "shop", "actor": "tester", "reason": "because", "now": NOW}


@pytest.fixture
def registry() -> FrailRegistry:
    return FrailRegistry()


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


@pytest.fixture
def audit() -> InMemoryLog:
    return InMemoryLog()


def manifest_of(layout: Layout) -> DeploymentManifest:
    found = deployment.read_manifest(layout.manifest("shop"))
    assert found is not None
    return found


def moves(audit: InMemoryLog) -> list[tuple[str, str | None, str | None, int]]:
    rows = [json.loads(line) for line in audit.lines]
    return [(row["alias"], row["from_version"], row["to_version"], row["generation"]) for row in rows]


def test_the_whole_life_of_a_use_case(registry: FrailRegistry, layout: Layout, audit: InMemoryLog) -> None:
    deployment.deploy_initial(registry, layout, audit, version="1", **WHO)
    deployment.add_challenger(registry, layout, audit, version="2", **WHO)
    promoted = deployment.promote(registry, layout, audit, version="2", expected_champion="1", evidence_id="g1", **WHO)
    assert (promoted.champion.version, promoted.previous and promoted.previous.version) == ("2", "1")
    assert promoted.challengers == ()
    back = deployment.rollback(registry, layout, audit, **WHO)
    assert (back.champion.version, back.previous and back.previous.version, back.generation) == ("1", "2", 4)
    assert registry.aliases == {"champion": "1", "previous": "2"}
    assert moves(audit) == [
        ("champion", None, "1", 1),
        ("challenger", None, "2", 2),
        ("champion", "1", "2", 3),
        ("previous", None, "1", 3),
        ("challenger", "2", None, 3),
        ("champion", "2", "1", 4),
        ("previous", "1", "2", 4),
    ]
    assert manifest_of(layout) == back


def test_repeating_a_transition_changes_nothing(registry: FrailRegistry, layout: Layout, audit: InMemoryLog) -> None:
    for _ in range(2):
        deployment.deploy_initial(registry, layout, audit, version="1", **WHO)
    for _ in range(2):
        deployment.add_challenger(registry, layout, audit, version="2", **WHO)
    for _ in range(2):
        deployment.promote(registry, layout, audit, version="2", **WHO)
    assert manifest_of(layout).generation == 3
    assert len(audit.lines) == 5


def test_the_newest_challengers_shadow_together(registry: FrailRegistry, layout: Layout, audit: InMemoryLog) -> None:
    deployment.deploy_initial(registry, layout, audit, version="1", **WHO)
    for version in ("2", "3", "4", "5"):
        manifest = deployment.add_challenger(registry, layout, audit, version=version, **WHO)
    assert [model.version for model in manifest.challengers] == ["5", "4", "3"]
    assert registry.aliases == {"champion": "1", "challenger": "5", "challenger-2": "4", "challenger-3": "3"}
    left = deployment.remove_challenger(registry, layout, audit, version="4", **WHO)
    assert [model.version for model in left.challengers] == ["5", "3"]
    assert registry.aliases == {"champion": "1", "challenger": "5", "challenger-2": "3"}
    assert moves(audit)[-2:] == [("challenger-2", "4", "3", 6), ("challenger-3", "3", None, 6)]


def test_the_challenger_that_shadows_for_longest_keeps_its_place_until_patience_ends(
    registry: FrailRegistry, layout: Layout, audit: InMemoryLog
) -> None:
    deployment.deploy_initial(registry, layout, audit, version="1", **WHO)
    present = []
    for week, version in enumerate(("2", "3", "4", "5", "6")):
        said = {**WHO, "now": WHO["now"] + timedelta(weeks=week)}
        manifest = deployment.add_challenger(
            registry, layout, audit, version=version, patience=timedelta(weeks=4), **said
        )
        present.append([model.version for model in manifest.challengers])
    assert present == [["2"], ["3", "2"], ["4", "3", "2"], ["5", "4", "2"], ["6", "5", "4"]]


def test_what_a_challenger_sees_changes_while_it_shadows(
    registry: FrailRegistry, layout: Layout, audit: InMemoryLog
) -> None:
    deployment.deploy_initial(registry, layout, audit, version="1", **WHO)
    before = deployment.add_challenger(registry, layout, audit, version="2", **WHO).challengers[0]
    for _ in range(2):
        manifest = deployment.set_shadow_policy(
            registry, layout, audit, version="2", sample_rate=0.1, max_lag_s=30.0, **WHO
        )
    assert manifest == manifest_of(layout)
    assert manifest.generation == 3
    assert manifest.challengers == (before.model_copy(update={"sample_rate": 0.1, "max_lag_s": 30.0}),)
    assert moves(audit)[2:] == [("challenger", "2", "2", 3)]
    reason = json.loads(audit.lines[-1])["reason"]
    assert reason == "sample rate 1, no lag limit -> sample rate 0.1, lag limit 30 s: because"
    with pytest.raises(RegistryError, match=r"version 7 is not in the shadow of shop \(there: 2\)"):
        deployment.set_shadow_policy(registry, layout, audit, version="7", sample_rate=0.1, max_lag_s=None, **WHO)
    with pytest.raises(RegistryError, match="sample_rate"):
        deployment.set_shadow_policy(registry, layout, audit, version="2", sample_rate=1.1, max_lag_s=None, **WHO)


def test_a_challenger_can_be_withdrawn(registry: FrailRegistry, layout: Layout, audit: InMemoryLog) -> None:
    deployment.deploy_initial(registry, layout, audit, version="1", **WHO)
    deployment.add_challenger(registry, layout, audit, version="2", **WHO)
    assert deployment.remove_challenger(registry, layout, audit, version="2", **WHO).challengers == ()
    assert "challenger" not in registry.aliases


def test_another_champion_than_judged_is_a_conflict(
    registry: FrailRegistry, layout: Layout, audit: InMemoryLog
) -> None:
    deployment.deploy_initial(registry, layout, audit, version="1", **WHO)
    with pytest.raises(TransitionConflict, match=r"serves version 1, but 3 was judged against 2; evaluate the gate"):
        deployment.promote(registry, layout, audit, version="3", expected_champion="2", **WHO)
    with pytest.raises(TransitionConflict, match="to serve 4, promote it"):
        deployment.deploy_initial(registry, layout, audit, version="4", **WHO)
    assert manifest_of(layout).generation == 1


def test_what_is_missing_is_said(registry: FrailRegistry, layout: Layout, audit: InMemoryLog) -> None:
    with pytest.raises(RegistryError, match=r"serves no model yet; run the job .*_train in `shadow ui`"):
        deployment.promote(registry, layout, audit, version="1", **WHO)
    deployment.deploy_initial(registry, layout, audit, version="1", **WHO)
    with pytest.raises(RegistryError, match="nothing to roll back to"):
        deployment.rollback(registry, layout, audit, **WHO)
    with pytest.raises(RegistryError, match="version 'x' is unknown"):
        deployment.promote(registry, layout, audit, version="x", **WHO)
    assert registry.aliases == {"champion": "1"}


@pytest.mark.parametrize("when", ["before alias", "after alias", "before manifest", "before audit"])
def test_a_crash_at_any_step_is_repaired_by_the_next_call(
    when: str, registry: FrailRegistry, layout: Layout, audit: InMemoryLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment.deploy_initial(registry, layout, audit, version="1", **WHO)
    broken: Any = audit
    with monkeypatch.context() as patch:
        if when == "before alias":
            registry.crash_before_swap = "champion"
        elif when == "after alias":
            registry.crash_after_swap = "champion"
        elif when == "before manifest":
            patch.setattr(journal, "write_manifest", _crash)
        else:
            broken = FullLog()
        with pytest.raises((CrashError, LogError)):
            deployment.promote(registry, layout, broken, version="2", **WHO)
    registry.crash_before_swap = registry.crash_after_swap = None
    repaired = deployment.reconcile(registry, layout, audit, use_case="shop", now=NOW)
    assert repaired is not None
    assert deployment.reconcile(registry, layout, audit, use_case="shop", now=NOW) == repaired
    expected = "1" if when == "before alias" else "2"
    assert repaired.champion.version == registry.aliases["champion"] == expected == manifest_of(layout).champion.version
    assert [m for m in moves(audit) if m[0] == "champion"][1:] == (
        [] if expected == "1" else [("champion", "1", "2", 2)]
    )
    again = deployment.promote(registry, layout, audit, version="3", **WHO)
    assert again.generation == repaired.generation + 1


def _crash(*_: object) -> None:
    raise CrashError


def test_an_alias_moved_by_hand_is_followed_and_audited(
    registry: FrailRegistry, layout: Layout, audit: InMemoryLog
) -> None:
    deployment.deploy_initial(registry, layout, audit, version="1", **WHO)
    registry.aliases["champion"] = "5"
    manifest = deployment.reconcile(registry, layout, audit, use_case="shop", now=NOW)
    assert manifest is not None
    assert (manifest.champion.version, manifest.generation) == ("5", 2)
    assert moves(audit)[1:] == [("champion", "1", "5", 2), ("previous", None, "1", 2)]
    assert registry.aliases == {"champion": "5", "previous": "1"}
    assert "outside the platform" in json.loads(audit.lines[-1])["reason"]


def test_concurrent_promotions_leave_one_champion_everywhere(
    registry: FrailRegistry, layout: Layout, audit: InMemoryLog
) -> None:
    deployment.deploy_initial(registry, layout, audit, version="1", **WHO)

    def promote(version: str) -> None:
        deployment.promote(registry, layout, audit, version=version, **WHO)

    threads = [threading.Thread(target=promote, args=(version,)) for version in "234567"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    manifest = manifest_of(layout)
    assert manifest.generation == 7
    assert registry.aliases["champion"] == manifest.champion.version
    assert registry.aliases["previous"] == (manifest.previous and manifest.previous.version)


def test_a_damaged_manifest_is_named_and_never_half_written(layout: Layout) -> None:
    path = layout.manifest("shop")
    model = DeployedModel(version="1", bundle_hash="h", model_name="line", since=NOW)
    manifest = DeploymentManifest(use_case="shop", generation=1, champion=model, written_at=NOW)
    deployment.write_manifest(path, manifest)
    assert deployment.read_manifest(path) == manifest
    assert [entry.name for entry in path.parent.iterdir()] == ["shop.json"]
    path.write_text("{")
    with pytest.raises(RegistryError, match=r"shop\.json: .*put back the manifest"):
        deployment.read_manifest(path)
    assert deployment.read_manifest(path.with_name("absent.json")) is None
