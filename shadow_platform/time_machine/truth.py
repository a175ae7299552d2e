"""How good the answers of a journey were, by the truth: of the simulator, or of all labels that ever came.

Upstream: answers as given, the simulator's ``bayes`` or the lake's labels. Downstream: ``journey``.
"""

from datetime import UTC, timedelta

import numpy as np
import numpy.typing as npt
import pandas as pd

from shadow_platform.partitions import end_of, start_of
from shadow_platform.resources import PlatformResource
from shadow_platform.time_machine.trip import Trip

DAY = timedelta(days=1)
KEY = ["subject_id", "requested_at"]
EPSILON = 1e-7
COLUMNS = [
    "week",
    "n",
    "n_labelled",
    "log_loss",
    "roc_auc",
    "brier",
    "base_rate",
    "mean_score",
    "best_log_loss",
    "versions",
]


def truth(trip: Trip, platform: PlatformResource, answers: pd.DataFrame) -> pd.DataFrame:
    """``label`` and, where the world is simulated, the true ``probability`` of every answered request."""
    use_case = trip.use_case
    if use_case.simulation is not None and trip.plan is not None:
        told: pd.DataFrame = use_case.simulation.open(trip.plan).bayes(trip.start, trip.end)
        return told[[*KEY, "label", "probability"]].drop_duplicates(KEY)
    requests = answers[KEY]
    window = {"start": start_of(trip.start), "end": start_of(trip.end)}
    spine = platform.lake().events_sql(use_case.requests_sql, use_case, use_case.events, window, end=window["end"])
    as_of = end_of(trip.end) + use_case.label.horizon
    labels = platform.labels_of(use_case, spine, window["start"], as_of).believed(as_of, use_case.label.horizon)
    known = requests.merge(labels[[*KEY, "label"]], on=KEY, how="inner")
    return known.assign(probability=np.nan)


def performance(answers: pd.DataFrame, true: pd.DataFrame, step_days: int) -> pd.DataFrame:
    """Weekly, or by step where steps are longer: what was answered held against what became true."""
    joined = answers.merge(true.rename(columns={"probability": "best"}), on=KEY, how="left")
    origin = pd.Timestamp(joined["requested_at"].min()).floor("D")
    span = pd.Timedelta(days=max(7, step_days))
    week = origin + ((joined["requested_at"] - origin) // span) * span
    rows = [_row(start, of_week) for start, of_week in joined.groupby(week, sort=True)]
    return pd.DataFrame(rows, columns=COLUMNS)


def log_losses(label: npt.NDArray[np.float64], p: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Log loss of each probability, nats."""
    p = np.clip(p, EPSILON, 1 - EPSILON)
    found: npt.NDArray[np.float64] = -np.where(label > 0.5, np.log(p), np.log1p(-p))
    return found


def _row(week: pd.Timestamp, of_week: pd.DataFrame) -> dict[str, object]:
    known = of_week[of_week["label"].notna()]
    label, score = known["label"].to_numpy(np.float64), known["probability"].to_numpy(np.float64)
    best = known["best"].to_numpy(np.float64)
    has_both = len(np.unique(label)) == 2
    has_best = len(best) > 0 and bool(np.isfinite(best).all())
    return {
        "week": week.tz_convert(UTC).date().isoformat(),
        "n": len(of_week),
        "n_labelled": len(known),
        "log_loss": float(log_losses(label, score).mean()) if len(known) else np.nan,
        "roc_auc": _auc(label, score) if has_both else np.nan,
        "brier": float(np.mean((label - score) ** 2)) if len(known) else np.nan,
        "base_rate": float(label.mean()) if len(known) else np.nan,
        "mean_score": float(of_week["probability"].mean()),
        "best_log_loss": float(log_losses(label, best).mean()) if has_best else np.nan,
        "versions": " ".join(sorted(of_week["model_version"].unique(), key=lambda v: (len(v), v))),
    }


def _auc(label: npt.NDArray[np.float64], score: npt.NDArray[np.float64]) -> float:
    ranks = pd.Series(score).rank().to_numpy()
    n_positive = label.sum()
    n_pairs = n_positive * (len(label) - n_positive)
    return float((ranks[label > 0.5].sum() - n_positive * (n_positive + 1) / 2) / n_pairs)
