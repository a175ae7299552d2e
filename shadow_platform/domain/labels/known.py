"""What was known of the truth at a time: corrections, repeats, contradictions, and outcomes that a decision hid.

Belongs here: rows of ``labels`` alone. Does not belong here: predictions beside them (``cohorts``). Upstream: the use
case's SQL, imported files. Downstream: ``labels``, ``training_frame``, cohorts.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import pandas as pd

from shadow_platform.domain.labels.keys import as_recorded, is_in

LABEL_KEY = ["subject_id", "requested_at"]
_IMPORTED = "import:"


@dataclass(frozen=True, slots=True)
class CombinedLabels:
    """Labels from events and imports as one set.

    Attributes:
        rows: ``subject_id, requested_at, label, event_at, known_at, source``; a key and ``known_at`` come once.
        n_censored: labels left out because the decision on their request hides its outcome.
        n_contradicted: imported labels left out because another source says otherwise at the same ``known_at``.
    """

    rows: pd.DataFrame
    n_censored: int
    n_contradicted: int

    @property
    def n_imported(self) -> int:
        """Labels that an import brought."""
        return int(self.rows["source"].str.startswith(_IMPORTED).sum())

    def believed(self, as_of: datetime, horizon: timedelta) -> pd.DataFrame:
        """As :func:`latest_labels`."""
        return latest_labels(self.rows, as_of, horizon)


def combine(computed: pd.DataFrame, imported: pd.DataFrame, hidden: pd.DataFrame | None = None) -> CombinedLabels:
    """Labels of both sources, each once, without those of hidden outcomes.

    Args:
        computed: ``subject_id, requested_at, label, event_at, known_at`` as the use case's SQL returns them.
        imported: the same and ``source``. Where both know something at the same instant, events win.
        hidden: ``subject_id, requested_at`` of requests whose outcome a decision prevented; ``None``: decisions
            prevent none.
    """
    rows = computed.assign(source="events")
    if len(imported):
        columns = list(rows.columns)
        rows = pd.concat([rows, as_recorded(imported, rows)], ignore_index=True) if len(rows) else imported[columns]
    n_censored = 0
    if hidden is not None and len(hidden):
        is_hidden = is_in(rows, hidden, LABEL_KEY)
        rows, n_censored = rows[~is_hidden], int(is_hidden.sum())
    instant = [*LABEL_KEY, "known_at"]
    again = rows[rows.duplicated(instant, keep=False)]
    n_contradicted = int((again["label"] != again.groupby(instant, sort=False)["label"].transform("first")).sum())
    return CombinedLabels(rows.drop_duplicates(instant).reset_index(drop=True), n_censored, n_contradicted)


def known_on(labels: pd.DataFrame, start: datetime, end: datetime) -> pd.DataFrame:
    """Labels that became known in ``[start, end)``, in order of ``known_at`` and key."""
    rows = labels[(labels["known_at"] >= start) & (labels["known_at"] < end)]
    return rows.sort_values(["known_at", *LABEL_KEY], kind="stable").reset_index(drop=True)


def latest_labels(labels: pd.DataFrame, as_of: datetime, horizon: timedelta) -> pd.DataFrame:
    """The label that was believed at ``as_of``: one row a subject and request time, the last known one.

    Args:
        labels: rows of ``labels``; a later ``known_at`` corrects an earlier one, and one that only repeats it is no
            news: the label stays known since it was first said.
        as_of: nothing known later is used.
        horizon: after this long the events' silence is taken for an answer, which corrects no import that spoke before.
    """
    known = labels[labels["known_at"] <= as_of].sort_values(["known_at", "event_at", *LABEL_KEY])
    if known.duplicated(LABEL_KEY).any():
        known = known[~_is_silence_after_import(known, horizon)]
        known = known[known["label"] != known.groupby(LABEL_KEY, sort=False)["label"].shift()]
    return known.drop_duplicates(LABEL_KEY, keep="last").reset_index(drop=True)


def _is_silence_after_import(labels: pd.DataFrame, horizon: timedelta) -> "pd.Series[bool]":
    """Whether a label only says that no event came within the horizon, of a request that an import told of earlier."""
    ends_at = labels["requested_at"] + horizon
    told = labels.loc[labels["source"].str.startswith(_IMPORTED) & (labels["known_at"] < ends_at), LABEL_KEY]
    is_silence = labels["source"].eq("events") & labels["known_at"].eq(ends_at)
    return is_silence & pd.MultiIndex.from_frame(labels[LABEL_KEY]).isin(pd.MultiIndex.from_frame(told))
