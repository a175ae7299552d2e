"""Fingerprints of what a training was made of: equal fingerprints make equal bundles, byte for byte.

Belongs here: what enters each fingerprint, and the canonical form it is taken of. Does not belong here: reading source
files, packages and git (``adapters.code_state``; their digests are passed in).
Upstream: frame, declarations, code. Downstream: bundle, registry, lineage.

Nothing here depends on the clock, on where the platform lies, or on a commit: who trains again from the same frame with
the same code gets the same bundle, whatever else was committed meanwhile.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from shadow_platform.contracts.errors import UseCaseError
from shadow_platform.contracts.lineage import PartitionSnapshot
from shadow_platform.contracts.use_case import ModelSpec, Parameter, UseCase

# Files and folders of the platform that decide which bytes a bundle holds, beside the family's builder.
SOURCES = (
    "adapters/bundle",
    "adapters/onnx_export.py",
    "adapters/pages/card.py",
    "adapters/pages/rendering.py",
    "adapters/pages/templates/model_card.html.jinja",
    "adapters/pages/templates/page_style.css.jinja",
    "adapters/threads.py",
    "adapters/pictures/training.py",
    "assets/training/judging.py",
    "assets/training/making.py",
    "contracts/bundle.py",
    "contracts/model_card.py",
    "contracts/models.py",
    "contracts/policies/decisions.py",
    "contracts/policies/training.py",
    "contracts/verdicts.py",
    "domain/fairness.py",
    "domain/training",
    "use_case_kit/models.py",
)
_ON_THE_CARD = ("name", "title", "description", "owner", "intended_use", "limits")


def bundle_fingerprints(
    use_case: UseCase,
    spec: ModelSpec,
    parameters: Mapping[str, Parameter],
    seed: int,
    as_of: datetime,
    data: str,
    code: Mapping[str, Any],
    environment: Mapping[str, str],
) -> dict[str, str]:
    """What a bundle was made of, by ingredient; a bundle whose hash differs differs in one of them.

    Args:
        parameters: hyperparameters the model was fitted with, chosen ones included.
        as_of: end of the policy's window; two of them may have one frame, and still split it otherwise.
        data: fingerprint of the frame.
        code: digests of ``SOURCES``, and the descriptions of the family's builder and of the derivations.
        environment: versions of Python and of the packages that make a model.
    """
    declared = {
        "views": {view.name: view for view in use_case.views},
        "features": use_case.features,
        "label": use_case.label,
        "requests": use_case.requests_sql,
    }
    configuration = {
        "policy": use_case.training,
        "model": [spec.name, spec.description, spec.iterations],
        "parameters": parameters,
        "seed": seed,
        "as_of": as_of,
        "threshold": use_case.answer.threshold,
        "costs": use_case.costs,
        "quality": use_case.quality,
        "segments": [use_case.gate.segments, use_case.fairness and use_case.fairness.attributes],
        "card": {name: getattr(use_case, name) for name in _ON_THE_CARD},
    }
    return {
        "data": data,
        "features": fingerprint(declared),
        "code": fingerprint(code),
        "configuration": fingerprint(configuration),
        "environment": fingerprint(environment),
    }


def queries_fingerprint(use_case: UseCase) -> str:
    """Fingerprint of the SQL that makes a frame, and of how far it looks back."""
    views = {view.name: [view.entity, view.sql, view.ttl, view.lookback] for view in use_case.views}
    return fingerprint({"views": views, "requests": use_case.requests_sql, "label": use_case.label.sql})


def partitions_fingerprint(partitions: Iterable[PartitionSnapshot]) -> str:
    """Fingerprint of the partitions and their versions, in whatever order, whenever they were made."""
    told = [part.model_dump(mode="json", exclude={"run_id", "materialized_at"}) for part in partitions]
    return fingerprint({"partitions": sorted(told, key=lambda part: (part["asset"], part["partition"]))})


def frame_fingerprint(frame: pd.DataFrame) -> str:
    """SHA-256 over column names and values in order; the same before and after a round trip through Parquet."""
    digest = hashlib.sha256(f"{len(frame)}".encode())
    for name in frame.columns:
        column = frame[name]
        if isinstance(column.dtype, pd.DatetimeTZDtype) or pd.api.types.is_datetime64_any_dtype(column.dtype):
            column = column.astype("datetime64[us, UTC]").astype("int64")
        elif pd.api.types.is_integer_dtype(column.dtype):
            # Not as floats, which do not tell integers above 2 ** 53 apart.
            column = column.astype("UInt64" if pd.api.types.is_unsigned_integer_dtype(column.dtype) else "Int64")
        elif pd.api.types.is_numeric_dtype(column.dtype):
            # Adding zero makes -0.0 what it equals, 0.0; a value that is missing has many bit patterns.
            values = column.to_numpy(dtype=np.float64, na_value=np.nan) + 0.0
            column = pd.Series(np.where(np.isnan(values), np.nan, values))
        else:
            column = column.astype(object).where(column.notna(), None)
        hashes = pd.util.hash_pandas_object(column, index=False).to_numpy(dtype=np.uint64)
        digest.update(f"\0{name}\0".encode())
        digest.update(hashes.tobytes())
    return digest.hexdigest()


def fingerprint(value: Mapping[str, Any]) -> str:
    """SHA-256 over a mapping as canonical JSON: names sorted, sequences in order.

    Raises:
        UseCaseError: a value in it has no form that is the same in every process.

    >>> fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    True
    """
    text = json.dumps(value, sort_keys=True, default=_plain, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: Any) -> Any:
    """A value that JSON does not know, in a form that is the same in every process."""
    kind = type(value).__qualname__
    if isinstance(value, timedelta):
        return {kind: value.total_seconds()}
    if isinstance(value, date):
        return {kind: value.isoformat()}
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, set | frozenset):
        return {kind: sorted(fingerprint({"item": item}) for item in value)}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return {kind: [str(value.dtype), value.tolist()]}
    if is_dataclass(value) and not isinstance(value, type):
        return {kind: {field.name: getattr(value, field.name) for field in fields(value)}}
    # Of functions and classes this would tell their attributes, not what they do.
    if hasattr(value, "__dict__") and not callable(value):
        return {kind: value.get_params(deep=False) if hasattr(value, "get_params") else vars(value)}
    raise UseCaseError(
        f"{value!r} ({kind}) is part of a model and has no form that is the same in every process; "
        "use numbers, strings, dataclasses or scikit-learn estimators"
    )
