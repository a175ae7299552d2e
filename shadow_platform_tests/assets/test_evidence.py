"""From the logs to a decision and a promotion: every asset behind the logs, on one served home."""

import json
from datetime import date, timedelta
from typing import Any

import pytest

from shadow_platform.adapters.log import FileLogSink
from shadow_platform.assets.comparison import CONSERVATION_CHECK, build_comparison_assets
from shadow_platform.assets.gates import REPRODUCIBLE_CHECK, build_gate_assets
from shadow_platform.assets.performance import build_performance_assets
from shadow_platform.assets.promotion import build_promotion_assets
from shadow_platform.assets.warehouse import build_warehouse_assets
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.tables import (
    GATE_DECISIONS,
    MODEL_TRANSITIONS,
    PERFORMANCE_DAILY,
    PREDICTIONS,
    SHADOW_COMPARISON_HOURLY,
)
from shadow_platform_tests.assets.served import CHALLENGER, CHAMPION, FAR_OFF, FIRST_DAY, TRUTH, USE_CASE, Home

DAYS, PER_DAY = 12, 100
AS_OF = {"as_of": (FIRST_DAY + timedelta(days=DAYS + 1)).isoformat()}

PREDICTIONS_ASSET, COMPARISONS, HOURLY = build_comparison_assets(USE_CASE)
_OF_PROMOTION = {asset.key.path[-1]: asset for asset in build_promotion_assets(USE_CASE)}
DEPLOYMENT, PROMOTION, TRANSITIONS = (_OF_PROMOTION[n] for n in ("deployment", "promotion", "model_transitions"))
GATE, PERFORMANCE = build_gate_assets(USE_CASE)[0], build_performance_assets(USE_CASE)[0]
WAREHOUSE = build_warehouse_assets(USE_CASE)[0]


def check(result: Any, name: str) -> Any:
    return next(e for e in result.get_asset_check_evaluations() if e.check_name == name)


@pytest.fixture
def home(layout: Layout) -> Home:
    """Champion far off the truth, challenger on it, both deployed as after the first training."""
    return deployed(layout)


def deployed(layout: Layout) -> Home:
    made = Home(layout)
    assert [made.register(*FAR_OFF), made.register(*TRUTH)] == [CHAMPION, CHALLENGER]
    made.materialize(DEPLOYMENT)
    return made


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Twelve days of traffic, in tables."""
    made = deployed(Layout(tmp_path_factory.mktemp("served") / "home"))
    made.serve(DAYS, PER_DAY, TRUTH)
    assert made.materialize(PREDICTIONS_ASSET, COMPARISONS, HOURLY, days=DAYS + 1).success
    return made


@pytest.fixture
def served(template: Home, layout: Layout) -> Home:
    """A copy of the template that a test may change."""
    return template.copied_to(layout)


def test_the_first_deployment_sets_champion_and_challenger_and_repeats_without_effect(home: Home) -> None:
    first = home.manifest()
    home.materialize(DEPLOYMENT)

    assert first.champion.version == CHAMPION
    assert [model.version for model in first.challengers] == [CHALLENGER]
    assert home.manifest() == first


def test_a_newer_version_joins_the_shadow_and_never_replaces_the_champion(home: Home) -> None:
    home.register(0.05, -2.5)
    home.materialize(DEPLOYMENT)

    assert home.manifest().champion.version == CHAMPION
    assert [model.version for model in home.manifest().challengers] == ["3", "2"]


def test_every_logged_request_is_in_the_tables_once(served: Home) -> None:
    hourly = served.lake.read_table(SHADOW_COMPARISON_HOURLY, USE_CASE)

    assert len(served.lake.read_table(PREDICTIONS, USE_CASE)) == DAYS * PER_DAY
    assert hourly["sent"].sum() == hourly["compared"].sum() == DAYS * PER_DAY


def test_a_comparison_that_is_missing_fails_the_check_and_says_what_to_do(served: Home) -> None:
    folder = served.layout.log("shadow", USE_CASE.name) / f"challenger={CHALLENGER}"
    segment = next(folder.rglob("*.jsonl"))
    lines = segment.read_bytes().splitlines(keepends=True)
    segment.write_bytes(b"".join(lines[:40] + lines[43:]))

    result = served.materialize(COMPARISONS, days=1)

    found = check(result, CONSERVATION_CHECK)
    assert not found.passed
    assert found.severity.value == "ERROR"
    assert "challenger 2: 3 lost, 0 pending" in found.description
    assert "challenger_replay" in found.description


def test_a_comparison_that_was_logged_twice_fails_the_check_although_the_table_has_it_once(served: Home) -> None:
    folder = served.layout.log("shadow", USE_CASE.name) / f"challenger={CHALLENGER}"
    segment = next(folder.rglob("*.jsonl"))
    lines = segment.read_bytes().splitlines(keepends=True)
    segment.write_bytes(b"".join([*lines, *lines[5:7]]))

    found = check(served.materialize(COMPARISONS, days=1), CONSERVATION_CHECK)

    assert (found.passed, found.severity.value) == (False, "ERROR")
    assert "challenger 2: 0 lost, 0 pending, 0 surplus, 2 doubled" in found.description


def test_a_lagging_shadow_worker_is_a_warning(served: Home) -> None:
    folder = served.layout.log("shadow", USE_CASE.name) / f"challenger={CHALLENGER}"
    segment = next(folder.rglob("*.jsonl"))
    segment.write_bytes(b"".join(segment.read_bytes().splitlines(keepends=True)[:90]))

    found = check(served.materialize(COMPARISONS, days=1), CONSERVATION_CHECK)

    assert (found.passed, found.severity.value) == (False, "WARN")
    assert "0 lost, 10 pending" in found.description


def test_an_unreadable_log_line_is_counted_and_the_rest_kept(home: Home) -> None:
    home.serve(1, 20, TRUTH)
    sink = FileLogSink(home.layout.log("predictions", USE_CASE.name))
    sink.append({"request_id": "half"})
    sink.close()

    result = home.materialize(PREDICTIONS_ASSET, days=1)

    metadata = result.asset_materializations_for_node(f"{USE_CASE.name}__predictions")[0].metadata
    assert metadata["unreadable_lines"].value == 1
    assert metadata["dagster/row_count"].value == 20


def test_the_hourly_asset_shows_a_plot(served: Home) -> None:
    result = served.materialize(HOURLY, days=DAYS)

    metadata = result.asset_materializations_for_node(f"{USE_CASE.name}__shadow_comparison_hourly")[0].metadata
    assert str(metadata["comparison"].value).count("data:image/png;base64,iVBOR") == 1


def test_performance_counts_only_matured_labels(served: Home) -> None:
    as_of = FIRST_DAY + timedelta(days=5)
    served.materialize(PERFORMANCE, config={"performance_daily": {"as_of": as_of.isoformat()}})

    rows = served.lake.read_table(PERFORMANCE_DAILY, USE_CASE)
    champion = rows[rows["role"].eq("champion")]
    champion = champion.set_index(champion["day_at"].dt.date)
    assert champion["n"].tolist() == [100, 100, 100, 100, 100]
    assert champion["n_labelled"].tolist() == [100, 100, 100, 100, 0]
    assert champion.loc[date(2024, 2, 4), ["log_loss", "f1"]].isna().all()
    assert champion["estimated_f1"].notna().all()


def test_evidence_promotes_the_better_challenger_and_the_swap_is_audited(served: Home) -> None:
    result = served.materialize(GATE, PROMOTION, TRANSITIONS, config={"gate_decision": AS_OF})

    decision = served.lake.read_table(GATE_DECISIONS, USE_CASE).iloc[0]
    assert decision["decision"] == "promote", decision["reason"]
    assert {c["name"] for c in json.loads(decision["criteria"])} >= {"log_loss_gain", "a_a_difference", "segments"}
    assert check(result, REPRODUCIBLE_CHECK).passed
    assert served.manifest().champion.version == CHALLENGER
    assert [model.version for model in served.manifest().challengers] == [CHAMPION]
    transitions = served.lake.read_table(MODEL_TRANSITIONS, USE_CASE)
    swap = transitions[transitions["alias"].eq("champion") & transitions["from_version"].eq(CHAMPION)].iloc[0]
    assert (swap["to_version"], swap["actor"], swap["evidence_id"]) == (CHALLENGER, "gate", decision["decision_id"])


def test_deciding_twice_on_the_same_day_is_one_row(served: Home) -> None:
    served.materialize(GATE, config={"gate_decision": AS_OF})
    served.materialize(GATE, config={"gate_decision": AS_OF})

    assert len(served.lake.read_table(GATE_DECISIONS, USE_CASE)) == 1


def test_early_on_the_gate_waits_and_promotion_changes_nothing(served: Home) -> None:
    before = served.manifest()
    early = {"as_of": (FIRST_DAY + timedelta(days=3)).isoformat()}

    served.materialize(GATE, PROMOTION, config={"gate_decision": early})

    assert served.lake.read_table(GATE_DECISIONS, USE_CASE)["decision"].tolist() == ["wait"]
    assert served.manifest() == before


def test_promotion_can_be_asked_only_to_say_what_it_would_do(served: Home) -> None:
    before = served.manifest()

    result = served.materialize(
        GATE, PROMOTION, config={"gate_decision": AS_OF, "promotion": {"promote_challenger": False}}
    )

    metadata = result.asset_materializations_for_node(f"{USE_CASE.name}__promotion")[0].metadata
    assert metadata[f"action_{CHALLENGER}"].value == "promote"
    assert served.manifest() == before


def test_a_harmful_challenger_is_taken_out_of_the_shadow_and_not_tried_again(home: Home) -> None:
    home.serve(DAYS, PER_DAY, FAR_OFF)
    home.materialize(PREDICTIONS_ASSET, COMPARISONS, days=DAYS + 1)
    home.materialize(GATE, PROMOTION, config={"gate_decision": AS_OF})
    home.materialize(DEPLOYMENT)

    assert home.lake.read_table(GATE_DECISIONS, USE_CASE)["decision"].tolist() == ["reject"]
    assert home.manifest().challengers == ()
    assert home.manifest().champion.version == CHAMPION


def test_a_champion_whose_own_shadow_answers_otherwise_blocks_promotion(served: Home) -> None:
    later = FIRST_DAY + timedelta(days=5)
    served.pass_a_a(run_id="later", ran_at=later, n_differing=1, max_difference=0.01, outcome="fail")

    served.materialize(GATE, config={"gate_decision": AS_OF})

    decision = served.lake.read_table(GATE_DECISIONS, USE_CASE).iloc[0]
    assert decision["decision"] == "wait"
    assert "a_a_difference fail" in decision["reason"]


def test_requests_before_the_evaluation_window_of_either_model_are_no_evidence(served: Home) -> None:
    day = FIRST_DAY.date() - timedelta(days=1)
    rows = served.lake.read_table(PREDICTIONS, USE_CASE, FIRST_DAY.date(), FIRST_DAY.date() + timedelta(days=1))
    rows["requested_at"] -= timedelta(days=1)
    rows["request_id"] = "earlier" + rows["request_id"]
    served.lake.write_table(PREDICTIONS, USE_CASE, day, rows)

    served.materialize(GATE, config={"gate_decision": AS_OF})

    criteria = json.loads(served.lake.read_table(GATE_DECISIONS, USE_CASE).iloc[0]["criteria"])
    assert next(c["n"] for c in criteria if c["name"] == "matured_labels") == DAYS * PER_DAY


def test_requests_that_a_canary_answered_or_failed_are_no_evidence(served: Home) -> None:
    day = FIRST_DAY.date() + timedelta(days=5)
    rows = served.lake.read_table(PREDICTIONS, USE_CASE, day, day + timedelta(days=1))
    rows.loc[rows.index[:7], "variant"] = "canary"
    rows.loc[rows.index[7:10], "is_fallback"] = True
    served.lake.write_table(PREDICTIONS, USE_CASE, day, rows)

    served.materialize(GATE, config={"gate_decision": AS_OF})

    criteria = json.loads(served.lake.read_table(GATE_DECISIONS, USE_CASE).iloc[0]["criteria"])
    assert next(c["n"] for c in criteria if c["name"] == "matured_labels") == DAYS * PER_DAY - 10


def test_an_unknown_challenger_is_refused_by_name(served: Home) -> None:
    with pytest.raises(Exception, match="challenger version '9' is not in the shadow; there: 2"):
        served.materialize(GATE, config={"gate_decision": {**AS_OF, "challenger_version": "9"}})


def test_the_warehouse_holds_the_decision(served: Home) -> None:
    served.materialize(GATE, WAREHOUSE, config={"gate_decision": AS_OF})

    assert served.layout.warehouse.exists()
    assert served.lake.sql("SELECT count(*) AS n FROM gate_decisions")["n"].tolist() == [1]
