"""Bodies of recorded requests, shaped as the callers of a use case send them.

Belongs here: which column of a recorded request becomes which field. Does not belong here: sending (``cli.traffic``),
what a valid request is (``requests``). Upstream: rows of ``UseCase.requests_sql``. Downstream: ``cli.traffic``, the
time machine.
"""

from collections.abc import Mapping
from typing import Any

import orjson
import pandas as pd

from shadow_platform.contracts.errors import UseCaseError
from shadow_platform.contracts.use_case import ContextField, UseCase


def request_bodies(use_case: UseCase, requests: pd.DataFrame) -> list[bytes]:
    """JSON bodies of ``POST /predict``: subject, join keys, request features and context, as far as they are known.

    Raises:
        UseCaseError: a context field of the envelope has no column.
    """
    joins = {entity.join_key: entity.join_key for entity in use_case.entities}
    keys = joins | {use_case.subject: "subject_id"}
    features = {feature.name: feature.name for feature in use_case.request_features if feature.name not in keys}
    envelope = use_case.envelope
    if envelope is None:
        return [_dump(body) for body in _objects(requests, keys | features)]
    context = {field.name: _column(field, use_case, requests) for field in envelope.fields}
    bodies, events = _objects(requests, keys), _objects(requests, context | features)
    return [_dump({**body, envelope.name: event}) for body, event in zip(bodies, events, strict=True)]


def _column(field: ContextField, use_case: UseCase, requests: pd.DataFrame) -> str:
    if field.name == use_case.subject:
        return "subject_id"
    if field.name in requests:
        return field.name
    if field.kind == "timestamp":
        return "requested_at"
    raise UseCaseError(
        f"requests_sql of {use_case.name} returns no column {field.name!r}, which the event of a request must hold; "
        f"it returns {', '.join(requests.columns)}"
    )


def _objects(requests: pd.DataFrame, columns: Mapping[str, str]) -> list[dict[str, Any]]:
    """One object a row, by field; what is null is left out."""
    chosen = requests[list(columns.values())].set_axis(list(columns), axis=1).astype(object)
    rows = chosen.where(chosen.notna(), None).to_dict("records")
    return [{str(name): value for name, value in row.items() if value is not None} for row in rows]


def _dump(body: Mapping[str, Any]) -> bytes:
    return orjson.dumps(body, default=pd.Timestamp.isoformat, option=orjson.OPT_SERIALIZE_NUMPY)
