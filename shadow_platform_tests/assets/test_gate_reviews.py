"""After a promotion, labels corrected later open its record again; gates at once take turns."""

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pandas as pd
import pytest

from shadow_platform.assets.gates.replaying import decision_named, run_again
from shadow_platform.assets.gates.reviewing import STANDING_CHECK
from shadow_platform.assets.gates.sequences import known_sequences
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.tables import GATE_REVIEWS, SHADOW_COMPARISONS
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.contracts.verdicts import Decision, Outcome
from shadow_platform_tests.assets.gate_home import (
    AS_OF,
    USE_CASE,
    change_rows,
    correct_labels,
    decide,
    promote,
    review,
    served_home,
    stored,
)
from shadow_platform_tests.assets.served import Home

LATER = AS_OF + timedelta(hours=5)
Change = Callable[[pd.DataFrame], "pd.Series[bool]"]


@pytest.fixture(scope="module")
def decided(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A served home on which a gate has decided to promote."""
    made = served_home(Layout(tmp_path_factory.mktemp("reviews") / "home"))
    decide(made)
    return made


@pytest.fixture
def home(decided: Home, layout: Layout) -> Home:
    """A copy on which the challenger was promoted."""
    made = decided.copied_to(layout)
    promote(made, stored(made)[0].decision_id)
    return made


def reviews(home: Home) -> pd.DataFrame:
    return home.lake.read_table(GATE_REVIEWS, USE_CASE)


def standing(result: Any) -> Any:
    return next(e for e in result.get_asset_check_evaluations() if e.check_name == STANDING_CHECK)


def test_a_promotion_whose_labels_stand_leaves_no_review(home: Home) -> None:
    result = review(home)

    assert reviews(home).empty
    assert standing(result).passed


@pytest.mark.parametrize(
    ("change", "outcome", "decision_now"),
    [
        pytest.param(lambda labels: labels.index < 3, "changed", "promote", id="a few"),
        pytest.param(lambda labels: labels.index >= 0, "reopened", "reject", id="all"),
    ],
)
def test_labels_corrected_after_a_promotion_open_its_record_again_and_leave_the_decision_as_it_was(
    home: Home, change: Change, outcome: str, decision_now: str
) -> None:
    correct_labels(home, LATER, change)

    result = review(home)

    (row,) = reviews(home).to_dict("records")
    assert (row["outcome"], row["decision_now"], row["changed"]) == (outcome, decision_now, "labels")
    assert row["decision_id"] == stored(home)[0].decision_id
    assert standing(result).passed == (outcome == "changed")
    assert run_again(home.platform, USE_CASE, decision_named(home.platform, USE_CASE, None)).is_same


def test_a_review_is_noted_once_and_a_further_correction_again(home: Home) -> None:
    correct_labels(home, LATER, lambda labels: labels.index < 3)
    review(home)
    review(home)
    assert len(reviews(home)) == 1

    correct_labels(home, LATER + timedelta(minutes=1), lambda labels: labels["subject_id"].isin(["v000010"]))
    review(home)

    assert reviews(home)["review_id"].nunique() == len(reviews(home)) == 2


def test_decisions_that_changed_nothing_and_old_promotions_are_not_reviewed(decided: Home, layout: Layout) -> None:
    home = decided.copied_to(layout)
    correct_labels(home, LATER, lambda labels: labels.index >= 0)

    metadata = review(home).asset_materializations_for_node("shop__gate_reviews")[0].metadata

    assert metadata["reviewed"].value == 0
    assert reviews(home).empty


def test_a_decision_that_cannot_be_run_again_is_told_and_stops_no_other(home: Home) -> None:
    for path in (home.layout.tables / "gate_sequences").rglob("data.parquet"):
        path.unlink()

    result = review(home)

    metadata = result.asset_materializations_for_node("shop__gate_reviews")[0].metadata
    assert "is not in gate_sequences" in str(metadata["unreadable"].value)
    assert result.success


@pytest.mark.parametrize("policies", [(USE_CASE, USE_CASE), (USE_CASE, None)], ids=["one policy", "two policies"])
def test_two_gates_at_once_continue_one_sequence_or_take_an_ordinal_each(
    decided: Home, layout: Layout, policies: tuple[UseCase, UseCase | None]
) -> None:
    home = decided.copied_to(layout)
    for table in ("gate_sequences", "gate_decisions"):
        for path in (home.layout.tables / table).rglob("data.parquet"):
            path.unlink()
    stricter = replace(USE_CASE, gate=replace(USE_CASE.gate, margin=0.5))
    gates = [threading.Thread(target=decide, args=(home, policy or stricter)) for policy in policies]
    for gate in gates:
        gate.start()
    for gate in gates:
        gate.join()

    ordinals = [sequence.ordinal for sequence in known_sequences(home.platform, USE_CASE)]
    assert ordinals == ([1] if policies[1] is USE_CASE else [1, 2])
    assert len(stored(home)) == len(ordinals)


def test_requests_that_the_shadow_left_out_keep_their_segment_and_a_lopsided_rest_keeps_the_challenger_waiting(
    decided: Home, layout: Layout
) -> None:
    home = decided.copied_to(layout)

    def drop_a_channel(rows: pd.DataFrame) -> pd.DataFrame:
        is_mail = rows["request_id"].str.removeprefix("r").astype(int) % 2 == 0
        return rows.assign(outcome=rows["outcome"].mask(is_mail & (rows.index % 3 == 0), "dropped"))

    change_rows(home, SHADOW_COMPARISONS, drop_a_channel)

    decide(home)

    latest = max(stored(home), key=lambda decision: decision.fingerprints["comparisons"] != _of(decided))
    criteria = {criterion.name: criterion for criterion in latest.criteria}
    assert criteria["coverage_bias_segments"].outcome is Outcome.FAIL
    assert latest.decision is not Decision.PROMOTE


def _of(home: Home) -> str:
    return stored(home)[0].fingerprints["comparisons"]
