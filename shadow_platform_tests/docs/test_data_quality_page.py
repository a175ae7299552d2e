"""The page on data quality: its table is that of the code, its queries find what was written."""

import re
from datetime import UTC, date, datetime
from pathlib import Path

import duckdb
import pandas as pd

from shadow_platform.adapters.lake import Lake
from shadow_platform.assets.quality import build_quality_assets
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.policies import DataQualityPolicy
from shadow_platform.contracts.policies.monitoring import QUALITY_CHECKS
from shadow_platform.contracts.tables import DATA_QUALITY
from shadow_platform_tests.assets.test_quality import USE_CASE
from shadow_platform_tests.sources import REPOSITORY

PAGE = (REPOSITORY / "docs" / "data-quality.md").read_text()
RECENT, MISSING = re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)
TOLD = re.findall(r"^\| `(\w+)` \| `(\w+)` \| (.*) \| ([^|]+) \| (\w+) \|$", PAGE, re.MULTILINE)
POLICY = DataQualityPolicy()


def test_the_table_lists_every_check_with_its_assertion_and_severity() -> None:
    assertions = {spec.name for asset in build_quality_assets(USE_CASE) for spec in asset.check_specs}

    assert tuple(check for check, *_ in TOLD) == QUALITY_CHECKS
    assert {name for _, name, *_ in TOLD} == assertions
    assert {check: told[-1] for check, *told in TOLD} == {check: POLICY.severity(check) for check in QUALITY_CHECKS}


def test_the_defaults_of_the_table_are_those_of_the_policy() -> None:
    for check, _, text, default, _ in TOLD:
        limits = [getattr(POLICY, name) for name in re.findall(r"`((?:max|min|silence)_\w+)`", text)]
        expected = ", ".join("none" if limit is None else f"{limit:g}" for limit in limits)
        assert default == (expected or "0.6, 2"), check


def test_the_queries_find_what_was_written(tmp_path: Path) -> None:
    layout, lake = Layout(tmp_path), Lake(Layout(tmp_path))
    for day, rise in ((date(2024, 3, 1), 0.2), (date(2024, 3, 2), 0.6), (date(2024, 3, 3), 0.01)):
        at, outcome = datetime(day.year, day.month, day.day, tzinfo=UTC), "fail" if rise > 0.05 else "pass"
        row = {"use_case": "shop", "day_at": at, "check_name": "missing", "checked": "cart_value", "outcome": outcome}
        row |= {"severity": "warn", "value": rise, "limit_value": 0.05, "n": 100, "reason": "why", "evaluated_at": at}
        lake.write_table(DATA_QUALITY, "shop", day, pd.DataFrame([row]))
    lake.publish_warehouse()
    with duckdb.connect(str(layout.warehouse), read_only=True) as connection:
        recent, missing = connection.execute(RECENT).fetchall(), connection.execute(MISSING).fetchall()

    assert [(row[0].day, row[1:]) for row in recent] == [
        (day, ("shop", "missing", "cart_value", "warn", "why")) for day in (2, 1)
    ]
    assert [(*row[:4], row[4].day) for row in missing] == [("shop", "cart_value", 2, 0.6, 2)]
