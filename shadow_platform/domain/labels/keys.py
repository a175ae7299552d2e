"""Keys in two writings: texts, as answers and files hold them, and what a use case's SQL returns, such as numbers.

Belongs here: telling that two writings are one key, and turning texts into keys of the other type. Does not belong
here: which columns are a key (``answered``, ``known``). Upstream: answers, imports, rows of the use case's SQL.
Downstream: ``answered``, ``known``.

Rows of the SQL keep their types: it is run over them again, joined with events whose keys are of the same type.
"""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd


def is_in(rows: pd.DataFrame, others: pd.DataFrame, key: list[str]) -> "pd.Series[bool]":
    """Whether each row's key is one of the others', however both write it."""
    written, known = (pd.MultiIndex.from_arrays([_as_text(frame[name]) for name in key]) for frame in (rows, others))
    return pd.Series(written.isin(known), index=rows.index)


def as_recorded(rows: pd.DataFrame, recorded: pd.DataFrame) -> pd.DataFrame:
    """The rows in the recorded ones' types, without those whose subject cannot be of theirs, such as ``x7`` of numbers.

    Any other key that cannot is null.
    """
    possible = rows[_typed(rows["subject_id"], recorded["subject_id"]).notna()]
    common = possible.columns.intersection(recorded.columns)
    return possible.assign(**{name: _typed(possible[name], recorded[name]) for name in common})


def _typed(keys: "pd.Series[Any]", recorded: "pd.Series[Any]") -> "pd.Series[Any]":
    """The keys in the type of the recorded ones, null where one cannot be of it.

    >>> _typed(pd.Series(["7", "x7", "007"]), pd.Series([8, 9])).tolist()
    [7, <NA>, <NA>]
    """
    make = _maker(recorded)
    if make is None:
        return keys
    made = pd.Series([_made(text, make) for text in _as_text(keys)], keys.index, dtype=object)
    is_whole = recorded.dtype.kind in "iu" and made.isna().any()
    return made.astype(recorded.head(0).convert_dtypes().dtype if is_whole else recorded.dtype)


def _maker(recorded: "pd.Series[Any]") -> Callable[[str], Any] | None:
    """What makes such a key of its text; ``None`` where texts are as good."""
    if recorded.dtype.kind in "iuf":
        return recorded.dtype.type
    first = next(iter(recorded), None) if recorded.dtype == object else None
    return UUID if isinstance(first, UUID) else None


def _made(text: object, make: Callable[[str], Any]) -> Any:
    """The key whose text this is; ``None`` if it is that of none, such as ``007`` of a number."""
    if not isinstance(text, str):
        return None
    try:
        key = make(text)
    except (ValueError, OverflowError):
        return None
    return key if _text(key) == text else None


def _as_text(keys: "pd.Series[Any]") -> "pd.Series[Any]":
    """Keys as texts; times stay times, nulls null."""
    if keys.dtype.kind == "M" or pd.api.types.infer_dtype(keys) in ("string", "empty"):
        return keys
    return keys.map(_text, na_action="ignore").astype(object)


def _text(key: Any) -> str:
    """The key as written; whole numbers beside nulls are floats to pandas, and were none to those who wrote them."""
    return str(int(key)) if isinstance(key, float | np.floating) and key.is_integer() else str(key)
