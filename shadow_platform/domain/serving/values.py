"""What one field of a request may hold, and what the caller is told when it holds something else.

Upstream: declarations of the use case. Downstream: ``requests``; bento, for times.
"""

import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from shadow_platform.contracts.errors import RequestError
from shadow_platform.contracts.features import FLOAT32_MAX
from shadow_platform.contracts.use_case import ContextField, Feature

MAX_TEXT = 256
"""Longest key or category accepted, characters."""

CLOCK_SKEW = timedelta(seconds=5)
"""How far a caller's clock may be ahead of ours before the time of its event counts as the future."""

CONTROL = r"\u0000-\u001f\u007f-\u009f\u2028\u2029"
"""Characters that no text may hold, as a character class: each would break a line or hide in one."""

_CONTROL = re.compile(f"[{CONTROL}]")
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII)
_EXPECTED_MOMENT = "expected RFC 3339, such as 2024-01-15T10:30:00Z"

FieldError = dict[str, str]


def parse_as_of(text: str, now: datetime, *, is_allowed: bool) -> datetime:
    """Business time from ``X-As-Of``; raises ``RequestError`` when refused, malformed or in the future."""
    if not is_allowed:
        raise RequestError([field_error("X-As-Of", "is refused in production; leave the header out")])
    as_of = parse_moment(text)
    if as_of is None:
        raise RequestError([field_error("X-As-Of", f"is {text[:40]!r}; {_EXPECTED_MOMENT}")])
    if as_of > now:
        raise RequestError(
            [field_error("X-As-Of", f"is {text[:40]!r}, in the future; expected at most {rfc3339(now)}")]
        )
    return as_of


def rfc3339(at: datetime) -> str:
    """UTC with milliseconds.

    >>> rfc3339(datetime(2024, 1, 15, 10, 30, tzinfo=UTC))
    '2024-01-15T10:30:00.000Z'
    """
    return at.astimezone(UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def parse_moment(text: str) -> datetime | None:
    """The time, in UTC, that RFC 3339 text names; ``None`` when it names none."""
    try:
        return datetime.fromisoformat(text).astimezone(UTC) if _RFC3339.fullmatch(text) else None
    except (ValueError, OverflowError):
        return None


def context_errors(
    context: Sequence[ContextField],
    event: Mapping[str, object],
    prefix: str,
    outer: Mapping[str, object],
    as_of: datetime,
) -> list[FieldError]:
    """Errors of the fields that identify an event; those also in ``outer`` must equal it."""
    found = []
    for field in context:
        value = event.get(field.name)
        problem = f"required; {field.description}" if value is None else text_problem(value)
        if problem is None and value != outer.get(field.name, value):
            problem = f"is {value!r}; expected {outer[field.name]!r}, the {field.name} of the request"
        if problem is None and field.kind == "timestamp":
            moment = parse_moment(str(value))
            if moment is None:
                problem = f"is {str(value)[:40]!r}; {_EXPECTED_MOMENT}"
            elif moment > as_of + CLOCK_SKEW:
                problem = f"is {value!r}, in the future; expected at most {rfc3339(as_of)}"
        if problem is not None:
            found.append(field_error(prefix + field.name, problem))
    return found


def feature_problem(feature: Feature, value: object) -> str | None:
    """Why the value cannot be this feature's; ``None`` when it can."""
    if feature.kind == "categorical":
        return text_problem(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"is {kind_of(value)}; expected a number"
    if isinstance(value, float) and not math.isfinite(value):
        return f"is {value}; expected a finite number"
    if not -FLOAT32_MAX <= value <= FLOAT32_MAX:
        return f"is beyond float32; expected at most {FLOAT32_MAX:.3g} in size"
    if (feature.low is not None and value < feature.low) or (feature.high is not None and value > feature.high):
        return f"is {value}; expected {_range(feature)}"
    return None


def text_problem(value: object) -> str | None:
    """Why the value cannot be a key or a category; ``None`` when it can."""
    if not isinstance(value, str):
        return f"is {kind_of(value)}; expected a string"
    if not 1 <= len(value) <= MAX_TEXT:
        return f"has {len(value)} characters; expected 1 to {MAX_TEXT}"
    if not value.isprintable() and _CONTROL.search(value):
        return "holds control characters; expected printable text"
    return None


def _range(feature: Feature) -> str:
    low = "" if feature.low is None else f"at least {feature.low:g}"
    high = "" if feature.high is None else f"at most {feature.high:g}"
    unit = f" {feature.unit}" if feature.unit else ""
    return " and ".join(part for part in (low, high) if part) + unit


def kind_of(value: object) -> str:
    """What JSON calls the value, with its article."""
    if value is None:
        return "null"
    names: Sequence[tuple[type, str]] = (
        (bool, "a boolean"),
        (int, "a number"),
        (float, "a number"),
        (str, "a string"),
        (list, "a list"),
        (dict, "an object"),
    )
    return next((name for kind, name in names if isinstance(value, kind)), type(value).__name__)


def field_error(field: str, message: str) -> FieldError:
    """One entry of a refusal."""
    return {"field": field, "message": message}
