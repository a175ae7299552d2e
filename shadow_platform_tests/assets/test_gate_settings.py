"""Limits that the environment sets are those of the gate: in its criteria, its page and the policy of its sequence."""

import json
from dataclasses import replace
from typing import Any

import pytest

from shadow_platform.assets.gates.replaying import decision_named, run_again
from shadow_platform.assets.gates.sequences import known_sequences
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.verdicts import Criterion, Decision, GateDecision, Outcome
from shadow_platform.resources.policies import gate_policy
from shadow_platform.settings import Settings
from shadow_platform.use_cases import load_use_case
from shadow_platform_tests.assets.gate_home import USE_CASE, decide, served_home, stored
from shadow_platform_tests.assets.served import Home


@pytest.fixture(scope="module")
def decided(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A served home on which a gate has decided to promote, with no limit set by the environment."""
    made = served_home(Layout(tmp_path_factory.mktemp("limits") / "home"))
    decide(made)
    return made


@pytest.fixture
def home(decided: Home, layout: Layout) -> Home:
    """A copy on which a test may decide again."""
    return decided.copied_to(layout)


def newest(home: Home) -> GateDecision:
    """The decision of the sequence that was opened last."""
    last = known_sequences(home.platform, USE_CASE)[-1].sequence_id
    return next(decision for decision in stored(home) if decision.sequence_id == last)


def criterion(decision: GateDecision, name: str) -> Criterion:
    return next(found for found in decision.criteria if found.name == name)


def metadata(result: Any) -> Any:
    return result.asset_materializations_for_node("shop__gate_decision")[0].metadata


@pytest.mark.parametrize(
    ("name", "value", "of", "outcome", "verdict"),
    [
        ("MIN_SAMPLES_FOR_DECISION", "5000", "matured_labels", Outcome.INSUFFICIENT, Decision.WAIT),
        ("MAX_BRIER_DEGRADATION", "0.25", "brier_change", Outcome.PASS, Decision.PROMOTE),
        ("SLO_P95_MS", "0.125", "challenger_latency_p95_ms", Outcome.FAIL, Decision.REJECT),
        ("SLO_ERROR_RATE", "0.5", "challenger_error_rate", Outcome.PASS, Decision.PROMOTE),
    ],
)
def test_a_limit_of_the_environment_is_the_one_that_a_criterion_holds(
    home: Home, monkeypatch: pytest.MonkeyPatch, name: str, value: str, of: str, outcome: Outcome, verdict: Decision
) -> None:
    monkeypatch.setenv(name, value)

    told = metadata(decide(home))["limits_of_environment"].value

    found = newest(home)
    assert (found.decision, criterion(found, of).outcome) == (verdict, outcome)
    assert criterion(found, of).limit == float(value)
    assert told.endswith(f"={value} by {name}")


def test_a_limit_that_is_set_opens_another_sequence_and_the_stored_decision_comes_out_again(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIN_SAMPLES_FOR_DECISION", "5000")
    decide(home, has_page=True)

    first, second = known_sequences(home.platform, USE_CASE)
    assert [json.loads(each.policy)["min_samples"] for each in (first, second)] == [200, 5000]
    assert (first.ordinal, second.ordinal) == (1, 2)
    assert "5,000" in home.layout.decision_page(USE_CASE.name, newest(home).decision_id).read_text()
    for is_set in (True, False):
        for each in stored(home):
            again = run_again(home.platform, USE_CASE, decision_named(home.platform, USE_CASE, each.decision_id))
            assert again.is_same, is_set
        monkeypatch.delenv("MIN_SAMPLES_FOR_DECISION", raising=False)


@pytest.mark.parametrize(
    ("name", "value"), [("MIN_SAMPLES_FOR_DECISION", "200"), ("SLO_P95_MS", "200"), ("MIN_F1_IMPROVEMENT_PCT", "9")]
)
def test_a_limit_that_changes_nothing_continues_the_sequence(
    home: Home, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """As it was declared, or of a criterion that the use case's gate does not have."""
    before = stored(home)
    monkeypatch.setenv(name, value)

    decide(home)

    assert len(known_sequences(home.platform, USE_CASE)) == 1
    assert stored(home) == before


def test_a_gain_of_f1_or_a_bound_of_the_brier_score_is_set_only_where_the_gate_has_one() -> None:
    settings = Settings(min_f1_improvement_pct=9.0, max_brier_degradation=0.5)
    bare = replace(USE_CASE, gate=replace(USE_CASE.gate, max_brier_degradation=None))

    limits = [
        (policy.min_f1_improvement_pct, policy.max_brier_degradation)
        for policy in (gate_policy(settings, use_case) for use_case in (load_use_case("credit"), USE_CASE, bare))
    ]

    assert limits == [(9.0, 0.5), (None, 0.5), (None, None)]


def test_without_a_limit_of_the_environment_a_run_says_so(home: Home) -> None:
    assert metadata(decide(home))["limits_of_environment"].value == "none"
