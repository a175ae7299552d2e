"""A use case of two views for tests of the feature store, and rows of them.

Upstream: tiny. Downstream: tests of the offline and of the online store.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd

from shadow_platform.contracts.use_case import Entity, Feature, FeatureView
from shadow_platform_tests import tiny

START = datetime(2024, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
REPOSITORY = Path(__file__).parents[2] / "feature_repo"
HISTORY = FeatureView("history", "user", timedelta(hours=6), HOUR, "", "What the user did")
PLANS = FeatureView("plans", "shop", timedelta(days=30), HOUR, "", "How the shop sells")
USE_CASE = replace(
    tiny.USE_CASE,
    name="shop",
    entities=(Entity("user", "User", "u1"), Entity("shop", "Shop", "s1")),
    views=(HISTORY, PLANS),
    features=(
        Feature("amount", "Amount"),
        Feature("visits", "Visits", view="history"),
        Feature("device", "Device", kind="categorical", view="history"),
        Feature("rating", "Rating", view="plans"),
    ),
)


def history(*rows: tuple[str, float, float | None, str | None], late_h: float = 0) -> pd.DataFrame:
    """Rows of user, hour of the event, visits and device; each created ``late_h`` hours after its event."""
    data = [
        (user, START + hour * HOUR, START + (hour + late_h) * HOUR, visits, device)
        for user, hour, visits, device in rows
    ]
    return pd.DataFrame(data, columns=["user", "event_at", "created_at", "visits", "device"])


def plans(*rows: tuple[str, float, float]) -> pd.DataFrame:
    data = [(shop, START + hour * HOUR, START + hour * HOUR, rating) for shop, hour, rating in rows]
    return pd.DataFrame(data, columns=["shop", "event_at", "created_at", "rating"])
