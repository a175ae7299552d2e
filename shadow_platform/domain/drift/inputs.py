"""The inputs of an evaluation in one canonical form, and their fingerprint.

Upstream: data frames as they came. Downstream: verdict. The same rows in any order give the same evaluation id and,
because sums of floats depend on their order, the same verdict byte for byte.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from pydantic import TypeAdapter

from shadow_platform.contracts.use_case import DriftPolicy, Feature
from shadow_platform.domain.drift.columns import as_levels, as_numbers

EXTRA = ("score", "weight", "requested_at")
METHOD_VERSION = "2"
"""Part of every evaluation id. Raise it when rules or statistics change: the same rows may then get another verdict."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Rows in canonical order, with the columns that count, and their digest."""

    frame: pd.DataFrame
    digest: str


def canonical(frame: pd.DataFrame, features: Sequence[Feature]) -> Sample:
    """Features, score and time of a frame, rows ordered by the hash of what is compared.

    So a number is the same whatever type carries it, and a null is no text.
    """
    kinds = {feature.name: feature.kind for feature in features}
    names = [name for name in (*kinds, *EXTRA) if name in frame.columns]
    rows = frame[names]
    compared = [part for name in names for part in _compared(rows[name], kinds.get(name, "numeric"))]
    hashes = pd.util.hash_pandas_object(pd.DataFrame(dict(enumerate(compared))), index=False).to_numpy()
    order = np.argsort(hashes, kind="stable")
    digest = hashlib.sha256("\0".join(names).encode())
    digest.update(hashes[order].tobytes())
    return Sample(rows.iloc[order].reset_index(drop=True) if names else rows, digest.hexdigest())


def _compared(column: "pd.Series[Any]", kind: str) -> Iterator[Any]:
    """What the verdict sees of a column: numbers and which values are none, levels, or microseconds."""
    if column.name == "requested_at":
        yield pd.to_datetime(column, utc=True).dt.as_unit("us").astype(np.int64).to_numpy()
    elif kind == "categorical":
        yield as_levels(column).to_numpy()
    else:
        numbers, is_foreign = as_numbers(column)
        yield numbers + 0.0
        yield is_foreign


def fingerprint(features: Sequence[Feature], policy: DriftPolicy, *parts: str) -> str:
    """First 32 hex digits of the SHA-256 over method, declarations, policy and parts."""
    digest = hashlib.sha256(METHOD_VERSION.encode())
    digest.update(TypeAdapter(list[Feature]).dump_json(list(features)))
    digest.update(TypeAdapter(DriftPolicy).dump_json(policy))
    digest.update("\0".join(parts).encode())
    return digest.hexdigest()[:32]
