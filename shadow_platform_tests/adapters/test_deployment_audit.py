"""The audit trail as its readers see it: every change once, by generation, whatever befell log and clock."""

from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import orjson
import pytest

from shadow_platform.adapters import deployment
from shadow_platform.adapters.log import FileLogSink, FileLogSource
from shadow_platform.assets.promotion.recording import build_model_transitions
from shadow_platform.contracts.deployment import DeploymentManifest
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.tables import MODEL_TRANSITIONS
from shadow_platform.resources import PlatformResource
from shadow_platform_tests.fakes_registry import NOW, FrailRegistry
from shadow_platform_tests.tiny import USE_CASE as TINY

USE_CASE = replace(TINY, name="shop")
CHANGES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("deploy_initial", {"version": "1"}),
    ("promote", {"version": "2"}),
    ("rollback", {}),
    ("promote", {"version": "3"}),
)
EXPECTED = [(1, "1"), (2, "2"), (3, "1"), (4, "3")]


@pytest.fixture
def platform(tmp_path: Path) -> PlatformResource:
    return PlatformResource(shadow_home=str(tmp_path))


def carried_out(layout: Layout, hours: tuple[int, ...]) -> tuple[FrailRegistry, DeploymentManifest]:
    """What is left of the changes, each made while the clock shows so many hours from now."""
    registry = FrailRegistry()
    for shift, (name, arguments) in zip(hours, CHANGES, strict=True):
        now = NOW + timedelta(hours=shift)
        with closing(FileLogSink(layout.log("transitions", "shop"), now.timestamp)) as audit:
            who = {"use_case": "shop", "actor": "tester", "reason": name, "now": now}
            manifest = getattr(deployment, name)(registry, layout, audit, **who, **arguments)
    return registry, manifest


def test_changes_keep_their_order_when_the_clock_is_put_back_between_them(platform: PlatformResource) -> None:
    registry, manifest = carried_out(platform.layout, (0, -3, -2, 1))
    told = [row for row in platform.transitions(USE_CASE) if row["alias"] == "champion"]
    assert [(row["generation"], row["to_version"]) for row in told] == EXPECTED
    assert (manifest.generation, manifest.champion.version) == (4, "3")
    assert registry.aliases == {"champion": "3", "previous": "1"}


def test_a_row_that_repairs_appended_again_is_one_row_of_the_table(platform: PlatformResource) -> None:
    carried_out(platform.layout, (0, 0, 0, 0))
    log = platform.layout.log("transitions", "shop")
    lines = [orjson.loads(line.payload) for line in FileLogSource(log).read({})]
    for _ in range(2):
        with closing(FileLogSink(log)) as audit:
            audit.append_many(lines[2:5])
        assert dg.materialize([build_model_transitions(USE_CASE)], resources={"platform": platform}).success
    rows = platform.lake().read_table(MODEL_TRANSITIONS, USE_CASE)
    assert sorted(rows["transition_id"]) == sorted(line["transition_id"] for line in lines)
    champions = rows[rows["alias"].eq("champion")].sort_values("generation")
    assert list(zip(champions["generation"], champions["to_version"], strict=True)) == EXPECTED
