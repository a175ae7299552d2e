"""What must hold of the rows of a view, and their arrangement by day.

Belongs here: assertions over rows. Does not belong here: comparing a day with days before it (``history``). Upstream:
rows of a view's SQL. Downstream: the assets of views.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime

import numpy as np
import pandas as pd

from shadow_platform.contracts.use_case import Feature


def violations(
    rows: pd.DataFrame, join_key: str, features: Sequence[Feature], start: datetime, end: datetime
) -> list[str]:
    """What is wrong with the rows of one view, in words; empty if nothing is.

    A value outside the declared range is wrong: a request that brought it would be refused. So is a text where a number
    is declared, which a column that was retyped upstream gives.

    Args:
        rows: ``join_key, event_at, created_at`` and the features.
        start, end: ``event_at`` must lie in ``[start, end)``.
    """
    expected = [join_key, "event_at", "created_at", *(feature.name for feature in features)]
    missing = [name for name in expected if name not in rows.columns]
    unknown = [str(name) for name in rows.columns if name not in expected]
    if missing or unknown:
        return [f"columns {missing} are missing and {unknown} are undeclared; expected {expected}"]
    naive = [name for name in ("event_at", "created_at") if not isinstance(rows[name].dtype, pd.DatetimeTZDtype)]
    if naive:
        return [f"columns {naive} are no TIMESTAMPTZ; cast them in the view's SQL"]
    found: list[str] = []
    for name in (join_key, "event_at", "created_at"):
        _report(found, int(rows[name].isna().sum()), f"{name} is null")
    _report(found, int(rows.duplicated([join_key, "event_at"]).sum()), f"({join_key}, event_at) is not unique")
    outside = (rows["event_at"] < start) | (rows["event_at"] >= end)
    _report(found, int(outside.sum()), f"event_at is outside [{start.isoformat()}, {end.isoformat()})")
    _report(found, int((rows["created_at"] < rows["event_at"]).sum()), "created_at is before event_at")
    for feature in features:
        if feature.kind == "numeric":
            values = pd.to_numeric(rows[feature.name], errors="coerce").to_numpy(dtype="float64", na_value=np.nan)
            _report(found, int((np.isnan(values) & rows[feature.name].notna()).sum()), f"{feature.name} is no number")
            _report(found, int(np.isinf(values).sum()), f"{feature.name} is infinite")
            for limit, is_beyond, word in ((feature.low, np.less, "below"), (feature.high, np.greater, "above")):
                if limit is not None:
                    beyond = is_beyond(values, limit) & np.isfinite(values)
                    _report(found, int(beyond.sum()), f"{feature.name} is {word} {limit:g}")
    return found


def null_rates(rows: pd.DataFrame, names: Iterable[str]) -> dict[str, float]:
    """Share of nulls of each column, 0 to 1; empty without rows, because a share of nothing is no number."""
    return {} if rows.empty else {name: round(float(rows[name].isna().mean()), 6) for name in names}


def by_day(rows: pd.DataFrame, days: Sequence[date]) -> dict[date, pd.DataFrame]:
    """Rows of each day, by the UTC day of ``event_at``; a day without rows has an empty frame."""
    of_row = rows["event_at"].dt.tz_convert(UTC).dt.date if len(rows) else pd.Series(dtype=object)
    groups = dict(iter(rows.groupby(of_row))) if len(rows) else {}
    return {day: groups.get(day, rows.iloc[:0]) for day in days}


def runs_of_days(days: Iterable[date], longest: int) -> list[list[date]]:
    """Days in order, cut where one is missing and after ``longest``.

    >>> [len(run) for run in runs_of_days([date(2024, 1, d) for d in (1, 2, 3, 5)], 2)]
    [2, 1, 1]
    """
    runs: list[list[date]] = []
    for day in sorted(days):
        if runs and len(runs[-1]) < longest and (day - runs[-1][-1]).days == 1:
            runs[-1].append(day)
        else:
            runs.append([day])
    return runs


def _report(found: list[str], n_rows: int, what: str) -> None:
    if n_rows:
        found.append(f"{what} in {n_rows} rows")
