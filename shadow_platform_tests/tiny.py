"""Use case ``tiny``: a seeded little shop that runs the whole loop in seconds and keeps the platform general.

Belongs here: a complete UseCase value of another shape than any product's. Does not belong here: assertions. Upstream:
contracts. Downstream: every test that needs a use case, as ``shadow_platform_tests.tiny:USE_CASE``.

Two hundred visits a day; will the visitor buy within a day? The truth is curved in the value of the cart, so boosted
trees beat a line; from ``SHIFT_DAY`` on carts are bigger and come through another channel, which is drift.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa

from shadow_platform.contracts.use_case import (
    AnswerSpec,
    DemoPlan,
    DriftPolicy,
    Entity,
    Estimator,
    EventKind,
    Feature,
    FeatureView,
    GatePolicy,
    LabelPolicy,
    ModelSpec,
    Parameter,
    Range,
    RetrainPolicy,
    TrainingPolicy,
    UseCase,
)

FIRST_DAY = date(2024, 1, 1)
N_DAYS = 60
SHIFT_DAY = date(2024, 2, 12)
VISITS_PER_DAY = 200
N_VISITORS = 40
CHANNELS = ("mail", "search", "shop")
SEED = 7

_TIME = pd.DatetimeTZDtype(unit="us", tz="UTC")


class TinySource:
    """Visits and purchases by the UTC day on which they were received."""

    def first_day(self) -> date:
        """First day with events."""
        return FIRST_DAY

    def last_day(self) -> date:
        """Last day with visits; purchases may follow on the next."""
        return FIRST_DAY + timedelta(days=N_DAYS - 1)

    def received_on(self, day: date) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        """Raw rows of a day by event kind."""
        return {kind: by_day.get(day.isoformat(), ()) for kind, by_day in _events().items()}


@lru_cache(maxsize=1)
def _events() -> dict[str, dict[str, list[dict[str, Any]]]]:
    rng = np.random.default_rng(SEED)
    taste = rng.normal(0.0, 1.2, N_VISITORS)
    visits: dict[str, list[dict[str, Any]]] = {}
    purchases: dict[str, list[dict[str, Any]]] = {}
    for offset in range(N_DAYS):
        day = FIRST_DAY + timedelta(days=offset)
        start = datetime(day.year, day.month, day.day, tzinfo=UTC)
        has_shifted = day >= SHIFT_DAY
        seconds = np.sort(rng.choice(86_400, VISITS_PER_DAY, replace=False))
        visitors = rng.integers(0, N_VISITORS, VISITS_PER_DAY)
        channels = rng.choice(3, VISITS_PER_DAY, p=(0.2, 0.3, 0.5) if has_shifted else (0.5, 0.3, 0.2))
        carts = np.round(rng.normal(65.0 if has_shifted else 50.0, 15.0, VISITS_PER_DAY).clip(1, 150), 2)
        logits = 1.0 - ((carts - 50.0) / 12.0) ** 2 + taste[visitors] + np.array([-0.4, 0.0, 0.6])[channels]
        has_bought = rng.random(VISITS_PER_DAY) < 1.0 / (1.0 + np.exp(-logits))
        delays = rng.exponential(4 * 3600, VISITS_PER_DAY).clip(1, 86_000).astype(int)
        for place in range(VISITS_PER_DAY):
            moment = start + timedelta(seconds=int(seconds[place]))
            common = {"visit_id": f"v{offset:03d}-{place:03d}", "visitor_id": f"visitor-{visitors[place]:02d}"}
            row = {**common, "channel": CHANNELS[channels[place]], "cart_value": float(carts[place])}
            _add(visits, "visit", moment, row)
            if has_bought[place]:
                bought_at = moment + timedelta(seconds=int(delays[place]))
                _add(purchases, "purchase", bought_at, {**common, "amount": float(carts[place])})
    return {"visits": visits, "purchases": purchases}


def _add(by_day: dict[str, list[dict[str, Any]]], kind: str, moment: datetime, row: dict[str, Any]) -> None:
    text = moment.isoformat().replace("+00:00", "Z")
    event = {"event_id": f"{kind}:{row['visit_id']}", "event_at": text, "received_at": text, "schema_version": 1}
    by_day.setdefault(moment.date().isoformat(), []).append({**event, **row})


def _schema(payload: dict[str, pa.Column]) -> pa.DataFrameSchema:
    moments = {name: pa.Column(_TIME, coerce=True) for name in ("event_at", "received_at")}
    keys = {name: pa.Column(str, coerce=True) for name in ("visit_id", "visitor_id")}
    return pa.DataFrameSchema({"event_id": pa.Column(str, coerce=True), **moments, **keys, **payload})


def _money() -> pa.Column:
    return pa.Column("float64", pa.Check.in_range(0, 10_000), coerce=True)


def _build_line(
    features: Sequence[Feature], n_levels: Mapping[str, int], seed: int, /, **parameters: Parameter
) -> Estimator:
    from sklearn.compose import ColumnTransformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numeric = [place for place, feature in enumerate(features) if feature.kind == "numeric"]
    coded = [place for place, feature in enumerate(features) if feature.kind == "categorical"]
    codes = [np.arange(n_levels[features[place].name] + 1, dtype=np.float32) for place in coded]
    encoder = OneHotEncoder(categories=codes, handle_unknown="ignore", sparse_output=False, dtype=np.float32)
    columns = ColumnTransformer([("numeric", StandardScaler(), numeric), ("codes", encoder, coded)])
    regression = LogisticRegression(random_state=seed, **parameters)
    pipeline: Estimator = Pipeline([("columns", columns), ("regression", regression)])
    return pipeline


def _build_trees(
    _features: Sequence[Feature], _n_levels: Mapping[str, int], seed: int, /, **parameters: Parameter
) -> Estimator:
    from sklearn.ensemble import GradientBoostingClassifier

    trees: Estimator = GradientBoostingClassifier(random_state=seed, **parameters)
    return trees


_VISITOR_HISTORY = """
WITH seen AS (
    SELECT visitor_id, received_at, 1 AS visits, 0 AS purchases FROM visits
    UNION ALL
    SELECT visitor_id, received_at, 0 AS visits, 1 AS purchases FROM purchases
),
hourly AS (
    SELECT
        visitor_id,
        (epoch_us(received_at) + 3599999999) // 3600000000 AS hour_no,
        sum(visits) AS visits,
        sum(purchases) AS purchases
    FROM seen
    WHERE received_at > $start - INTERVAL 169 HOUR
      AND received_at <= $end
    GROUP BY ALL
),
rolling AS (
    SELECT
        visitor_id,
        to_timestamp(hour_no * 3600) AS event_at,
        (sum(visits) OVER last_7d)::DOUBLE AS visits_7d,
        (sum(purchases) OVER last_7d)::DOUBLE AS purchases_7d
    FROM hourly
    WINDOW last_7d AS (PARTITION BY visitor_id ORDER BY hour_no RANGE BETWEEN 167 PRECEDING AND CURRENT ROW)
)
SELECT visitor_id, event_at, event_at AS created_at, visits_7d, purchases_7d
FROM rolling
WHERE event_at > $start
  AND event_at <= $end
ORDER BY event_at, visitor_id
"""

_REQUESTS = """
SELECT visit_id AS subject_id, visitor_id, event_at AS requested_at, cart_value, channel
FROM visits
WHERE event_at >= $start
  AND event_at < $end
  AND received_at <= event_at
ORDER BY requested_at, subject_id
"""

_LABELS = """
WITH answers AS (
    SELECT
        r.subject_id,
        r.requested_at,
        p.received_at IS NOT NULL AS label,
        coalesce(p.event_at, r.requested_at + INTERVAL 24 HOUR) AS event_at,
        coalesce(p.received_at, r.requested_at + INTERVAL 24 HOUR) AS known_at
    FROM requests AS r
    LEFT JOIN purchases AS p
        ON p.visit_id = r.subject_id
        AND p.received_at <= r.requested_at + INTERVAL 24 HOUR
)
SELECT subject_id, requested_at, label, event_at, known_at
FROM answers
WHERE known_at <= $as_of
ORDER BY known_at, subject_id
"""

USE_CASE = UseCase(
    name="tiny",
    title="Purchases after a visit",
    description="Will the visitor buy within a day of the visit?",
    owner="team:tests",
    subject="visit_id",
    subject_example="v000-000",
    source=TinySource,
    events=(
        EventKind(
            "visits",
            "A visitor came",
            _schema({"channel": pa.Column(str, pa.Check.isin(CHANNELS)), "cart_value": _money()}),
        ),
        EventKind("purchases", "A visitor bought", _schema({"amount": _money()})),
    ),
    entities=(Entity("visitor_id", "Visitor", "visitor-01"),),
    views=(
        FeatureView(
            name="visitor_history",
            entity="visitor_id",
            ttl=timedelta(days=3),
            lookback=timedelta(days=7, hours=1),
            sql=_VISITOR_HISTORY,
            description="What the visitor did in the last week",
        ),
    ),
    features=(
        Feature("cart_value", "Value of the cart", unit="EUR", low=0, high=10_000, example=49.9),
        Feature("channel", "Where the visitor came from", kind="categorical", example="mail"),
        Feature("visits_7d", "Visits, last 7 days", unit="visits", view="visitor_history", low=0, is_monitored=False),
        Feature(
            "purchases_7d",
            "Purchases, last 7 days",
            unit="purchases",
            view="visitor_history",
            low=0,
            is_monitored=False,
        ),
    ),
    requests_sql=_REQUESTS,
    label=LabelPolicy("is_buyer", "Bought within 24 hours of the visit", timedelta(days=1), _LABELS),
    models=(
        ModelSpec("line", _build_line, "Linear"),
        ModelSpec(
            "trees",
            _build_trees,
            "Boosted trees",
            parameters={"n_estimators": 40, "max_depth": 3},
            search={"max_depth": Range(1, 4, is_integer=True)},
            iterations="n_estimators",
        ),
    ),
    answer=AnswerSpec(probability="purchase_probability", prediction="purchase_prediction"),
    first_partition=FIRST_DAY,
    training=TrainingPolicy(
        window=timedelta(days=21), calibration=timedelta(days=4), evaluation=timedelta(days=4), min_rows=500
    ),
    drift=DriftPolicy(window=timedelta(days=7)),
    gate=GatePolicy(segments=("channel",)),
    retrain=RetrainPolicy(min_new_labels=200),
    demo=DemoPlan(serve_from=date(2024, 2, 5), serve_until=date(2024, 2, 29)),
)
