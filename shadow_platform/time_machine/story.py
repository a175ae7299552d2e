"""What happened on a journey, day by day, and the files that tell it: the same trip gives the same bytes.

Belongs here: rows and files. Does not belong here: what happens (``journey``), drawing (``adapters.pictures``).
Upstream: ``journey``, ``truth``. Downstream: people, ``benchmarks.decisions``.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from shadow_platform.time_machine.trip import Trip

KINDS = ("world", "drift", "performance", "trigger", "training", "decision", "promotion", "rollback", "rollout")


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened.

    Attributes:
        kind: one of ``KINDS``.
        outcome: one word, such as fail, started, promote.
        version: model it is about; empty: none.
    """

    day: date
    kind: str
    outcome: str
    version: str
    detail: str


def timeline(events: list[Event]) -> pd.DataFrame:
    """Events as a table, by day and then in the order in which they happened."""
    columns = ["day", "kind", "outcome", "version", "detail"]
    rows = [{**asdict(event), "day": event.day.isoformat()} for event in events]
    return pd.DataFrame(rows, columns=columns).sort_values("day", kind="stable", ignore_index=True)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """JSON with a fixed order and form."""
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n")


def write_csv(path: Path, frame: pd.DataFrame) -> None:
    """CSV with numbers to ten digits: what differs beyond is the order of additions."""
    frame.to_csv(path, index=False, float_format="%.10g", lineterminator="\n")


def summarise(trip: Trip, events: pd.DataFrame, weeks: pd.DataFrame) -> dict[str, Any]:
    """The journey in a few numbers; means are over all labelled answers."""
    n, weights = int(weeks["n"].sum()), weeks["n_labelled"].to_numpy(float)

    def mean(column: str) -> float | None:
        known = weeks[column].notna().to_numpy() & (weights > 0)
        return round(float(np.average(weeks.loc[known, column], weights=weights[known])), 10) if known.any() else None

    def count(kind: str, outcome: str) -> int:
        return int((events["kind"].eq(kind) & events["outcome"].eq(outcome)).sum())

    return {
        "trip": trip.told,
        "n_answers": n,
        "log_loss": mean("log_loss"),
        "brier": mean("brier"),
        "roc_auc": mean("roc_auc"),
        "best_log_loss": mean("best_log_loss"),
        "n_retrainings": count("training", "registered") - 1,
        "n_trainings_refused": count("training", "refused"),
        "n_promotions": count("promotion", "champion"),
        "n_rollbacks": count("rollback", "champion"),
        "n_held_back": count("trigger", "held back"),
        "n_drift_failed": count("drift", "fail"),
        "n_performance_failed": count("performance", "fail"),
        "champions": list(dict.fromkeys(" ".join(weeks["versions"]).split())),
    }
