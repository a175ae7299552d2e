"""Matured cohorts in prediction order, and what a challenger made of them.

Labels arrive out of order (positives often first), so only requests older than the label horizon count, in the order
they were made: their labels are complete, whichever sign they have. Upstream: rows of ``labels``, ``predictions`` and
``shadow_comparisons``. Downstream: ``performance_daily``, ``gate_decision``.
"""

from datetime import datetime, timedelta

import pandas as pd

from shadow_platform.domain.labels.known import LABEL_KEY, latest_labels

_PAIR_COLUMNS = [
    "request_id",
    "outcome",
    "challenger_probability",
    "challenger_prediction",
    "challenger_latency_ms",
]


def matured_cohort(
    predictions: pd.DataFrame, labels: pd.DataFrame, as_of: datetime, horizon: timedelta
) -> pd.DataFrame:
    """Predictions whose label horizon had passed at ``as_of``, in prediction order, with the label known then.

    Args:
        predictions: rows of ``predictions``.
        labels: rows of ``labels``.
        as_of: time of the evaluation; the result for a given time stays the same for ever.
        horizon: after this long a label is known.

    Returns:
        The predictions' columns and ``label`` (nullable boolean: null when the truth is still not known) and
        ``known_at``, ordered by ``requested_at`` and ``request_id``.
    """
    matured = predictions[predictions["requested_at"] <= as_of - horizon]
    believed = latest_labels(labels, as_of, horizon)[[*LABEL_KEY, "label", "known_at"]]
    cohort = matured.merge(believed, on=LABEL_KEY, how="left", validate="many_to_one")
    cohort["label"] = cohort["label"].astype("boolean")
    return cohort.sort_values(["requested_at", "request_id"], kind="stable").reset_index(drop=True)


def pair(cohort: pd.DataFrame, comparisons: pd.DataFrame, challenger_version: str) -> pd.DataFrame:
    """The cohort with what one challenger made of each request, in the cohort's order.

    Args:
        cohort: result of :func:`matured_cohort`.
        comparisons: rows of ``shadow_comparisons``.
        challenger_version: version to pair with.

    Returns:
        The cohort's columns and ``outcome`` (``compared``, ``failed``, ``dropped``, or ``missing`` when the
        challenger has no record of the request), ``challenger_probability``, ``challenger_prediction`` and
        ``challenger_latency_ms``.
    """
    records = comparisons.loc[comparisons["challenger_version"].eq(challenger_version), _PAIR_COLUMNS]
    records = records.drop_duplicates("request_id")
    paired = cohort.merge(records, on="request_id", how="left", validate="many_to_one")
    paired["outcome"] = paired["outcome"].fillna("missing")
    return paired


def settled(paired: pd.DataFrame, matured_until: datetime) -> pd.DataFrame:
    """The paired answers that a challenger's shadow will not get to any more, whatever became of them.

    Those with a record, those without one that are older than the newest record, and all matured ones: a shadow that
    has stopped for good lacks them.
    """
    has_record = paired["outcome"].ne("missing")
    is_passed = paired["requested_at"] <= paired.loc[has_record, "requested_at"].max()
    is_settled: pd.Series[bool] = has_record | is_passed | (paired["requested_at"] <= matured_until)
    return paired[is_settled].reset_index(drop=True)
