"""Guarantees of simulated features: a request is served the newest row that could be known, and no later one."""

from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from shadow_platform.partitions import start_of
from shadow_platform.resources import PlatformResource
from shadow_platform.time_machine.known_rows import KnownRows
from shadow_platform_tests.tiny import USE_CASE

VIEW = USE_CASE.views[0]
FIRST = date(2024, 1, 10)


def _platform(tmp_path: Path) -> tuple[PlatformResource, pd.DataFrame]:
    """Rows of three visitors, some known hours after they became true, in no order."""
    rng = np.random.default_rng(0)
    seconds = rng.integers(0, 6 * 86_400, 300)
    rows = pd.DataFrame(
        {
            "visitor_id": rng.choice(["a", "b", "c"], 300),
            "event_at": pd.Timestamp(start_of(FIRST)) + pd.to_timedelta(seconds, unit="s"),
            "visits_7d": np.arange(300.0),
            "purchases_7d": 0.0,
        }
    )
    rows["created_at"] = rows["event_at"] + pd.to_timedelta(rng.choice([0, 600, 30_000], 300), unit="s")
    platform = PlatformResource(shadow_home=str(tmp_path))
    for day, of_day in rows.groupby(rows["event_at"].dt.date):
        platform.lake().write_features(USE_CASE, VIEW, day, of_day)
    return platform, rows


def _newest(rows: pd.DataFrame, visitor: str, at: pd.Timestamp) -> float | None:
    known = rows[rows["visitor_id"].eq(visitor) & (rows["created_at"] <= at)]
    return None if known.empty else float(known.sort_values(["event_at", "created_at"])["visits_7d"].iloc[-1])


def test_a_request_is_served_the_newest_row_known_also_across_steps(tmp_path: Path) -> None:
    platform, rows = _platform(tmp_path)
    known, rng = KnownRows(USE_CASE, VIEW), np.random.default_rng(1)
    n_found = 0
    for step in range(3):
        first, until = FIRST + timedelta(days=2 * step), FIRST + timedelta(days=2 * step + 2)
        at = pd.Timestamp(start_of(first)) + pd.to_timedelta(np.sort(rng.integers(0, 2 * 86_400, 60)), unit="s")
        requests = pd.DataFrame({"requested_at": at, "visitor_id": rng.choice(["a", "b", "c", "new"], 60)})
        for request, (view, row) in zip(requests.itertuples(), known.at(platform, requests, first, until), strict=True):
            expected = _newest(rows, str(request.visitor_id), pd.Timestamp(str(request.requested_at)))
            assert view == VIEW.name
            assert (row and row.values["visits_7d"]) == expected
            assert row is None or isinstance(row.event_at, datetime)
            n_found += row is not None
    assert n_found > 100
