"""Query parameters of the reading routes: how each is written, and what a caller is told otherwise.

The patterns stand in the OpenAPI document too. Upstream: query strings. Downstream: ``bento.api.app``, the views.
"""

import re
from datetime import datetime, timedelta

from starlette.datastructures import QueryParams

from shadow_platform.contracts.errors import RequestError
from shadow_platform.domain.serving import parse_moment

WINDOW = r"[1-9][0-9]{0,6}s|[1-9][0-9]{0,4}m|[1-9][0-9]{0,2}h|[1-9][0-9]?d"
DEFAULT_WINDOW = "24h"
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def known_only(query: QueryParams, *known: str) -> QueryParams:
    """The parameters; raises ``RequestError`` naming those that the route does not have."""
    unknown = sorted(set(query) - set(known))
    if unknown:
        message = f"unknown parameter; expected {', '.join(known)}"
        raise RequestError([{"field": name[:80], "message": message} for name in unknown])
    return query


def parse_window(text: str | None) -> timedelta:
    """Length of a window such as ``24h``; raises ``RequestError``."""
    wanted = DEFAULT_WINDOW if text is None else text
    if re.fullmatch(WINDOW, wanted):
        return timedelta(**{UNITS[wanted[-1]]: int(wanted[:-1])})
    raise invalid("window", f"is {wanted[:40]!r}; expected a number and s, m, h or d, at most 99d, such as 24h")


def parse_count(name: str, text: str | None, default: int, maximum: int) -> int:
    """A whole number from 1 to ``maximum``; raises ``RequestError``."""
    if text is None:
        return default
    if re.fullmatch("[0-9]{1,6}", text) and 1 <= int(text) <= maximum:
        return int(text)
    raise invalid(name, f"is {text[:40]!r}; expected 1 to {maximum}")


def parse_since(text: str) -> datetime:
    """A time; raises ``RequestError``. A plus sign that was sent unescaped arrives as a blank."""
    at = parse_moment(text.replace(" ", "+"))
    if at is None:
        raise invalid("since", f"is {text[:40]!r}; expected RFC 3339, such as 2024-01-15T10:30:00Z")
    return at


def invalid(field: str, message: str) -> RequestError:
    """A refusal of one parameter."""
    return RequestError([{"field": field, "message": message}])
