"""The parity asset on days that were really served: every fault has its day and is found under its name."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest

from shadow_platform.contracts.tables import FEATURE_PARITY
from shadow_platform_tests.parity_days import (
    CHANGED,
    CLEAN,
    EXPIRED,
    FILLED,
    LATE,
    RECODED,
    SHIFTED,
    STALE,
    USE_CASE,
    ServedDays,
)

KEY = dg.AssetKey([USE_CASE.name, "feature_parity"])
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def days(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedDays]:
    """All days, served once."""
    with dg.DagsterInstance.ephemeral() as instance:
        yield ServedDays(tmp_path_factory.mktemp("parity") / "data", instance).serve()


def rows_of(days: ServedDays, day: date) -> pd.DataFrame:
    return days.platform.lake().read_table(FEATURE_PARITY, USE_CASE, day, day.replace(day=day.day + 1))


def audit(days: ServedDays, day: date) -> dg.AssetCheckEvaluation:
    use_case = RECODED if day == CHANGED else USE_CASE
    (checked,) = days.run(day, day, "feature_parity", use_case=use_case).get_asset_check_evaluations()
    return checked


def test_a_day_without_a_fault_has_no_difference(days: ServedDays) -> None:
    checked = audit(days, CLEAN)

    rows = rows_of(days, CLEAN)
    assert checked.passed
    assert set(rows["cause"]) == {"same"}
    assert set(rows["feature"]) == {"visits_7d", "purchases_7d"}
    assert rows["n_compared"].eq(50).all()


def test_a_comparison_is_shown_with_its_plot_and_its_examples(days: ServedDays) -> None:
    audit(days, STALE)

    event = days.instance.get_latest_materialization_event(KEY)
    assert event is not None
    assert event.asset_materialization is not None
    shown = {name: value.value for name, value in event.asset_materialization.metadata.items()}
    assert str(shown["plot"]).startswith("![")
    assert shown["values_compared"] == 100
    assert "| stale_online |" in str(shown["differences"])
    assert rows_of(days, STALE)["example_request_id"].iloc[-1] in str(shown["differences"])


def test_a_comparison_is_repeated_to_the_byte(days: ServedDays) -> None:
    audit(days, FILLED)
    first = rows_of(days, FILLED)
    audit(days, FILLED)

    pd.testing.assert_frame_equal(rows_of(days, FILLED), first)


def test_a_view_without_rows_is_told_and_does_not_stop_the_run(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    empty = ServedDays(tmp_path, instance)

    checked = audit(empty, CLEAN)

    assert not checked.passed
    assert "views ['visitor_history'] have no rows" in str(checked.description)
    assert rows_of(empty, CLEAN).empty


@pytest.mark.parametrize(
    ("day", "cause"),
    [
        (STALE, "stale_online"),
        (FILLED, "null_filled"),
        (SHIFTED, "time_shift"),
        (LATE, "late_data"),
        (EXPIRED, "expired"),
        (CHANGED, "code_change"),
    ],
)
def test_a_fault_is_found_and_named(days: ServedDays, day: date, cause: str) -> None:
    checked = audit(days, day)
    rows = rows_of(days, day)
    assert not checked.passed
    assert checked.severity == dg.AssetCheckSeverity.WARN
    assert set(rows["cause"]) - {"same", "in_transit"} == {cause}
    assert f"most of them {cause}" in str(checked.description)
