"""A little world of one view that is served for a day: what was served, what training computes, what can go wrong.

Belongs here: an online store, a service and a point-in-time join in a few plain lines each, written without the stage's
code. Does not belong here: assertions. Upstream: tiny. Downstream: tests of the parity stage.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import orjson
import pandas as pd

from shadow_platform.contracts.use_case import Derivation, Entity, Feature, FeatureView, UseCase
from shadow_platform.domain.parity import Comparison, Evidence, ServedRequests, compare, served_requests
from shadow_platform.domain.parity.causes import CAUSES, NOT_COMPARED
from shadow_platform_tests import tiny

HOUR = timedelta(hours=1)
START = datetime(2024, 3, 10, tzinfo=UTC)
TTL = timedelta(hours=30)
VIEW = FeatureView("history", "user", TTL, HOUR, "", "What the user did", refresh=HOUR)
RATIO = Derivation(
    "ratio",
    "Amount against spent",
    ("amount", "spent"),
    lambda amount, spent: {"share": amount / spent if spent else None},
)
USE_CASE: UseCase = replace(
    tiny.USE_CASE,
    name="world",
    entities=(Entity("user", "User", "u1"),),
    views=(VIEW,),
    derivations=(RATIO,),
    features=(
        Feature("amount", "Amount"),
        Feature("spent", "Spent", view="history"),
        Feature("visits", "Visits", view="history"),
        Feature("device", "Device", kind="categorical", view="history"),
        Feature("share", "Share of what was spent", derivation="ratio"),
    ),
)
VALUES = ("spent", "visits", "device")
Row = dict[str, Any]


def made_rows(seed: int, n_users: int = 12) -> pd.DataFrame:
    """Hourly rows of three days, some hours without one, some values null."""
    rng = np.random.default_rng(seed)
    made = []
    for user in range(n_users):
        for hour in range(-48, 24):
            if rng.random() < 0.4:
                at = START + hour * HOUR
                row = {"user": f"u{user}", "event_at": at, "created_at": at, "spent": float(rng.normal(100, 20))}
                row |= {"visits": float(rng.poisson(200)) if rng.random() < 0.8 else None}
                made.append(row | {"device": str(rng.choice(["phone", "watch", "tablet"]))})
    return _typed(pd.DataFrame(made))


def steady_rows(seed: int, n_users: int = 12) -> pd.DataFrame:
    """A row every hour whose counts grow by one now and then, so that most equal those of the hours around them."""
    made = []
    for user in range(n_users):
        for hour in range(-48, 24):
            at, n = START + hour * HOUR, (hour + 48 + user + seed) // 12
            row = {"user": f"u{user}", "event_at": at, "created_at": at, "device": "phone"}
            made.append(row | {"spent": 100.0 + n, "visits": float(n)})
    return _typed(pd.DataFrame(made))


def _typed(rows: pd.DataFrame) -> pd.DataFrame:
    times = {
        name: pd.to_datetime(rows[name], utc=True).astype("datetime64[us, UTC]") for name in ("event_at", "created_at")
    }
    return rows.assign(**times)


Known = dict[str, list[Row]]


def by_user(rows: pd.DataFrame) -> Known:
    """Rows of each user, oldest first."""
    found: Known = {}
    for row in rows.sort_values(["event_at", "created_at"]).to_dict("records"):
        found.setdefault(row["user"], []).append({str(name): value for name, value in row.items()})
    return found


def newest(known: Known, user: str, at: datetime, ttl: timedelta) -> Row | None:
    """The point-in-time join, for one request."""
    candidates = [row for row in known.get(user, ()) if row["event_at"] <= at and row["created_at"] <= at]
    return candidates[-1] if candidates and candidates[-1]["event_at"] >= at - ttl else None


@dataclass
class World:
    """One day.

    Attributes:
        rows: as the lake holds them today.
        online: the same rows as they were brought online; a fault changes them.
        ttl: that the service takes for declared.
        reached: until when rows are online at a time; by default the last full hour.
        lost: users that the online store has lost.
        made: materializations, as ``Evidence`` tells them.
    """

    seed: int = 0
    n_requests: int = 300
    rows: pd.DataFrame = field(init=False)
    online: pd.DataFrame = field(init=False)
    ttl: timedelta = TTL
    reached: Callable[[datetime], datetime] = lambda at: at.replace(minute=0, second=0, microsecond=0)
    lost: frozenset[str] = frozenset()
    changed: Callable[[Row], Row] = lambda record: record
    made: list[tuple[Any, datetime, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rows = made_rows(self.seed)
        self.online = self.rows.copy()

    def predictions(self) -> pd.DataFrame:
        """What the log keeps of the day's requests."""
        rng, online = np.random.default_rng(self.seed + 1), by_user(self.online)
        return pd.DataFrame([self._answer(place, rng, online) for place in range(self.n_requests)])

    def _answer(self, place: int, rng: np.random.Generator, online: Known) -> Row:
        at = START + timedelta(seconds=float(rng.uniform(0, 86_400)))
        user, override = f"u{rng.integers(0, 14)}", rng.random() < 0.1
        row = None if user in self.lost else newest(online, user, self.reached(at), timedelta(days=400))
        if row is not None and at - row["event_at"] > self.ttl:
            row = None
        features: Row = {"amount": float(rng.uniform(1, 50)), **{name: row[name] if row else None for name in VALUES}}
        features = {name: None if pd.isna(value) else value for name, value in features.items()}
        features |= {"spent": 1.5} if override else {}
        used = [name for name in VALUES if features[name] is not None and not (override and name == "spent")]
        features["share"] = features["amount"] / features["spent"] if features["spent"] else None
        record = {
            "request_id": f"r{place:04d}",
            "requested_at": pd.Timestamp(at).floor("ms"),
            "logged_at": pd.Timestamp(at) + timedelta(days=200),
            "entities": {"user": user},
            "features": features,
            "feature_times": {"history": row["event_at"].isoformat()} if row else {},
            "overridden": ["spent"] if override else [],
            "features_from_request": 2 if override else 1,
            "features_from_online": len(used),
        }
        record = self.changed(record)
        encoded = {name: orjson.dumps(record[name]).decode() for name in ("entities", "features", "feature_times")}
        return record | encoded

    def served(self) -> ServedRequests:
        return served_requests(USE_CASE, self.predictions())

    def compare(self) -> tuple[ServedRequests, pd.DataFrame, list[Comparison]]:
        """Requests, what training computes for them, and the comparison."""
        served, known = self.served(), by_user(self.rows)
        asked = zip(served.asked["user"], served.asked["requested_at"], strict=True)
        found = [newest(known, user, at, TTL) for user, at in asked]
        joined = {name: pd.Series([row[name] if row else None for row in found], dtype=object) for name in VALUES}
        offline = served.asked.assign(**joined)
        made = pd.DataFrame(self.made, columns=["day", "made_at", "code_version"])
        made["made_at"] = pd.to_datetime(made["made_at"], utc=True).astype("datetime64[us, UTC]")
        return served, offline, compare(USE_CASE, served, offline, {"history": Evidence(self.rows, made)})

    def causes(self) -> dict[str, int]:
        """How often each cause was met, over all features."""
        _, _, found = self.compare()
        codes = np.concatenate([comparison.causes for comparison in found])
        return {CAUSES[c].value: int((codes == c).sum()) for c in np.unique(codes).tolist() if c != NOT_COMPARED}


def shifted(rows: pd.DataFrame, by: timedelta) -> pd.DataFrame:
    """Rows stamped in another time zone."""
    return _typed(rows.assign(event_at=rows["event_at"] + by, created_at=rows["created_at"] + by))
