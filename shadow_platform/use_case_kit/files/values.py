"""A value as JSON holds it for a column of an event.

Belongs here: one value at a time. What does not convert, and what is neither text nor number, stays as it was, for the
quarantine. Does not belong here: what a value may be (event schemas). Upstream: reading. Downstream: source, scaffold.
"""

import math
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

Convert = Callable[[Any], Any]

MAX_EXACT = 2**53
"""Up to this, every whole number is a float."""
_TRUTHS = {"true": True, "t": True, "yes": True, "1": True, "false": False, "f": False, "no": False, "0": False}
_WHOLE = re.compile(r"\s*[+-]?[0-9]{1,99}\s*")
_NUMBER = re.compile(r"\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\s*")


def converter(dtype: str) -> Convert:
    """What makes values of a column of this type.

    >>> [converter("float64")(value) for value in ("1", 2, "two", True, "inf", None)]
    [1.0, 2.0, 'two', True, 'inf', None]
    >>> [converter("bool")(value) for value in ("yes", "FALSE", "?")]
    [True, False, '?']
    """
    lowered = dtype.lower()
    return next((convert for prefix, convert in _BY_PREFIX.items() if lowered.startswith(prefix)), _text)


def utc_time(value: object) -> datetime | None:
    """The time that a text in ISO 8601 says, UTC where it names no offset; ``None`` if it is none.

    >>> utc_time("2024-03-01 01:30+02:00"), utc_time("soon"), utc_time(2024)
    (datetime.datetime(2024, 2, 29, 23, 30, tzinfo=datetime.timezone.utc), None, None)
    """
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value.strip())
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _moment(value: Any) -> Any:
    found = utc_time(value)
    return value if found is None else f"{found.replace(tzinfo=None).isoformat(timespec='microseconds')}Z"


def _truth(value: Any) -> Any:
    return _TRUTHS.get(str(value).lower(), value)


def _number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return value
    if isinstance(value, str) and not _NUMBER.fullmatch(value):
        return value
    try:
        number = float(value)
    except OverflowError:
        return value
    return number if math.isfinite(number) else value


def _whole(value: Any) -> Any:
    if isinstance(value, str) and _WHOLE.fullmatch(value):
        return int(value)
    if isinstance(value, int):
        return value
    number = _number(value)
    is_whole = isinstance(number, float) and number.is_integer() and abs(number) <= MAX_EXACT
    return int(number) if is_whole else value if isinstance(value, str) else number


def _text(value: Any) -> Any:
    return str(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else value


_BY_PREFIX: dict[str, Convert] = {
    "datetime": _moment,
    "bool": _truth,
    "float": _number,
    "int": _whole,
    "uint": _whole,
}
