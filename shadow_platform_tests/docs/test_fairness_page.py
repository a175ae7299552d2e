"""The page on fairness and hidden labels: its queries run, and its limits are those of the code."""

import re
from collections.abc import Iterator

import duckdb
import pytest

from shadow_platform.adapters.lake import Lake
from shadow_platform.assets.fairness import FAIRNESS_CHECK
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.tables import FAIRNESS_GROUPS
from shadow_platform.contracts.use_case import FairnessPolicy
from shadow_platform.domain.estimation import daily
from shadow_platform.domain.gates import quality
from shadow_platform_tests.sources import REPOSITORY

PAGE = (REPOSITORY / "docs" / "fairness-and-hidden-labels.md").read_text()
QUERIES = re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    layout = Layout(tmp_path_factory.mktemp("home"))
    Lake(layout).publish_warehouse()
    with duckdb.connect(str(layout.warehouse), read_only=True) as connection:
        yield connection


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_of_the_page_runs(warehouse: duckdb.DuckDBPyConnection, query: str) -> None:
    assert warehouse.execute(query).fetchall() == []


def test_the_limits_on_the_page_are_those_of_the_code() -> None:
    text = " ".join(PAGE.split())

    assert f"fewer than {daily.MIN_EXPLORED} explored requests" in text
    assert f"concluded before {quality.MIN_EXPLORED} explored requests" in text
    assert f"`min_ratio` ({FairnessPolicy(()).min_ratio:g}," in text
    for name in (daily.ALL_LABELS, daily.INVERSE_PROPENSITY, daily.NOT_IDENTIFIABLE, FAIRNESS_CHECK):
        assert f"`{name}`" in text


def test_every_measured_column_of_the_report_is_explained() -> None:
    told = {"use_case", "as_of", "model_version", "role", "attribute", "group_name", "n", "n_labelled"}
    measured = {name for name in FAIRNESS_GROUPS.column_names if not name.endswith(("_low", "_high"))} - told

    assert {name for name in measured if f"`{name}`" not in PAGE} == set()
