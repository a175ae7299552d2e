"""The inputs of an evaluation in one canonical form, and their fingerprint.

Upstream: data frames as they came. Downstream: verdict. The same rows in any order give the same evaluation id and,
because sums of floats depend on their order, the same verdict byte for byte.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from pydantic import TypeAdapter

from shadow_platform.contracts.use_case import DriftPolicy, Feature

EXTRA = ("score", "requested_at")


@dataclass(frozen=True, slots=True)
class Sample:
    """Rows in canonical order, with the columns that count, and their digest."""

    frame: pd.DataFrame
    digest: str


def canonical(frame: pd.DataFrame, features: Sequence[Feature]) -> Sample:
    """Features, score and time of a frame, rows ordered by their hash."""
    names = [name for name in (*(feature.name for feature in features), *EXTRA) if name in frame.columns]
    rows = frame[names]
    texts = {name: rows[name].astype(str) for name in names if rows[name].dtype == object}
    hashes = (
        pd.util.hash_pandas_object(rows.assign(**texts), index=False).to_numpy() if names else np.zeros(0, np.uint64)
    )
    order = np.argsort(hashes, kind="stable")
    digest = hashlib.sha256("\0".join(names).encode())
    digest.update(hashes[order].tobytes())
    return Sample(rows.iloc[order].reset_index(drop=True) if names else rows, digest.hexdigest())


def fingerprint(features: Sequence[Feature], policy: DriftPolicy, *parts: str) -> str:
    """First 32 hex digits of the SHA-256 over declarations, policy and parts."""
    digest = hashlib.sha256(TypeAdapter(list[Feature]).dump_json(list(features)))
    digest.update(TypeAdapter(DriftPolicy).dump_json(policy))
    digest.update("\0".join(parts).encode())
    return digest.hexdigest()[:32]
