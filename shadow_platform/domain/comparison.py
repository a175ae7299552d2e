"""Comparison stage: what champion and challenger said of the same requests, by hour, and that none was lost.

Belongs here: aggregation of pairs, flips, conservation. Does not belong here: labels (domain.labels), conclusions
(domain.gates). Upstream: rows of ``predictions`` and ``shadow_comparisons``. Downstream: ``shadow_comparison_hourly``
and the check ``every_prediction_is_compared_failed_or_dropped``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import pandas as pd

from shadow_platform.contracts.tables import SHADOW_COMPARISON_HOURLY

OUTCOMES = ("compared", "failed", "dropped")
_GROUP = ["use_case", "hour_at", "champion_version", "challenger_version"]


@dataclass(frozen=True, slots=True)
class Conservation:
    """Balance of one challenger: ``n_predictions = n_compared + n_failed + n_dropped`` when nothing is amiss.

    Attributes:
        n_lost: predictions without a record although later ones have one.
        n_pending: predictions logged after the last one the challenger was sent: the shadow worker lags.
        n_surplus: records without a prediction.
        n_doubled: lines of the raw shadow log beyond the one that a prediction may have.
    """

    challenger_version: str
    n_predictions: int
    n_compared: int
    n_failed: int
    n_dropped: int
    n_lost: int
    n_pending: int
    n_surplus: int
    n_doubled: int

    @property
    def is_balanced(self) -> bool:
        """Whether every prediction the challenger was due has exactly one record."""
        return not (self.n_lost or self.n_pending or self.n_surplus or self.n_doubled)


def hourly(comparisons: pd.DataFrame) -> pd.DataFrame:
    """Rows of ``shadow_comparison_hourly``, one an hour of requests, champion and challenger, in key order.

    Args:
        comparisons: rows of ``shadow_comparisons``.

    Returns:
        Counts over all rows; rates, quantiles and latencies over compared rows only, null where there is none.
    """
    columns = list(SHADOW_COMPARISON_HOURLY.column_names)
    if comparisons.empty:
        return pd.DataFrame(columns=columns)
    rows = comparisons.assign(hour_at=comparisons["requested_at"].dt.floor("h"))
    for outcome in OUTCOMES:
        rows[outcome] = rows["outcome"].eq(outcome)
    counts = rows.groupby(_GROUP, dropna=False).agg(
        sent=("outcome", "size"), **{outcome: (outcome, "sum") for outcome in OUTCOMES}
    )
    return counts.join(_compared_statistics(rows[rows["compared"]], _GROUP)).reset_index()[columns]


def totals(comparisons: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Counts, agreement, flips, differences and latencies over all rows, by challenger; what is not defined is absent.

    Counts are over all rows; the rest compares two different models (``between_models``).
    """
    found = {}
    for version, rows in comparisons.groupby("challenger_version"):
        counts = rows["outcome"].value_counts()
        row: dict[str, float] = {"sent": float(len(rows))}
        row |= {outcome: float(counts.get(outcome, 0)) for outcome in OUTCOMES}
        statistics = _compared_statistics(between_models(rows), ["challenger_version"])
        row |= {
            str(name): float(values.iloc[0])
            for name, values in statistics.dropna(axis="columns").items()
            if len(values)
        }
        found[str(version)] = row
    return found


def _compared_statistics(compared: pd.DataFrame, group: list[str]) -> pd.DataFrame:
    champion = compared["champion_prediction"].astype(bool)
    challenger = compared["challenger_prediction"].astype(bool)
    rows = compared[group].assign(
        agreement_rate=(champion == challenger).astype(float),
        flips_to_positive=(~champion & challenger).astype("int64"),
        flips_to_negative=(champion & ~challenger).astype("int64"),
        difference=compared["probability_diff"].astype(float),
        champion_ms=compared["champion_latency_ms"].astype(float),
        challenger_ms=compared["challenger_latency_ms"].astype(float),
    )
    groups = rows.groupby(group, dropna=False)
    statistics = groups.agg(
        agreement_rate=("agreement_rate", "mean"),
        flips_to_positive=("flips_to_positive", "sum"),
        flips_to_negative=("flips_to_negative", "sum"),
        probability_diff_mean=("difference", "mean"),
    )
    for name, q in (("p05", 0.05), ("p50", 0.5), ("p95", 0.95)):
        statistics[f"probability_diff_{name}"] = groups["difference"].quantile(q)
    statistics["champion_latency_p95_ms"] = groups["champion_ms"].quantile(0.95)
    statistics["challenger_latency_p95_ms"] = groups["challenger_ms"].quantile(0.95)
    return statistics


def between_models(comparisons: pd.DataFrame) -> pd.DataFrame:
    """Compared rows of two different models: without those where the challenger itself had answered, as canary."""
    is_a_a = comparisons["champion_version"].eq(comparisons["challenger_version"])
    return comparisons[comparisons["outcome"].eq("compared") & ~is_a_a]


def flips(comparisons: pd.DataFrame) -> pd.DataFrame:
    """Requests that the challenger would decide otherwise: the comparison's columns and ``direction``.

    ``direction`` is ``to_positive`` (swap-in) or ``to_negative`` (swap-out).
    """
    compared = between_models(comparisons)
    champion = compared["champion_prediction"].astype(bool)
    challenger = compared["challenger_prediction"].astype(bool)
    direction = challenger.map({True: "to_positive", False: "to_negative"})
    return compared.assign(direction=direction)[champion != challenger]


def conservation(
    predictions: pd.DataFrame,
    comparisons: pd.DataFrame,
    active: Mapping[str, datetime] | None = None,
    doubled: Mapping[str, int] | None = None,
) -> list[Conservation]:
    """Balance of every challenger that is active or has records, in order of version.

    Args:
        predictions: rows of ``predictions`` of the period.
        comparisons: rows of ``shadow_comparisons`` of the same period.
        active: versions in the shadow now, and since when: each is due what was logged from then on. Any version is
            due what was logged between its first and its last record, live or replayed.
        doubled: surplus lines of the raw log by version; the table has one row a request, however many there were.
    """
    active, doubled = active or {}, doubled or {}
    known = set(comparisons["challenger_version"].dropna().astype(str))
    logged = predictions[["request_id", "logged_at"]].drop_duplicates("request_id")
    versions = sorted(known | set(active), key=lambda version: (len(version), version))
    return [
        _balance(
            version,
            logged,
            comparisons[comparisons["challenger_version"].eq(version)],
            active.get(version),
            doubled.get(version, 0),
        )
        for version in versions
    ]


def _balance(
    version: str, logged: pd.DataFrame, records: pd.DataFrame, since: datetime | None, n_doubled: int
) -> Conservation:
    has_record = logged["request_id"].isin(records["request_id"])
    is_due = pd.Series(False, index=logged.index) if since is None else logged["logged_at"] >= since
    is_behind = pd.Series(True, index=logged.index)
    if has_record.any():
        seen_at = logged.loc[has_record, "logged_at"]
        is_due |= logged["logged_at"].between(seen_at.min(), seen_at.max())
        is_behind = logged["logged_at"] > seen_at.max()
    unique = records.drop_duplicates("request_id")
    counts = unique["outcome"].value_counts()
    return Conservation(
        challenger_version=version,
        n_predictions=int(is_due.sum()),
        n_compared=int(counts.get("compared", 0)),
        n_failed=int(counts.get("failed", 0)),
        n_dropped=int(counts.get("dropped", 0)),
        n_lost=int((is_due & ~has_record & ~is_behind).sum()),
        n_pending=int((is_due & ~has_record & is_behind).sum()),
        n_surplus=int((~unique["request_id"].isin(logged["request_id"])).sum()),
        n_doubled=n_doubled + len(records) - len(unique),
    )
