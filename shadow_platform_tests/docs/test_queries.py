"""The questions in docs/queries.md run as printed, against a warehouse that has no rows yet."""

import re
from collections.abc import Iterator

import duckdb
import pytest

from shadow_platform.adapters.lake import Lake
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.tables import TABLES
from shadow_platform_tests.sources import REPOSITORY

PAGE = (REPOSITORY / "docs" / "queries.md").read_text()
QUESTIONS = re.findall(r"^## (\d+\. [^\n]+)\n(?:(?!^## ).)*?```sql\n(.*?)```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    layout = Layout(tmp_path_factory.mktemp("home"))
    Lake(layout).publish_warehouse()
    with duckdb.connect(str(layout.warehouse), read_only=True) as connection:
        yield connection


@pytest.mark.parametrize("query", [query for _, query in QUESTIONS], ids=[title for title, _ in QUESTIONS])
def test_a_question_is_valid_sql_over_the_published_tables(warehouse: duckdb.DuckDBPyConnection, query: str) -> None:
    result = warehouse.execute(query)

    assert len(result.description) >= 2
    result.fetchall()


def test_questions_are_numbered_and_each_has_its_query() -> None:
    assert [title.split(".")[0] for title, _ in QUESTIONS] == [str(number) for number in range(1, 27)]
    assert PAGE.count("```sql") == len(QUESTIONS)


def test_the_first_question_explains_every_column(warehouse: duckdb.DuckDBPyConnection) -> None:
    rows = warehouse.execute(QUESTIONS[0][1]).fetchall()

    explained = {(table, column) for table, column, _, comment in rows if comment}
    assert explained == {(schema.name, column) for schema in TABLES for column in schema.column_names}
