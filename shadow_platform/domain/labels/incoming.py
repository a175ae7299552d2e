"""Rows of an imported label file: which are taken, and what is wrong with the others.

Belongs here: what one row must be like on its own. Does not belong here: reading files, and what only the whole file
or the lake can tell (repeats, contradictions, unknown requests: ``adapters.lake``). Upstream: rows as received.
Downstream: the import's staging.
"""

import json
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from shadow_platform.contracts.records import QuarantinedLabel

Mask = npt.NDArray[np.bool_]
TIMES = ("requested_at", "event_at", "known_at")
TRUTHS = {"true": True, "1": True, "false": False, "0": False}
HAS_OFFSET = re.compile(r"[T ]\d\d.*(?:Z|[+-]\d\d(?::?\d\d)?)$", re.IGNORECASE)
NOT_UTF8 = re.compile("[\ud800-\udfff]")
EXPECTED_TIME = "expected ISO 8601 with its offset from UTC, such as 2024-01-31T12:00:00Z"


@dataclass(frozen=True, slots=True)
class ImportTerms:
    """What the rows of one import are held against.

    Attributes:
        now: when the import began; labels without ``known_at`` became known then.
        opens_at, closes_at: a label of the use case may become known in ``[opens_at, closes_at)``.
        evaluated_until: latest time as of which something was judged or trained; a label known by then would change it.
            ``None``: that is wanted.
    """

    now: datetime
    opens_at: datetime
    closes_at: datetime
    evaluated_until: datetime | None


@dataclass(frozen=True, slots=True)
class SortedLabels:
    """Rows of a file by what becomes of them.

    Attributes:
        valid: ``row, subject_id, requested_at, label, event_at, known_at``; the last two may be null.
        refused: one entry a row and column at fault.
    """

    valid: pd.DataFrame
    refused: list[QuarantinedLabel]


def sort_incoming(rows: pd.DataFrame, terms: ImportTerms) -> SortedLabels:
    """Typed rows that hold on their own, and every fault of the others.

    Args:
        rows: ``row`` and the columns of the file as received: text, or what a typed format holds. Empty text and null
            both mean that there is no value.
        terms: what is allowed.
    """
    sorting = _Sorting(rows)
    values = {"row": rows["row"].astype("int64"), "subject_id": _subjects(sorting), "label": _labels(sorting)}
    times = {name: _times(sorting, name) for name in TIMES}
    _check_order(sorting, times, terms)
    _check_known(sorting, times["known_at"], terms)
    valid = pd.DataFrame({**values, **times})[~sorting.is_refused]
    columns = ["row", "subject_id", "requested_at", "label", "event_at", "known_at"]
    return SortedLabels(valid.astype({"label": bool})[columns].reset_index(drop=True), sorting.faults)


class _Sorting:
    """The rows as received, and the first fault of every row and column."""

    def __init__(self, rows: pd.DataFrame) -> None:
        self.rows = rows
        self.is_refused: Mask = np.zeros(len(rows), dtype=bool)
        self.faults: list[QuarantinedLabel] = []
        self._refused_by: dict[str, Mask] = {}

    def column(self, name: str) -> "pd.Series[Any]":
        """Values of a column; nulls when the file has none."""
        return self.rows[name] if name in self.rows else pd.Series(None, index=self.rows.index, dtype=object)

    def refuse(self, name: str, is_bad: "pd.Series[bool]", reason: str) -> None:
        """Record a fault of a column unless it has one; in the reason ``{value}`` stands for what was received."""
        known = self._refused_by.setdefault(name, np.zeros(len(self.rows), dtype=bool))
        places = np.flatnonzero(is_bad.to_numpy(dtype=bool) & ~known)
        known[places] = self.is_refused[places] = True
        received = self.column(name)
        for place in places:
            row = self.rows.iloc[place]
            found = reason.replace("{value}", f"{_shown(received.iloc[place])!r:.80}")
            payload = {key: _shown(value) for key, value in row.items() if key != "row"}
            self.faults.append(QuarantinedLabel(int(row["row"]), name, found, json.dumps(payload, default=str)))


def _shown(value: Any) -> Any:
    """A value as received, fit for JSON."""
    if isinstance(value, datetime):
        return None if value is pd.NaT else value.isoformat()
    return None if value is None or value != value else value


def _is_empty(values: "pd.Series[Any]") -> "pd.Series[bool]":
    return values.isna() | (values == "")


def _subjects(sorting: _Sorting) -> "pd.Series[Any]":
    """Keys as text; whole numbers are taken for their digits."""
    received = sorting.column("subject_id")
    is_number = received.map(lambda value: isinstance(value, int | np.integer) and not isinstance(value, bool))
    texts = received.where(~is_number, received.astype(str)) if is_number.any() else received
    is_text, is_empty = texts.map(lambda value: isinstance(value, str)), _is_empty(texts)
    is_foreign = is_text & texts.map(lambda value: isinstance(value, str) and NOT_UTF8.search(value) is not None)
    sorting.refuse("subject_id", is_empty, "is empty; expected the key of what was predicted")
    sorting.refuse("subject_id", ~is_text & ~is_empty, "{value} is neither text nor a whole number")
    sorting.refuse("subject_id", is_foreign, "{value} is not UTF-8; save the file as UTF-8")
    return texts


def _labels(sorting: _Sorting) -> "pd.Series[Any]":
    received = sorting.column("label")
    truths = received.map(lambda value: TRUTHS.get(str(value).strip().lower()))
    sorting.refuse("label", truths.isna(), "{value} is no label; expected true, false, 1 or 0")
    return truths


def _times(sorting: _Sorting, name: str) -> "pd.Series[Any]":
    """Instants in UTC, to the microsecond; null where there is none or it cannot be read."""
    received = sorting.column(name)
    if isinstance(received.dtype, pd.DatetimeTZDtype):
        times = received.dt.tz_convert("UTC")
        is_empty = times.isna()
    else:
        is_empty = _is_empty(received)
        is_text = received.map(lambda value: isinstance(value, str))
        times = pd.to_datetime(received.where(is_text), format="ISO8601", utc=True, errors="coerce")
        has_offset = received.map(lambda value: isinstance(value, str) and HAS_OFFSET.search(value) is not None)
        is_naive = (times.notna() & ~has_offset) | received.map(lambda value: isinstance(value, datetime))
        sorting.refuse(name, is_naive & ~is_empty, f"{{value}} has no offset from UTC; {EXPECTED_TIME}")
        sorting.refuse(name, times.isna() & ~is_naive & ~is_empty, f"{{value}} is not a time; {EXPECTED_TIME}")
        times = times.where(~is_naive)
    if name == "requested_at":
        sorting.refuse(name, is_empty, f"is empty; {EXPECTED_TIME}")
    instants: pd.Series[Any] = times.dt.as_unit("us")
    return instants


def _check_order(sorting: _Sorting, times: "dict[str, pd.Series[Any]]", terms: ImportTerms) -> None:
    """Request, then event, then knowledge of it, then the import."""
    requested, event, known = (times[name] for name in TIMES)
    for name in TIMES:
        sorting.refuse(name, times[name] > terms.now, f"{{value}} lies in the future: it is {terms.now.isoformat()}")
    sorting.refuse("event_at", event < requested, "{value} lies before the request; a label tells what came after it")
    sorting.refuse(
        "known_at",
        known < event.fillna(requested),
        "{value} lies before the event or the request; nothing is known before it is",
    )


def _check_known(sorting: _Sorting, known: "pd.Series[Any]", terms: ImportTerms) -> None:
    """On a day of the use case, and after everything that was already judged."""
    at = known.fillna(pd.Timestamp(terms.now))
    sorting.refuse(
        "known_at",
        (at < terms.opens_at) | (at >= terms.closes_at),
        f"{{value}} (none: {terms.now.isoformat()}) is no time of the use case, which runs from "
        f"{terms.opens_at.isoformat()} until {terms.closes_at.isoformat()}",
    )
    if terms.evaluated_until is not None:
        sorting.refuse(
            "known_at",
            at <= terms.evaluated_until,
            f"{{value}} would change what was judged or trained as of {terms.evaluated_until.isoformat()}; give the "
            "time at which it truly became known, or import with --backfill",
        )
