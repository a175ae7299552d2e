"""``shadow drift --use-case``: the asset's own verdict on served requests, and no table changes."""

import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest

from shadow_platform.adapters.lake import Lake
from shadow_platform.cli.drift import Wanted, judge_stored, stored
from shadow_platform.cli.drift.options import Shown
from shadow_platform.contracts.errors import ShadowPlatformError
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.monitoring_verdicts import DriftVerdict
from shadow_platform.contracts.tables import DRIFT_VERDICTS, PREDICTIONS
from shadow_platform_tests.assets.drifting import (
    FIRST,
    LAST,
    N_DAYS,
    SHIFTS_ON,
    USE_CASE,
    deploy,
    materialize,
    requests,
    serve,
    with_policy,
)

SHOP = "shadow_platform_tests.assets.drifting:USE_CASE"


@pytest.fixture
def lake(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> Lake:
    """Two weeks of predictions; carts are bigger from the eighth day on."""
    monkeypatch.setenv("SHADOW_HOME", str(layout.home))
    return serve(layout, requests(FIRST, N_DAYS, 2, SHIFTS_ON), deploy(layout))


def _at(day: date) -> datetime:
    return datetime.fromisoformat(str(day))


@pytest.mark.parametrize(("day", "code"), [(SHIFTS_ON - timedelta(days=1), 0), (LAST, 1), (LAST + timedelta(99), 2)])
def test_the_exit_code_is_that_of_the_window_and_nothing_is_written(
    layout: Layout, lake: Lake, day: date, code: int
) -> None:
    before = sorted(layout.home.rglob("*"))
    assert judge_stored(SHOP, _at(day), None, Wanted(), is_live=False) == code
    assert sorted(layout.home.rglob("*")) == before


def test_the_verdict_is_that_of_the_asset(layout: Layout, lake: Lake, tmp_path: Path) -> None:
    output = tmp_path / "verdict.json"
    judge_stored(SHOP, _at(LAST), None, Wanted(output=output), is_live=False)
    with dg.DagsterInstance.ephemeral() as instance:
        materialize(layout, [LAST], instance)
    stored = lake.read_table(DRIFT_VERDICTS, USE_CASE)
    verdict = DriftVerdict.model_validate_json(output.read_text(encoding="utf-8"))
    assert stored["evaluation_id"].tolist() == [verdict.evaluation_id]
    assert stored["explanation"].tolist() == [verdict.explanation]


def test_requests_that_were_never_counted_or_changed_since_are_counted_in_memory(
    layout: Layout, lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_counts, output = with_policy(exact_rows=0), tmp_path / "verdict.json"
    monkeypatch.setattr(stored, "load_use_case", lambda name: by_counts)

    def judged() -> DriftVerdict:
        before = {path: path.read_bytes() for path in layout.home.rglob("*") if path.is_file()}
        judge_stored(SHOP, _at(LAST), None, Wanted(output=output), is_live=False)
        assert {path: path.read_bytes() for path in layout.home.rglob("*") if path.is_file()} == before
        return DriftVerdict.model_validate_json(output.read_text(encoding="utf-8"))

    never_counted = judged()
    with dg.DagsterInstance.ephemeral() as instance:
        materialize(layout, [LAST], instance, by_counts)
        assert judged() == never_counted
        late = requests(LAST, 1, 3, SHIFTS_ON, per_day=50).assign(requested_at=_at(LAST).replace(hour=23, tzinfo=UTC))
        rows = pd.concat([requests(FIRST, N_DAYS, 2, SHIFTS_ON), late], ignore_index=True)
        serve(layout, rows, str(lake.read_table(PREDICTIONS, USE_CASE)["bundle_hash"].iloc[0]))
        changed_since = judged()
        materialize(layout, [LAST], instance, by_counts)
    assert changed_since.n_current == never_counted.n_current + 50
    ids = lake.read_table(DRIFT_VERDICTS, USE_CASE).sort_values("evaluated_at")["evaluation_id"]
    assert ids.tolist() == [never_counted.evaluation_id, changed_since.evaluation_id]


def test_the_live_window_is_the_last_hours_that_are_over(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MONITORING_LOOKBACK", "6")
    assert judge_stored(SHOP, None, None, Wanted(Shown.JSON), is_live=True) == 2
    verdict = DriftVerdict.model_validate_json(capsys.readouterr().out)
    assert verdict.window_end - verdict.window_start == timedelta(hours=6)
    assert timedelta(0) <= datetime.now(UTC) - verdict.window_end < timedelta(hours=2)


def test_without_a_champion_the_command_says_what_to_do(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHADOW_HOME", str(layout.home))
    with pytest.raises(ShadowPlatformError, match=re.escape("run the job shop_train first")):
        judge_stored(SHOP, _at(LAST), None, Wanted(), is_live=False)
