"""The page on decisions: what it says of commands, checks, fingerprints and places is what the code does."""

import re
from pathlib import Path

import pytest

from shadow_platform.assets.gates import REPRODUCIBLE_CHECK
from shadow_platform.assets.gates.reviewing import STANDING_CHECK, ReviewConfig
from shadow_platform.cli.gates.again import MEANING
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.policies import RolloutPolicy
from shadow_platform.contracts.tables import GATE_DECISIONS, GATE_REVIEWS, GATE_SEQUENCES
from shadow_platform.contracts.verdicts import Decision, Purpose
from shadow_platform_tests.sources import REPOSITORY

PAGE = (REPOSITORY / "docs" / "decisions.md").read_text()
TABLES = re.findall(r"^\|[^\n]+\|\n\|[-|]+\|\n((?:\|[^\n]+\|\n)+)", PAGE, re.MULTILINE)


def first_cells(table: str) -> set[str]:
    return set(re.findall(r"`(\w+)`", "\n".join(row.split("|")[1] for row in table.splitlines())))


def test_every_purpose_and_decision_is_explained() -> None:
    assert first_cells(TABLES[0]) == {purpose.value for purpose in Purpose}
    assert all(f"**{decision.value}**" in PAGE for decision in Decision)


def test_what_a_replay_can_name_is_explained_and_known() -> None:
    assert first_cells(TABLES[2]) <= set(MEANING)


@pytest.mark.parametrize("check", [REPRODUCIBLE_CHECK, STANDING_CHECK])
def test_the_checks_are_named(check: str) -> None:
    assert f"`{check}`" in PAGE


def test_the_place_of_a_page_is_the_one_of_the_layout() -> None:
    path = Layout(Path("/home")).decision_page("<use case>", "<first 12 digits of the id>")

    assert path.parts[2:5] == ("reports", "<use case>", "gate")
    assert "`reports/<use case>/gate/<first 12 digits of the id>.html`" in PAGE
    assert len(Layout(Path("/home")).decision_page("tiny", "0" * 64).stem) == 12


def test_the_reach_of_reviews_and_the_outcomes_are_those_of_the_code() -> None:
    outcome = next(column.comment for column in GATE_REVIEWS.columns if column.name == "outcome")

    assert f"last {ReviewConfig().days} days" in PAGE
    assert all(f"- `{word}`:" in PAGE and word in outcome for word in ("changed", "reopened"))


def test_tables_and_columns_on_the_page_exist() -> None:
    assert all(f"`{table.name}`" in PAGE for table in (GATE_SEQUENCES, GATE_REVIEWS))
    assert {"purpose", "as_of", "record"} <= set(GATE_DECISIONS.column_names)
    assert hasattr(RolloutPolicy(), "watch")
