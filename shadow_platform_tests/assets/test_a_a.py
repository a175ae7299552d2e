"""A/A runs as assets: made before a challenger counts, kept whole or not at all, one standing for each bundle."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import pytest

from bento.shadowing.a_a import shadow_itself
from shadow_platform.assets.a_a import build_a_a_assets
from shadow_platform.contracts.errors import ShadowPlatformError
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.tables import A_A_RUNS
from shadow_platform.contracts.use_case import GatePolicy, UseCase
from shadow_platform.contracts.verdicts import Outcome
from shadow_platform.definitions import build_definitions
from shadow_platform.domain.gates.operation import judge_a_a
from shadow_platform.resources import PlatformResource
from shadow_platform_tests.bento import shop
from shadow_platform_tests.bento.answered import answers
from shadow_platform_tests.bento.bundles import FAILS_ABOVE, hanging_bundle, line_bundle
from shadow_platform_tests.bento.helpers import deploy, wait_until
from shadow_platform_tests.bento.shadowed import log

USE_CASE = replace(shop.USE_CASE, gate=GatePolicy(min_a_a=20))
KEY = dg.AssetKey(["shop", "a_a_run"])


class AskedHere(PlatformResource):
    """The platform as it is, but that a run needs no process of its own around that of the model."""

    def _bento(self, use_case: UseCase, module: str, *arguments: str) -> str:
        assert (module, arguments[0]) == ("shadow", "--a-a")
        _, version, _, digest, _, n = arguments
        return shadow_itself(self.layout, use_case.name, version, digest, int(n)).model_dump_json()


class Home:
    """A home with answers of champion 1, and challenger 2 in the shadow."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.platform = AskedHere(shadow_home=str(layout.home))
        self.champion = line_bundle(layout.bundles)
        deploy(layout, self.champion, {"2": line_bundle(layout.bundles, slope=0.03)})

    def run(self, use_case: UseCase = USE_CASE, **config: Any) -> tuple[dict[str, Any], dg.AssetCheckEvaluation]:
        """Metadata and check result of the asset, materialized alone."""
        result = dg.materialize(
            build_a_a_assets(use_case),
            resources={"platform": self.platform},
            run_config={"ops": {"shop__a_a_run": {"config": config}}} if config else None,
        )
        (event,) = result.asset_materializations_for_node("shop__a_a_run")
        (check,) = result.get_asset_check_evaluations()
        return {name: value.value for name, value in event.metadata.items()}, check

    def kept(self) -> list[str]:
        """Outcomes of the runs so far, oldest first."""
        return list(self.platform.a_a_runs(USE_CASE)["outcome"])


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("SHADOW_USE_CASE", shop.NAME)
    return Home(Layout(tmp_path))


@pytest.fixture
def kept(home: Home) -> Iterator[Home]:
    """The home, whose shadow log must not have come into being when the test is over."""
    yield home
    assert not home.layout.log("shadow", "shop").exists()


def test_a_champion_runs_until_a_run_decides_and_then_no_more_unless_forced(kept: Home) -> None:
    home = kept
    log(home.layout, answers(home.layout, home.champion, range(10)))
    metadata, check = home.run()
    assert (metadata["is_new"], metadata["outcome"], check.passed) == (True, "insufficient", False)
    assert check.severity is dg.AssetCheckSeverity.WARN
    log(home.layout, answers(home.layout, home.champion, range(10, 30)))
    metadata, check = home.run(requests=25)
    assert (metadata["is_new"], metadata["outcome"], metadata["n"], check.passed) == (True, "pass", 25, True)
    metadata, check = home.run()
    assert (metadata["is_new"], metadata["outcome"], check.passed) == (False, "pass", True)
    assert home.run(force=True)[0]["is_new"]
    assert home.kept() == ["insufficient", "pass", "pass"]


def test_a_run_passes_for_a_policy_that_it_could_have_been_judged_by_alone(home: Home) -> None:
    told = answers(home.layout, home.champion, range(30))
    told[20] = replace(told[20], probability=told[20].probability + 1e-4)
    log(home.layout, told)
    loose = replace(USE_CASE, gate=GatePolicy(min_a_a=20, max_a_a_difference=1e-3))
    assert home.run(loose)[0]["is_new"]
    assert home.kept() == ["pass"]
    assert not home.run(replace(USE_CASE, gate=GatePolicy(min_a_a=20, max_a_a_difference=2e-4)))[0]["is_new"]
    assert home.run(replace(USE_CASE, gate=GatePolicy(min_a_a=31, max_a_a_difference=1e-3)))[0]["is_new"]
    facts = home.platform.latest_a_a(USE_CASE, home.champion)
    assert facts is not None
    assert [found.outcome for found in judge_a_a(facts, USE_CASE.gate)] == [Outcome.INSUFFICIENT]
    assert home.run()[0]["is_new"]
    assert home.kept() == ["pass", "insufficient", "fail"]


def test_only_a_failed_run_that_would_count_can_be_explained(home: Home) -> None:
    told = answers(home.layout, home.champion, range(10))
    told[5] = replace(told[5], probability=told[5].probability + 0.01)
    log(home.layout, told)
    assert home.run()[0]["outcome"] == "fail"
    (run_id,) = home.platform.a_a_runs(USE_CASE)["run_id"]
    with pytest.raises(ShadowPlatformError, match="10 answers of the champion's own shadow compared, at least 20 need"):
        home.platform.explain_a_a(USE_CASE, run_id, "a repaired log", "tester")
    strict = replace(USE_CASE, gate=GatePolicy(min_a_a=10, max_a_a_difference=1e-7))
    with pytest.raises(ShadowPlatformError, match="would not count though explained: the run tolerated 1e-05"):
        home.platform.explain_a_a(strict, run_id, "a repaired log", "tester")
    assert home.kept() == ["fail"]


def test_nothing_runs_where_nothing_would_be_judged_by_it(home: Home) -> None:
    unbounded = replace(USE_CASE, gate=GatePolicy(max_a_a_difference=None))
    assert not home.run(unbounded)[0]["is_new"]
    deploy(home.layout, home.champion, {})
    metadata, check = home.run()
    assert metadata == {"is_new": False}
    assert check.description == "the champion has not shadowed itself yet"


def test_a_failed_run_stands_until_a_person_runs_again_or_explains_it(home: Home) -> None:
    told = answers(home.layout, home.champion, range(30))
    told[20] = replace(told[20], probability=told[20].probability + 0.01)
    log(home.layout, told)
    metadata, check = home.run()
    assert (metadata["outcome"], metadata["n_differing"], check.passed) == ("fail", 1, False)
    assert check.severity is dg.AssetCheckSeverity.ERROR
    assert "request r-20" in str(check.description)
    assert not home.run()[0]["is_new"]
    facts = home.platform.latest_a_a(USE_CASE, home.champion)
    assert facts is not None
    assert (facts.outcome, facts.n, facts.n_differing) == (Outcome.FAIL, 30, 1)
    assert facts.max_difference == pytest.approx(0.01)
    home.platform.explain_a_a(USE_CASE, facts.run_id[:12], "a repaired log", "tester")
    explained = home.platform.latest_a_a(USE_CASE, home.champion)
    assert explained is not None
    assert (explained.outcome, explained.n_differing) == (Outcome.PASS, 1)
    (reason,) = home.platform.a_a_runs(USE_CASE)["reason"].tail(1)
    assert reason.startswith(f"explained by tester: a repaired log (run {facts.run_id}: 1 of 30 answers differ")
    assert home.platform.latest_a_a(USE_CASE, home.champion, until=facts.ran_at) == facts
    assert not home.run()[0]["is_new"]
    with pytest.raises(ShadowPlatformError, match="only a failed run that stands can be explained"):
        home.platform.explain_a_a(USE_CASE, facts.run_id, "again", "tester")


def test_a_run_that_cannot_be_made_is_told_and_holds_up_no_decision(home: Home) -> None:
    log(home.layout, answers(home.layout, home.champion, range(30)))
    (home.layout.bundles / home.champion / "model.onnx").write_bytes(b"tampered")
    metadata, check = home.run()
    assert not metadata["is_new"]
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert "the run ended without a result" in str(check.description)
    assert "challenger 1 does not start" in metadata["error"]
    assert home.kept() == []


def test_a_run_says_nothing_of_another_bundle_and_a_short_one_hides_no_verdict(home: Home) -> None:
    log(home.layout, answers(home.layout, home.champion, range(30)))
    passed = home.platform.run_a_a(USE_CASE, "1", home.champion, 30)
    assert passed["trigger"] == "manual"
    assert home.platform.run_a_a(USE_CASE, "1", home.champion, 5)["outcome"] == "insufficient"
    facts = home.platform.latest_a_a(USE_CASE, home.champion)
    assert facts is not None
    assert facts.run_id == passed["run_id"]
    assert home.platform.latest_a_a(USE_CASE, "another") is None


def test_the_deciding_job_runs_before_it_decides() -> None:
    layer = build_definitions([USE_CASE]).resolve_job_def("shop_decide").asset_layer
    assert KEY in layer.selected_asset_keys
    assert KEY in layer.get(dg.AssetKey(["shop", "gate_decision"])).parent_keys


@pytest.mark.processes
@pytest.mark.timeout(600)
def test_a_run_whose_process_is_killed_says_so_and_keeps_nothing(home: Home) -> None:
    digest = hanging_bundle(home.layout.bundles)
    (told,) = answers(home.layout, digest, [0])
    log(home.layout, [replace(told, features={"cart_value": FAILS_ABOVE + 1, "channel": "mail"})])
    platform = PlatformResource(shadow_home=str(home.layout.home))
    said: list[str] = []

    def ask() -> None:
        with pytest.raises(ShadowPlatformError) as raised:
            platform.run_a_a(USE_CASE, "1", digest, 30)
        said.append(str(raised.value))

    asking = threading.Thread(target=ask)
    asking.start()
    found: list[psutil.Process] = []

    def is_asked() -> bool:
        found[:] = _processes(digest)
        return len(found) == 2

    wait_until(is_asked, "the model is asked")
    asked, model = found
    asked.kill()
    asking.join(90.0)
    (text,) = said
    assert text.startswith(f"-m bento.shadow --a-a 1 --bundle {digest}")
    assert "failed with code -9" in text
    assert home.platform.lake().read_table(A_A_RUNS, USE_CASE).empty
    wait_until(lambda: _has_ended(model), "the model went with it")


def _processes(digest: str) -> list[psutil.Process]:
    """The run and its model, as they are started here; others come and go meanwhile."""
    children = psutil.Process().children(recursive=True)
    found = [child for child in children if any(digest in word for word in _words(child))]
    return sorted(found, key=psutil.Process.create_time)


def _words(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.NoSuchProcess:
        return []


def _has_ended(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True
