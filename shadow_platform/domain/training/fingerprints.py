"""Fingerprints of what a training was made of.

Upstream: frame, declarations, code. Downstream: bundle, registry, lineage.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd


def frame_fingerprint(frame: pd.DataFrame) -> str:
    """SHA-256 over column names and values in order; the same before and after a round trip through Parquet."""
    digest = hashlib.sha256(f"{len(frame)}".encode())
    for name in frame.columns:
        column = frame[name]
        if isinstance(column.dtype, pd.DatetimeTZDtype) or pd.api.types.is_datetime64_any_dtype(column.dtype):
            column = column.astype("datetime64[us, UTC]").astype("int64")
        elif pd.api.types.is_numeric_dtype(column.dtype):
            column = pd.Series(column.to_numpy(dtype=np.float64, na_value=np.nan))
        else:
            column = column.astype(object).where(column.notna(), None)
        hashes = pd.util.hash_pandas_object(column, index=False).to_numpy(dtype=np.uint64)
        digest.update(f"\0{name}\0".encode())
        digest.update(hashes.tobytes())
    return digest.hexdigest()


def fingerprint(value: Mapping[str, Any]) -> str:
    """SHA-256 over a mapping as canonical JSON; what JSON does not know enters as its text.

    >>> fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    True
    """
    text = json.dumps(value, sort_keys=True, default=str, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
