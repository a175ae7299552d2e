"""Feature rows that a point-in-time join must not meet are found, and frames keep their shape."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pandas as pd
import pytest

from shadow_platform.contracts.use_case import Feature
from shadow_platform.domain.features import by_day, null_rates, runs_of_days, violations

START = datetime(2024, 1, 1, tzinfo=UTC)
END = START + timedelta(days=1)
SECOND = timedelta(seconds=1)
FEATURES = (Feature("count", "Count", view="v", low=0, high=90), Feature("plan", "Plan", kind="categorical", view="v"))


def rows(*moments: datetime, **changes: Any) -> pd.DataFrame:
    at = pd.to_datetime(list(moments), utc=True).as_unit("us")
    frame = pd.DataFrame({"user": "u", "event_at": at, "created_at": at, "count": 1.0, "plan": "a"})
    return frame.assign(**changes)


def found(frame: pd.DataFrame) -> list[str]:
    return violations(frame, "user", FEATURES, START, END)


def test_sound_rows_violate_nothing() -> None:
    assert found(rows(START, END - SECOND)) == []
    assert found(rows(START, plan=None, count=None)) == []
    assert found(rows(START, END - SECOND, count=[0, 90])) == []
    assert found(rows()) == []


@pytest.mark.parametrize(
    ("frame", "what"),
    [
        (rows(START).drop(columns="count"), "columns ['count'] are missing"),
        (rows(START, extra=1), "['extra'] are undeclared"),
        (rows(START, START), "(user, event_at) is not unique in 1 rows"),
        (rows(START - SECOND), "event_at is outside"),
        (rows(END), "event_at is outside"),
        (rows(START, created_at=pd.Timestamp(START - SECOND)), "created_at is before event_at"),
        (rows(START, created_at=pd.to_datetime([""], utc=True)), "created_at is null"),
        (rows(START, event_at=datetime(2024, 1, 1)), "columns ['event_at'] are no TIMESTAMPTZ"),  # noqa: DTZ001 the fault
        (rows(START, user=None), "user is null"),
        (rows(START, count=float("inf")), "count is infinite"),
        (rows(START, END - SECOND, count=[-2496.0, 1.0]), "count is below 0 in 1 rows"),
        (rows(START, count=90.5), "count is above 90 in 1 rows"),
    ],
)
def test_every_violation_is_named(frame: pd.DataFrame, what: str) -> None:
    assert any(what in text for text in found(frame))


def test_null_rates_are_shares_and_there_is_none_without_rows() -> None:
    assert null_rates(rows(START, END, count=[1.0, None]), ["count", "plan"]) == {"count": 0.5, "plan": 0.0}
    assert null_rates(rows(), ["count"]) == {}


def test_rows_are_split_by_their_utc_day_and_a_day_without_rows_is_empty() -> None:
    days = [date(2024, 1, 1), date(2024, 1, 2), date(2024, 1, 3)]
    parts = by_day(rows(START, END - SECOND, END), days)
    assert [len(parts[day]) for day in days] == [2, 1, 0]
    assert list(by_day(rows(), days[:1])[days[0]].columns) == list(rows().columns)


def test_runs_of_days_are_cut_at_gaps_and_at_the_longest() -> None:
    days = [START.date() + timedelta(days=n) for n in (5, 0, 1, 2, 7)]
    assert [[(day - START.date()).days for day in run] for run in runs_of_days(days, 2)] == [[0, 1], [2], [5], [7]]
    assert runs_of_days([], 2) == []
