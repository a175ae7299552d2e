"""Rows of ``performance_daily``: the metrics of each model on the requests of each day.

Belongs here: which rows count for which metric. Does not belong here: a metric (``metrics``), an estimator
(``propensity``).
"""

from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from shadow_platform.contracts.tables import PERFORMANCE_DAILY
from shadow_platform.contracts.use_case import DecisionCosts
from shadow_platform.domain.estimation.calibration import Calibrator, identity
from shadow_platform.domain.estimation.intervals import NONE, auc_interval, expected_performance
from shadow_platform.domain.estimation.metrics import Array, log_losses, realise
from shadow_platform.domain.estimation.propensity import Estimate, horvitz_thompson, inverse_propensity

# Without any explored request an interval held the truth in 72 % of simulated days, from the first on in 94 % or more
# (benchmarks/censoring.py); ratios of so few rows say little.
MIN_EXPLORED = 5
ALL_LABELS, INVERSE_PROPENSITY, NOT_IDENTIFIABLE = "all_labels", "inverse_propensity", "not_identifiable"


def performance_by_day(
    cohort: pd.DataFrame,
    role: str,
    as_of: datetime,
    calibrator: Calibrator | None = None,
    costs: DecisionCosts | None = None,
) -> pd.DataFrame:
    """Rows of ``performance_daily``, one a request day and model version.

    Args:
        cohort: ``use_case, requested_at, model_version, probability, prediction, label`` (null: not known) of every
            prediction to be judged, ``is_hidden`` and ``label_propensity`` (null: not matured) of its request.
        role: ``champion`` or ``challenger``.
        as_of: labels known later were not used.
        calibrator: maps score to probability for the estimates; default: the score itself, taken as certain.
        costs: what wrong decisions cost; default: no cost is given.
    """
    columns = list(PERFORMANCE_DAILY.column_names)
    rows = [
        {
            "use_case": use_case,
            "day_at": day_at,
            "model_version": version,
            "role": role,
            "n": len(group),
            **_expected(group, calibrator or identity()),
            **_realised(group[group["label_propensity"].notna()], costs),
            "labels_as_of": as_of,
        }
        for (use_case, day_at, version), group in cohort.assign(day_at=cohort["requested_at"].dt.floor("D")).groupby(
            ["use_case", "day_at", "model_version"]
        )
    ]
    return pd.DataFrame(rows, columns=columns)


def _expected(group: pd.DataFrame, calibrator: Calibrator) -> dict[str, float | None]:
    score, prediction = group["probability"].to_numpy(np.float64), group["prediction"].to_numpy(bool)
    expected, intervals = expected_performance(score, prediction, calibrator)
    row: dict[str, float | None] = {}
    for name, interval in intervals.items():
        row[f"estimated_{name}"] = getattr(expected, name)
        row[f"estimated_{name}_low"], row[f"estimated_{name}_high"] = interval.low, interval.high
    return row


def _realised(matured: pd.DataFrame, costs: DecisionCosts | None) -> dict[str, Any]:
    """Metrics of a day's matured requests; those whose label is merely missing are taken to be like the others.

    Means are Horvitz and Thompson's: also where a day has few explored requests, or none, the mean of such days,
    weighted by their requests, is unbiased. A ratio and an interval are not, and are left out there.
    """
    hidden = matured["is_hidden"].astype(bool)
    rows = matured[matured["label"].notna() | hidden]
    counts = {"n_labelled": int(rows["label"].notna().sum()), "n_censored": int(hidden.sum())}
    estimator = _estimator(matured["label_propensity"].to_numpy(np.float64))
    if estimator is None or estimator == NOT_IDENTIFIABLE:
        return {**counts, "estimator": estimator}
    is_seen = rows["label"].notna().to_numpy(bool)
    propensity = rows["label_propensity"].to_numpy(np.float64)
    label = rows["label"].fillna(False).to_numpy(bool)
    score, prediction = rows["probability"].to_numpy(np.float64), rows["prediction"].to_numpy(bool)
    weight = None if estimator == ALL_LABELS else inverse_propensity(is_seen, propensity)[is_seen]
    true = realise(score[is_seen], prediction[is_seen], label[is_seen], weight)

    def mean(values: Array) -> Estimate:
        return horvitz_thompson(values, is_seen, propensity)

    loss = mean(log_losses(score, label.astype(np.float64)))
    is_rich = estimator == ALL_LABELS or int((is_seen & (propensity < 1)).sum()) >= MIN_EXPLORED
    area = auc_interval(score[is_seen], label[is_seen], weight) if is_rich else NONE
    return {
        **counts,
        "estimator": estimator,
        "base_rate": mean(label.astype(np.float64)).value,
        "roc_auc": true.roc_auc if is_rich else None,
        "roc_auc_low": area.low,
        "roc_auc_high": area.high,
        "log_loss": loss.value,
        "log_loss_low": loss.low if is_rich else None,
        "log_loss_high": loss.high if is_rich else None,
        "brier": mean((score - label) ** 2).value,
        "f1": true.f1 if is_rich else None,
        "accuracy": mean((prediction == label).astype(np.float64)).value,
        "precision": true.precision if is_rich else None,
        "recall": true.recall if is_rich else None,
        "cost_per_request": None if costs is None else mean(_costs(prediction, label, costs)).value,
    }


def _estimator(propensity: Array) -> str | None:
    """How the metrics are estimated; ``None`` when no request has matured."""
    if len(propensity) == 0:
        return None
    if propensity.min() <= 0:
        return NOT_IDENTIFIABLE
    return ALL_LABELS if propensity.min() == 1 else INVERSE_PROPENSITY


def _costs(prediction: np.ndarray, label: np.ndarray, costs: DecisionCosts) -> Array:
    false_positive, false_negative = prediction & ~label, ~prediction & label
    return np.asarray(costs.false_positive * false_positive + costs.false_negative * false_negative, dtype=np.float64)
