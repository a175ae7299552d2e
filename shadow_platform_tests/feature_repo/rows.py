"""A home with feature rows of every use case that the platform ships, made up by counting.

Belongs here: rows that Feast's own commands may work on. Does not belong here: assertions. Downstream: tests of the
Feast repository and of Feast's UI.
"""

from datetime import UTC, date, datetime, time, timedelta

import pandas as pd

from shadow_platform.adapters.lake import Lake
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.use_case import Feature, FeatureView, UseCase
from shadow_platform.use_cases import load_use_case

USE_CASES = ("churn", "credit", "flights", "fraud")
DAYS = (date(2024, 1, 1), date(2024, 1, 2))
KEYS = ("a", "b", "c")


def rows(use_case: UseCase, view: FeatureView, day: date) -> pd.DataFrame:
    """One row an entity, at one o'clock; the first day's values are those of ``value(feature, 0)``."""
    at = datetime.combine(day, time(1), UTC)
    found = pd.DataFrame({view.entity: KEYS, "event_at": at, "created_at": at + timedelta(minutes=1)})
    features = use_case.view_features(view.name)
    return found.assign(**{feature.name: value(feature, DAYS.index(day)) for feature in features})


def value(feature: Feature, day_no: int) -> float | str:
    """What every entity has on that day."""
    return f"kind {day_no}" if feature.kind == "categorical" else (feature.low or 0.0) + day_no


def fill(layout: Layout) -> None:
    """Write both days of every view into the lake."""
    for use_case in map(load_use_case, USE_CASES):
        for view in use_case.views:
            for day in DAYS:
                Lake(layout).write_features(use_case, view, day, rows(use_case, view, day))
