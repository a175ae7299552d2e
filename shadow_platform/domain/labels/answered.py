"""Requests as they were answered: which recorded request each answer belongs to, whatever the clocks of both say.

Belongs here: matching by subject and time, or by the event that an envelope names. Does not belong here: labels
(``known``), cohorts (``cohorts``). Upstream: the use case's ``requests_sql``, rows of ``predictions``. Downstream: the
label's SQL, ``labels``, ``training_frame``.

A request that is replayed is answered at the time of its event. A live one is answered some milliseconds later, by
another clock: only the event that its context names tells that both are one. Answers hold keys as texts; what comes of
them has the types of the recorded requests.
"""

import json
from datetime import datetime

import pandas as pd

from shadow_platform.contracts.use_case import Envelope
from shadow_platform.domain.labels.keys import as_recorded, is_in
from shadow_platform.domain.labels.known import LABEL_KEY


def with_context(answered: pd.DataFrame, envelope: Envelope | None) -> pd.DataFrame:
    """The rows with a column a context field, typed as declared, in place of the JSON column ``context``.

    A field that a row does not have is null: it was answered before records kept it.
    """
    rows = answered.drop(columns="context")
    fields = envelope.fields if envelope else ()
    if not fields:
        return rows
    texts = answered["context"].where(answered["context"].notna(), "{}")
    values = [tuple(map((json.loads(text) or {}).get, (field.name for field in fields))) for text in texts]
    columns = pd.DataFrame(values, rows.index, [field.name for field in fields], dtype=object)
    for field in fields:
        if field.kind == "timestamp":
            columns[field.name] = pd.to_datetime(columns[field.name], format="ISO8601", utc=True).dt.as_unit("us")
    return rows.join(columns)


def requests_to_label(
    spine: pd.DataFrame, answered: pd.DataFrame, start: datetime, end: datetime, envelope: Envelope | None = None
) -> pd.DataFrame:
    """The spine and, below it, answered requests in ``[start, end)`` that it does not hold.

    A request of the spine whose event was answered at other times only gives way to its answers. An answer about a
    subject that the spine's type cannot hold, ``x7`` among numbers, is left out: no event can tell of it.

    Args:
        spine: result of the use case's ``requests_sql``.
        answered: ``subject_id, requested_at, context`` of ``predictions``; more is not known of them.
    """
    within = answered[(answered["requested_at"] >= start) & (answered["requested_at"] < end)]
    others = within[~is_in(within, spine, LABEL_KEY)].drop_duplicates(LABEL_KEY)
    if others.empty:
        return spine
    others = with_context(others, envelope)
    stays = is_in(spine, within, LABEL_KEY) | ~_is_same_event(spine, others, envelope)
    return pd.concat([spine[stays], as_recorded(others, spine)], ignore_index=True)


def hidden_among(requests: pd.DataFrame, hidden: pd.DataFrame, envelope: Envelope | None) -> pd.DataFrame:
    """``subject_id, requested_at`` of hidden outcomes: as answered, and of every request of the same event.

    Args:
        requests: recorded or answered requests.
        hidden: ``subject_id, requested_at, context`` of answers that keep their outcome from being seen.
    """
    known = with_context(hidden, envelope)
    same = requests[_is_same_event(requests, known, envelope)]
    return pd.concat([known[LABEL_KEY], same[LABEL_KEY]], ignore_index=True)


def without_label(answered: pd.DataFrame, labels: pd.DataFrame) -> pd.DataFrame:
    """Answers that none of the labels is about."""
    return answered[~is_in(answered, labels, LABEL_KEY)]


def _is_same_event(rows: pd.DataFrame, others: pd.DataFrame, envelope: Envelope | None) -> "pd.Series[bool]":
    """Whether each row is about an event that the others are about; of nothing without a key."""
    if envelope is None or envelope.key is None:
        return pd.Series(False, index=rows.index)
    return is_in(rows, others[others[envelope.key].notna()], ["subject_id", envelope.key])
