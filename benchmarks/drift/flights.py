"""Flights of 2013 month by month against January and February, with weather and calendar left out and counted.

Belongs here: verdicts on real data. Does not belong here: how its frame is joined (``recorded``).
"""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from benchmarks.drift.judging import ORIGIN
from benchmarks.drift.recorded import recorded
from benchmarks.drift.tables import Table
from shadow_platform.contracts.monitoring_verdicts import SCORE, DriftVerdict
from shadow_platform.domain.drift.verdict import evaluate_drift
from shadow_platform.use_cases import load_use_case

NAME = "flights"
YEAR, TRAINED_IN = 2013, 3
WORST = 3


def flights(frames: Path | None) -> Table:
    """Verdicts of March to December, by whether calendar and weather count."""
    year = recorded(load_use_case(NAME), frames)
    model = year.model(datetime(YEAR, TRAINED_IN, 1, tzinfo=UTC))
    declared = tuple(year.use_case.features)
    every = tuple(replace(feature, is_monitored=True) for feature in declared)
    n_declared = sum(feature.is_monitored for feature in declared)
    header = (
        "month",
        "rows",
        f"{n_declared} features that declare it",
        f"all {len(every)}",
        "furthest from January and February",
    )
    table = Table(f"Flights, months of {YEAR} against the reference of a model of January and February", header)
    for month in range(TRAINED_IN, 13):
        start, end = datetime(YEAR, month, 1, tzinfo=UTC), _month_after(month)
        rows = year.between(start, end)
        window = rows.assign(score=model.answers(rows))
        verdicts = [
            evaluate_drift(NAME, features, model.reference, window, year.use_case.drift, start, end, ORIGIN)
            for features in (declared, every)
        ]
        cells = [f"{start:%B}", f"{len(rows):,}", *(_said(verdict) for verdict in verdicts), _furthest(verdicts[0])]
        table.add(cells, {"month": month, "verdicts": [_figures(verdict) for verdict in verdicts]})
    return table.end(
        f"{len(model.reference):,} rows of reference. In brackets: monitored features that drifted, then the rules."
    )


def _month_after(month: int) -> datetime:
    return (pd.Timestamp(YEAR, month, 1, tz="UTC") + pd.offsets.MonthBegin()).to_pydatetime()


def _said(verdict: DriftVerdict) -> str:
    monitored = [row for row in verdict.features if row.is_monitored and row.feature != SCORE]
    drifted = sum(row.is_drifted for row in monitored)
    return f"{verdict.outcome.value} ({drifted} of {len(monitored)}: {', '.join(verdict.rules_fired)})"


def _furthest(verdict: DriftVerdict) -> str:
    rows = sorted((row for row in verdict.features if row.statistic), key=lambda row: -(row.statistic or 0.0))
    return ", ".join(f"{row.feature} {row.statistic:.2f}" for row in rows[:WORST])


def _figures(verdict: DriftVerdict) -> dict[str, object]:
    drifted = [row.feature for row in verdict.features if row.is_drifted and row.is_monitored]
    return {"outcome": verdict.outcome.value, "rules": verdict.rules_fired, "drifted": drifted}
