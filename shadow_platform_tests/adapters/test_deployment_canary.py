"""Canary and emergency: what was taken back stays so, with or without the registry, and leaves one audit row."""

import contextlib
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from shadow_platform.adapters import deployment
from shadow_platform.adapters.deployment import emergency, journal
from shadow_platform.contracts.deployment import Canary, DeploymentManifest
from shadow_platform.contracts.errors import AlreadyRunning, LogError, RegistryError, TransitionConflict
from shadow_platform.contracts.layout import Layout
from shadow_platform_tests.fakes_log import FullLog, InMemoryLog
from shadow_platform_tests.fakes_registry import NOW, CrashError, FrailRegistry

WHO: dict[str, Any] = {"use_case": "shop", "actor": "tester", "reason": "because", "now": NOW}
GUARD: dict[str, Any] = {"use_case": "shop", "actor": "slo-guard", "reason": "too slow", "now": NOW}


class Shop:
    """Champion 1 and challengers 3 and 2 of use case ``shop``, with everything a transition needs."""

    def __init__(self, home: Path) -> None:
        self.registry, self.layout, self.audit = FrailRegistry(), Layout(home), InMemoryLog()
        for version in "123456789":
            (self.layout.bundles / f"hash{version}").mkdir(parents=True)
        self.change("deploy_initial", version="1")
        self.change("add_challenger", version="2")
        self.change("add_challenger", version="3")

    def change(self, name: str, **arguments: Any) -> DeploymentManifest:
        transition: Callable[..., DeploymentManifest] = getattr(deployment, name)
        return transition(self.registry, self.layout, self.audit, **WHO, **arguments)

    def halt(self, canary: Canary | None, generation: int, audit: InMemoryLog | None = None) -> DeploymentManifest:
        assert canary is not None
        return deployment.halt_canary(
            self.layout, audit or self.audit, canary=canary, expected_generation=generation, **GUARD
        )

    def roll_back(self, generation: int, audit: InMemoryLog | None = None) -> DeploymentManifest:
        return deployment.emergency_rollback(self.layout, audit or self.audit, expected_generation=generation, **GUARD)

    def reconcile(self) -> DeploymentManifest | None:
        return deployment.reconcile(self.registry, self.layout, self.audit, use_case="shop", now=NOW)

    @property
    def manifest(self) -> DeploymentManifest:
        found = deployment.read_manifest(self.layout.manifest("shop"))
        assert found is not None
        return found

    def rows(self, alias: str) -> list[tuple[str | None, str | None, int]]:
        """Audit rows of an alias, as its readers see them: one a transition id."""
        found = {row["transition_id"]: row for row in map(json.loads, self.audit.lines)}
        return [(r["from_version"], r["to_version"], r["generation"]) for r in found.values() if r["alias"] == alias]


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def _crash(*_: object) -> None:
    raise CrashError


def test_a_canary_starts_grows_and_is_stopped_with_an_audit_row_each(shop: Shop) -> None:
    started = shop.change("start_canary", version="2", share=0.05).canary
    assert started is not None
    assert (started.model, started.share, started.halted_reason) == (shop.manifest.challengers[1], 0.05, None)
    assert shop.registry.aliases["canary"] == "2"
    grown = shop.change("set_canary_share", share=0.5).canary
    assert grown == started.model_copy(update={"share": 0.5})
    stopped = shop.change("stop_canary").canary
    assert stopped == started.model_copy(update={"share": 0.0, "halted_reason": "because"})
    assert "canary" not in shop.registry.aliases
    assert shop.rows("canary") == [(None, "2", 4), ("2", "2", 5), ("2", None, 6)]
    reasons = [json.loads(line)["reason"] for line in shop.audit.lines[-3:]]
    assert reasons == ["answers 5.0%: because", "answers 5.0% -> 50.0%: because", "because"]


def test_each_rollout_meets_other_subjects_first(shop: Shop) -> None:
    first = shop.change("start_canary", version="2", share=0.05).canary
    shop.change("stop_canary")
    second = shop.change("start_canary", version="2", share=0.05).canary
    assert first is not None
    assert second is not None
    assert first.salt != second.salt


def test_repeating_a_change_of_the_canary_changes_nothing(shop: Shop) -> None:
    for _ in range(2):
        shop.change("start_canary", version="2", share=0.05)
    for _ in range(2):
        shop.change("set_canary_share", share=0.2)
    assert shop.manifest.generation == 5


@pytest.mark.parametrize(
    ("change", "terms", "said"),
    [
        ("promote", {"version": "2"}, "version 2 was to be champion after generation"),
        ("start_canary", {"version": "2", "share": 0.1}, "version 2 was to answer as canary of generation"),
        ("set_canary_share", {"share": 0.1}, r"10\.0% were to be answered by the canary of generation"),
    ],
)
def test_a_change_that_was_chosen_for_an_earlier_deployment_is_not_carried_out(
    shop: Shop, change: str, terms: dict[str, Any], said: str
) -> None:
    seen = shop.change("start_canary", version="2", share=0.05)
    before = shop.halt(seen.canary, seen.generation)

    with pytest.raises(TransitionConflict, match=said):
        shop.change(change, expected_generation=seen.generation, **terms)

    assert shop.manifest == before


def test_a_canary_that_cannot_be_is_refused_with_the_reason(shop: Shop) -> None:
    with pytest.raises(RegistryError, match="no canary of shop answers; start one first"):
        shop.change("set_canary_share", share=0.5)
    with pytest.raises(RegistryError, match=r"version 7 is not in the shadow of shop \(there: 3, 2\)"):
        shop.change("start_canary", version="7", share=0.1)
    for share in (0.0, 1.1, -0.1):
        with pytest.raises(RegistryError, match="expected above 0 and at most 1"):
            shop.change("start_canary", version="2", share=share)
    shop.change("start_canary", version="2", share=0.1)
    with pytest.raises(TransitionConflict, match=r"version 2 already answers 10\.0% of shop as canary"):
        shop.change("start_canary", version="3", share=0.1)
    shop.change("stop_canary")
    with pytest.raises(RegistryError, match="the last one, version 2, ended: because; start one first"):
        shop.change("stop_canary")


def test_an_answering_canary_is_never_pushed_out_of_the_shadow(shop: Shop) -> None:
    shop.change("start_canary", version="2", share=0.1)
    for version in ("4", "5"):
        manifest = shop.change("add_challenger", version=version)
    assert [model.version for model in manifest.challengers] == ["5", "4", "2"]


def test_a_canary_that_leaves_the_shadow_answers_nobody(shop: Shop) -> None:
    shop.change("start_canary", version="2", share=0.1)
    assert shop.change("remove_challenger", version="2").canary is None
    assert shop.rows("canary") == [(None, "2", 4), ("2", None, 5)]


def test_promotion_ends_the_canary_and_begins_a_probation_that_rollback_ends(shop: Shop) -> None:
    shop.change("start_canary", version="2", share=0.1)
    promoted = shop.change("promote", version="2", probation_s=60.0)
    assert (promoted.canary, promoted.probation_until) == (None, NOW + timedelta(seconds=60))
    assert shop.registry.aliases == {"champion": "2", "previous": "1", "challenger": "3"}
    assert shop.change("rollback").probation_until is None
    assert shop.change("promote", version="3").probation_until is None


def test_a_halted_canary_stays_known_as_long_as_it_shadows(shop: Shop) -> None:
    started = shop.change("start_canary", version="2", share=0.1)
    halted = shop.halt(started.canary, started.generation).canary
    assert shop.change("promote", version="3").canary == halted
    assert shop.change("promote", version="2").canary is None


def test_the_canary_of_a_setting_is_halted_in_the_manifest(shop: Shop) -> None:
    """It is in force by CANARY_SPLIT alone: neither manifest nor registry know of it before."""
    canary = Canary(model=shop.manifest.challengers[0], share=0.2, salt="split", started_at=NOW)
    for end in (lambda: shop.halt(canary, 3), lambda: shop.change("stop_canary", canary=canary)):
        halted = end().canary
        assert halted is not None
        assert (halted.model.version, halted.share, bool(halted.halted_reason)) == ("3", 0.0, True)
    assert shop.rows("canary") == [("3", None, 4), ("3", None, 5)]


def test_an_emergency_needs_no_registry_and_the_aliases_follow_once_it_answers(shop: Shop) -> None:
    shop.change("promote", version="2", probation_s=60.0)
    started = shop.change("start_canary", version="3", share=0.1)
    shop.registry.is_away = True
    halted = shop.halt(started.canary, 5)
    back = shop.roll_back(halted.generation)
    assert (back.champion.version, back.previous and back.previous.version) == ("1", "2")
    assert (back.canary, back.probation_until, back.generation) == (halted.canary, None, 7)
    assert deployment.is_registry_behind(shop.layout, "shop")
    with pytest.raises(RegistryError, match="does not answer"):
        shop.change("promote", version="3")
    assert shop.manifest == back
    assert (shop.registry.aliases["champion"], shop.registry.aliases["canary"]) == ("2", "3")
    shop.registry.is_away = False
    assert shop.reconcile() == back
    assert shop.registry.aliases == {"champion": "1", "previous": "2", "challenger": "3"}
    assert not deployment.is_registry_behind(shop.layout, "shop")
    assert shop.rows("champion") == [(None, "1", 1), ("1", "2", 4), ("2", "1", 7)]
    assert shop.rows("canary") == [(None, "3", 5), ("3", None, 6)]
    assert len({json.loads(line)["transition_id"] for line in shop.audit.lines}) == len(shop.audit.lines)


def test_what_a_person_changed_meanwhile_wins_over_an_emergency(shop: Shop) -> None:
    judged = shop.change("start_canary", version="2", share=0.1)
    decided = shop.change("promote", version="2", probation_s=60.0)
    with pytest.raises(TransitionConflict, match="at generation 5, but the verdict is about 4"):
        shop.halt(judged.canary, judged.generation)
    with pytest.raises(TransitionConflict, match="what was decided meanwhile stays"):
        shop.roll_back(judged.generation)
    assert shop.manifest == decided


def test_an_emergency_without_a_way_back_says_so(shop: Shop) -> None:
    with pytest.raises(RegistryError, match="nothing to roll back to"):
        shop.roll_back(3)
    promoted = shop.change("promote", version="2")
    (shop.layout.bundles / "hash1").rmdir()
    with pytest.raises(RegistryError, match=r"bundle hash1 of version 1 is not in .*roll back by hand"):
        shop.roll_back(promoted.generation)
    assert shop.manifest == promoted


def test_an_emergency_does_not_wait_for_someone_who_holds_the_lock(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emergency, "LOCK_TIMEOUT_S", 0.05)
    promoted = shop.change("promote", version="2")
    with journal.locked(shop.layout, "shop", 1.0), pytest.raises(AlreadyRunning, match="wait for it, or end it"):
        shop.roll_back(promoted.generation)


CHANGES: dict[str, dict[str, Any]] = {
    "add_challenger": {"version": "4"},
    "remove_challenger": {"version": "2"},
    "set_shadow_policy": {"version": "3", "sample_rate": 0.5, "max_lag_s": None},
    "set_canary_share": {"share": 0.5},
    "stop_canary": {},
    "promote": {"version": "3", "probation_s": 60.0},
    "rollback": {},
}


@pytest.mark.parametrize("step", range(9))
@pytest.mark.parametrize("name", CHANGES)
def test_a_kill_at_any_step_of_any_change_leaves_registry_manifest_and_audit_in_agreement(
    name: str, step: int, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step is a write: of a file, of an alias, of the log. The process dies before the ``step``-th."""
    shop.change("promote", version="2")
    shop.change("add_challenger", version="5")
    shop.change("start_canary", version="5", share=0.1)
    shop.change("promote", version="1")
    shop.change("add_challenger", version="2")
    before = shop.change("start_canary", version="2", share=0.1)
    n_before, left = len(shop.audit.lines), [step]

    def mortal(write: Callable[..., None]) -> Callable[..., None]:
        def written(*arguments: Any) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise CrashError
            write(*arguments)

        return written

    with monkeypatch.context() as patch:
        for module, writer in ((journal, "write_atomic"), (journal, "write_manifest")):
            patch.setattr(module, writer, mortal(getattr(module, writer)))
        patch.setattr(shop.registry, "swap_alias", mortal(shop.registry.swap_alias))
        patch.setattr(shop.audit, "append_many", mortal(shop.audit.append_many))
        with contextlib.suppress(CrashError):
            shop.change(name, **CHANGES[name])
    repaired = shop.reconcile()
    assert repaired is not None
    assert repaired == shop.manifest == shop.reconcile()
    wanted = {alias: version for alias, version in deployment.aliases_of(repaired).items() if version}
    assert shop.registry.aliases == wanted
    rows = {row["transition_id"]: row["generation"] for row in map(json.loads, shop.audit.lines[n_before:])}
    assert set(rows.values()) == ({repaired.generation} if repaired.generation > before.generation else set())


@pytest.mark.parametrize("repair", ["guard", "person", "second emergency"])
@pytest.mark.parametrize("when", ["before manifest", "before audit", "after audit"])
def test_a_kill_in_an_emergency_leaves_no_split_and_one_audit_row(
    when: str, repair: str, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    promoted = shop.change("promote", version="2", probation_s=60.0)
    with monkeypatch.context() as patch:
        if when == "before manifest":
            patch.setattr(emergency, "write_manifest", _crash)
        if when == "after audit":
            patch.setattr(journal, "write_atomic", _crash)
        with pytest.raises((CrashError, LogError)):
            shop.roll_back(promoted.generation, FullLog() if when == "before audit" else None)
    serves = "2" if when == "before manifest" else "1"
    assert shop.manifest.champion.version == serves
    if repair == "guard":
        deployment.settle_audit(shop.layout, shop.audit, use_case="shop")
    elif repair == "second emergency":
        canary = Canary(model=shop.manifest.challengers[0], share=0.1, salt="s", started_at=NOW)
        shop.halt(canary, shop.manifest.generation)
    shop.reconcile()
    shop.reconcile()
    assert shop.manifest.champion.version == shop.registry.aliases["champion"] == serves
    assert shop.rows("champion")[2:] == ([] if serves == "2" else [("2", "1", 5)])
    assert len(shop.rows("canary")) == (1 if repair == "second emergency" else 0)
    assert journal.read_intent(shop.layout, "shop") is None


def test_a_second_emergency_that_is_killed_does_not_undo_the_first(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its intent replaces the one by which the registry was to follow the first."""
    shop.change("promote", version="2", probation_s=60.0)
    started = shop.change("start_canary", version="3", share=0.1)
    shop.registry.is_away = True
    back = shop.roll_back(started.generation)
    with monkeypatch.context() as patch:
        patch.setattr(emergency, "write_manifest", _crash)
        with pytest.raises(CrashError):
            shop.halt(started.canary, back.generation)
    shop.registry.is_away = False
    assert shop.reconcile() == back
    assert shop.registry.aliases["champion"] == back.champion.version == "1"
    assert shop.rows("champion")[-1] == ("2", "1", 6)


@pytest.mark.parametrize("when", ["after alias", "before audit"])
def test_an_emergency_finds_order_after_a_transition_that_died(
    when: str, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A promotion died; its manifest serves or it never took effect. The emergency is about what serves."""
    shop.change("promote", version="2", probation_s=60.0)
    shop.registry.crash_after_swap = "champion" if when == "after alias" else "previous"
    with pytest.raises(CrashError):
        shop.change("promote", version="3", probation_s=60.0)
    shop.registry.crash_after_swap, shop.registry.is_away = None, True
    back = shop.roll_back(shop.manifest.generation)
    shop.registry.is_away = False
    assert shop.reconcile() == back
    expected = [("2", "1", 5)] if when == "after alias" else [("2", "3", 5), ("3", "2", 6)]
    assert shop.rows("champion")[2:] == expected
    assert shop.registry.aliases["champion"] == back.champion.version == expected[-1][1]
