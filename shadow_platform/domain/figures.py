"""Figures of the platform's state from rows of its tables: what a gauge says of verdicts, decisions, models and labels.

Belongs here: which rows count, and what of them. Does not belong here: reading them, exposing them (``exporter``).
Upstream: rows as their tables and logs hold them. Downstream: the exporter.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pandas as pd

from shadow_platform.contracts.verdicts import Outcome

Row = Mapping[str, Any]

GATE_OUTCOMES = ("promote", "wait", "reject", "rollback")
TRANSITION_KINDS = (
    "first",
    "promotion",
    "rollback",
    "canary_start",
    "canary_share",
    "canary_stop",
    "challengers",
)


@dataclass(frozen=True, slots=True)
class VerdictFigures:
    """The newest verdicts of a kind.

    Attributes:
        score: of the newest that measured one; ``None``: none did.
        is_failing: of the newest that could tell; ``None``: none could.
        is_insufficient: whether the newest could not tell.
        evaluated_at: time of the newest.
    """

    score: float | None
    is_failing: bool | None
    is_insufficient: bool
    evaluated_at: datetime


def newest_verdicts(verdicts: pd.DataFrame) -> VerdictFigures | None:
    """Figures of verdicts on windows, by the end of the window; ``None`` without any.

    A verdict that was judged anew since, on other data, says nothing any more. One that could not tell leaves the
    verdict before in force.

    Args:
        verdicts: ``evaluation_id, window_end, evaluated_at, outcome, replaces`` and, if measured, ``drift_score``.
    """
    standing = verdicts[~verdicts["evaluation_id"].isin(verdicts["replaces"].dropna())]
    if standing.empty:
        return None
    ordered = standing.sort_values(["window_end", "evaluated_at"], kind="stable")
    told = ordered[ordered["outcome"] != Outcome.INSUFFICIENT.value]
    scores = ordered["drift_score"].dropna() if "drift_score" in ordered else pd.Series(dtype=float)
    return VerdictFigures(
        score=float(scores.iloc[-1]) if len(scores) else None,
        is_failing=bool(told["outcome"].iloc[-1] == Outcome.FAIL.value) if len(told) else None,
        is_insufficient=bool(ordered["outcome"].iloc[-1] == Outcome.INSUFFICIENT.value),
        evaluated_at=ordered["evaluated_at"].max().to_pydatetime(),
    )


def decision_counts(decisions: pd.DataFrame) -> dict[str, int]:
    """Decisions of the gate by outcome, each outcome with its count, 0 included.

    What a watch of a fresh champion calls promote is the return of the champion before.

    Args:
        decisions: ``decision, purpose``.
    """
    is_rollback = (decisions["purpose"] == "watch") & (decisions["decision"] == "promote")
    outcomes = decisions["decision"].where(~is_rollback, "rollback")
    return dict.fromkeys(GATE_OUTCOMES, 0) | {str(name): int(n) for name, n in outcomes.value_counts().items()}


def transition_counts(rows: Iterable[Row], rolled: Collection[tuple[str, str]]) -> dict[str, int]:
    """Changes of a deployment by kind, each kind with its count, 0 included.

    Args:
        rows: of model_transitions, oldest first; those of one generation are one change.
        rolled: decision and version of every rollout: a former champion that comes back by one is promoted.
    """
    generations: dict[Any, dict[str, Row]] = {}
    for row in rows:
        generations.setdefault(row["generation"], {})[row["alias"]] = row
    kinds = Counter(_kind(moved, rolled) for moved in generations.values())
    return dict.fromkeys(TRANSITION_KINDS, 0) | dict(kinds)


def _kind(moved: Mapping[str, Row], rolled: Collection[tuple[str, str]]) -> str:
    champion, canary = moved.get("champion"), moved.get("canary")
    if champion is not None and champion["from_version"] != champion["to_version"]:
        if champion["from_version"] is None:
            return "first"
        was_previous = moved.get("previous", {}).get("from_version") == champion["to_version"]
        is_by_rollout = (champion["evidence_id"], champion["to_version"]) in rolled
        return "rollback" if was_previous and not is_by_rollout else "promotion"
    if canary is None:
        return "challengers"
    if canary["to_version"] is None:
        return "canary_stop"
    return "canary_share" if canary["from_version"] == canary["to_version"] else "canary_start"


def newest_log_loss(days: pd.DataFrame) -> tuple[float | None, dict[tuple[str, str], float]]:
    """Log loss of the champion on its newest labelled day, and of each role and version on its own newest.

    Args:
        days: ``day_at, role, model_version, n_labelled, log_loss`` of performance_daily.
    """
    known = days[days["log_loss"].notna() & (days["n_labelled"] > 0)]
    newest = known.sort_values("day_at", kind="stable").groupby(["role", "model_version"]).tail(1)
    versions = {
        (str(row["role"]), str(row["model_version"])): float(row["log_loss"]) for row in newest.to_dict("records")
    }
    of_champion = known[known["role"] == "champion"]
    if of_champion.empty:
        return None, versions
    day = of_champion[of_champion["day_at"] == of_champion["day_at"].max()]
    return float((day["log_loss"] * day["n_labelled"]).sum() / day["n_labelled"].sum()), versions


def labels_behind(newest_due: datetime | None, newest_labelled: datetime | None, oldest: datetime) -> timedelta | None:
    """How far labels are behind; ``None`` while no label is due.

    Args:
        newest_due: newest answered request that is older than the label's horizon.
        newest_labelled: newest request with a label.
        oldest: first answered request, from which on labels are missing when there is none.
    """
    if newest_due is None:
        return None
    return max(newest_due - (newest_labelled or oldest), timedelta(0))
