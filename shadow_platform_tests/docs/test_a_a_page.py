"""The page on A/A runs: its tables say what the code concludes and suspects, its query finds what was written."""

import inspect
import re
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest
from typer.testing import CliRunner

from bento.shadowing.a_a import CUTS
from shadow_platform.adapters.lake import Lake
from shadow_platform.assets.a_a import A_A_CHECK, REQUESTS
from shadow_platform.cli import typer_app
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.tables import A_A_RUNS
from shadow_platform.contracts.use_case import GatePolicy
from shadow_platform.contracts.verdicts import Outcome
from shadow_platform.domain import a_a
from shadow_platform_tests.sources import REPOSITORY

PAGE = (REPOSITORY / "docs" / "a-a.md").read_text()
WORDS = " ".join(PAGE.split())
(QUERY,) = re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)
SUSPICIONS = re.findall(r"^\| (suspect [a-z ]+|have no answer in the shadow) \|", PAGE, re.MULTILINE)


def test_the_page_tells_every_outcome_once() -> None:
    assert sorted(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)) == sorted(outcome.value for outcome in Outcome)


def test_the_page_tells_every_suspicion_that_a_reason_can_name() -> None:
    named = re.findall(r"\"(suspect [a-z ]+?)[:\"]", inspect.getsource(a_a))
    assert len(named) == 3
    assert {*named, "have no answer in the shadow"} == set(SUSPICIONS)


def test_the_numbers_on_the_page_are_those_of_the_code() -> None:
    policy = GatePolicy()
    assert f"micro-batches of {CUTS[0]}," in WORDS
    assert f"`GatePolicy.min_a_a` could be compared (default {policy.min_a_a})" in WORDS
    assert policy.max_a_a_difference == pytest.approx(1e-5)
    assert "`GatePolicy.max_a_a_difference` (default 1e-5;" in WORDS
    assert f"(default {REQUESTS:,})" in WORDS
    assert f"`{A_A_CHECK}`" in WORDS


@pytest.mark.parametrize("command", sorted(set(re.findall(r"^shadow a-a (\w+)", PAGE, re.MULTILINE))))
def test_every_command_on_the_page_exists(command: str) -> None:
    assert CliRunner().invoke(typer_app, ["a-a", command, "--help"]).exit_code == 0


def test_the_query_finds_what_was_written(tmp_path: Path) -> None:
    layout, lake = Layout(tmp_path), Lake(Layout(tmp_path))
    row = dict.fromkeys(A_A_RUNS.column_names) | {"use_case": "shop", "run_id": "1", "outcome": "fail"}
    row |= {"n": 200, "n_differing": 1, "ran_at": datetime(2024, 3, 1, tzinfo=UTC), "reason": "r-1 differs"}
    lake.append_rows(A_A_RUNS, "shop", [row])
    lake.publish_warehouse()
    with duckdb.connect(str(layout.warehouse), read_only=True) as connection:
        (found,) = connection.execute(QUERY).fetchall()
    assert (found[1], found[4], found[5], found[7], found[-1]) == ("shop", "fail", 200, 1, "r-1 differs")
