"""What the OpenAPI document cannot say of headers, for schemathesis, which loads this module by its name.

A time must not lie in the future, and an idempotency key belongs to one request: keys are tried on one route alone, so
that bodies are not refused for their key on the others. Downstream: test_guarded_service, through
``SCHEMATHESIS_HOOKS``.
"""

from datetime import UTC, datetime
from typing import Any

import schemathesis
from hypothesis import strategies as st

KEY = {"$ref": "#/components/parameters/IdempotencyKey"}
PAST = st.datetimes(datetime(1990, 1, 1), datetime(2026, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - as asked for

schemathesis.openapi.format("date-time", PAST.map(lambda at: at.isoformat().replace("+00:00", "Z")))


@schemathesis.hook
def before_load_schema(_context: Any, raw_schema: dict[str, Any]) -> None:
    """Leave idempotency keys out, except on one route."""
    for path in ("/predict", "/predict/batch"):
        raw_schema["paths"][path]["post"]["parameters"].remove(KEY)


@schemathesis.hook
def filter_failure(_context: Any, _failure: Any, _case: Any, response: Any) -> bool:
    """Whether a failure is one: a key that came with another request before is refused, as it must be."""
    return b"was used with another request before" not in response.content
