"""The page on performance: its queries run, and its defaults are those of the code."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
import pytest

from shadow_platform.adapters.lake import Lake
from shadow_platform.adapters.pictures.performance import ESTIMATED, LONG_DAYS
from shadow_platform.assets.performance.proxy import NEAR_THRESHOLD
from shadow_platform.assets.performance.verdict import VERDICT_CHECK
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.tables import PERFORMANCE_DAILY, PERFORMANCE_VERDICTS, TableSchema
from shadow_platform.contracts.use_case import PerformancePolicy
from shadow_platform.domain.estimation.calibration import MIN_REFERENCE_ROWS
from shadow_platform_tests.sources import REPOSITORY

PAGE = (REPOSITORY / "docs" / "performance.md").read_text()
LEFT_INTERVAL, REPEATED = re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)
FIRST = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.fixture
def warehouse(layout: Layout) -> Iterator[duckdb.DuckDBPyConnection]:
    """Ten days of which the last left the interval, and a verdict on them."""
    lake = Lake(layout)
    for day in range(10):
        known = {"day_at": FIRST + timedelta(days=day), "role": "champion", "log_loss": 0.5 + 0.1 * (day == 9)}
        counts = {"n": 100, "n_labelled": 90, "n_censored": 0, "estimator": "all_labels", "labels_as_of": FIRST}
        ends = {"estimated_log_loss_low": 0.45, "estimated_log_loss_high": 0.55}
        lake.append_rows(PERFORMANCE_DAILY, "tiny", [_row(PERFORMANCE_DAILY, known | counts | ends)])
    window = {"window_start": FIRST, "window_end": FIRST + timedelta(days=10), "evaluation_id": "e1"}
    lake.append_rows(PERFORMANCE_VERDICTS, "tiny", [_row(PERFORMANCE_VERDICTS, window)])
    lake.publish_warehouse()
    with duckdb.connect(str(layout.warehouse), read_only=True) as connection:
        yield connection


def _row(schema: TableSchema, facts: dict[str, Any]) -> dict[str, Any]:
    return dict.fromkeys(schema.column_names) | {"use_case": "tiny", "model_version": "1"} | facts


def test_days_that_left_the_interval_are_found(warehouse: duckdb.DuckDBPyConnection) -> None:
    rows = warehouse.execute(LEFT_INTERVAL).df()

    assert rows["day_at"].tolist() == [FIRST + timedelta(days=9)]
    assert rows["is_worse_than_expected"].all()


def test_a_query_repeats_the_mean_behind_a_verdict(warehouse: duckdb.DuckDBPyConnection) -> None:
    assert warehouse.execute(REPEATED).df()["log_loss_now"].tolist() == pytest.approx([0.51])


def test_the_defaults_on_the_page_are_those_of_the_code() -> None:
    policy = PerformancePolicy()

    assert f"| `window` | {policy.window.days} days |" in PAGE
    assert f"| `log_loss` | {policy.log_loss.floor:g}, alpha {policy.log_loss.alpha:g} |" in PAGE
    assert f"| `min_labels` | {policy.min_labels} |" in PAGE
    assert f"| `min_days` | {policy.min_days} |" in PAGE
    assert f"fewer than {MIN_REFERENCE_ROWS} reference rows" in PAGE
    assert f"within {NEAR_THRESHOLD:g} of the threshold".replace("0.", ".") in PAGE
    assert VERDICT_CHECK in PAGE
    assert ESTIMATED in " ".join(PAGE.split())
    assert LONG_DAYS == 60
    assert "Beyond sixty days" in PAGE
