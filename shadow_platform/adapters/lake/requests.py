"""Served requests as typed columns, in batches: DuckDB decodes the JSON of their features in one streamed pass.

Belongs here: from the text of a record to a number, a level or null, and which hours hold which requests. Does not
belong here: counting values (the drift stage). Upstream: partitions of predictions. Downstream: monitoring.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from shadow_platform.adapters.lake.parquet import (
    connection,
    explained,
    files_relation,
    frame_of,
    identifier,
    identities,
    literal,
    undisturbed,
)
from shadow_platform.contracts.errors import LakeError
from shadow_platform.contracts.tables import PREDICTIONS
from shadow_platform.contracts.use_case import FeatureKind

BATCH_ROWS = 100_000
_READ = ("request_id", "requested_at", "bundle_hash", "probability", "features")
_TYPES = {column.name: column.type for column in PREDICTIONS.columns if column.name in _READ}
_WITHIN = "requested_at >= $start AND requested_at < $end"
_REPLACED = "requests were replaced while they were read; run again when what writes them has ended"


def batches(
    files: Sequence[Path],
    features: Mapping[str, FeatureKind],
    start: datetime,
    end: datetime,
    batch_rows: int,
    one_in: int = 1,
) -> Iterator[pd.DataFrame]:
    """Requests made in ``[start, end)``: a column a feature, ``score``, ``bundle_hash``, ``requested_at``.

    Numbers are float64, or Python objects where a value of a batch is no number; levels are Python objects. Null and
    missing are NaN or ``None``. A feature that no request of the time mentions has no column.

    Args:
        one_in: of so many requests one is read, by the hash of its id.

    Raises:
        LakeError: a file is corrupt, or was replaced meanwhile: what was read then belongs to neither version.
    """
    asked = {"start": start, "end": end}
    unmentioned: set[str] | None = None
    # Arrow hands on as OSError what DuckDB raises amid the batches.
    with _unreplaced(files), connection() as con, explained(OSError):
        relation = con.sql(_decoding_sql(files, features, one_in), params=asked)
        for batch in relation.to_arrow_reader(batch_rows):
            frame = _frame(batch, features)
            empty = [name for name in features if frame[name].isna().all()]
            if empty and unmentioned is None:
                unmentioned = _unmentioned(files, list(features), asked)
            yield frame.drop(columns=[name for name in empty if name in (unmentioned or ())])


@contextmanager
def _unreplaced(files: Sequence[Path]) -> Iterator[None]:
    """``LakeError`` when a file is replaced within the block, be it that the block fails of it or not."""
    before = identities(files)
    try:
        yield
    except LakeError as error:
        if identities(files) == before:
            raise
        raise LakeError(_REPLACED) from error
    if identities(files) != before:
        raise LakeError(_REPLACED)


def hours(files: Sequence[Path], start: datetime, end: datetime) -> pd.DataFrame:
    """``hour_at, n, input_fingerprint`` of every hour in ``[start, end)`` with requests, in order.

    The fingerprint is of all that ``batches`` reads of the hour's requests, in whatever order they lie.
    """
    row = f"hash({', '.join(_READ)})"
    sql = f"""SELECT date_trunc('hour', requested_at) AS hour_at, count(*) AS n,
        md5(concat_ws('/', count(*), sum({row}), bit_xor({row}))) AS input_fingerprint
        FROM ({files_relation(files, _TYPES)}) WHERE {_WITHIN} GROUP BY hour_at ORDER BY hour_at"""
    return undisturbed(lambda: files, lambda: frame_of(sql, {"start": start, "end": end}))


def _decoding_sql(files: Sequence[Path], features: Mapping[str, FeatureKind], one_in: int) -> str:
    """Numbers as DOUBLE with, beside, the JSON text of those that are none; levels as JSON text."""
    structure = literal(json.dumps(dict.fromkeys(features, "JSON")))
    columns = ["probability AS score", "bundle_hash", "requested_at"]
    for place, (name, kind) in enumerate(features.items()):
        text = f"CAST(decoded.{identifier(name)} AS VARCHAR)"
        if kind == "categorical":
            columns.append(f"{text} AS f{place}")
            continue
        # As text, because a cast from JSON takes "12" in quotes for a number.
        columns.append(f"TRY_CAST({text} AS DOUBLE) AS f{place}")
        columns.append(f"CASE WHEN TRY_CAST({text} AS DOUBLE) IS NULL THEN {text} END AS x{place}")
    return f"""SELECT {", ".join(columns)} FROM (
        SELECT probability, bundle_hash, requested_at, from_json(features, {structure}) AS decoded
        FROM ({files_relation(files, _TYPES)}) WHERE {_WITHIN} AND hash(request_id) % {one_in} = 0)"""


def _frame(batch: pa.RecordBatch, features: Mapping[str, FeatureKind]) -> pd.DataFrame:
    columns: dict[str, Any] = {}
    for place, (name, kind) in enumerate(features.items()):
        values = batch.column(f"f{place}")
        if kind == "categorical":
            columns[name] = _values(values)
            continue
        numbers = values.to_numpy(zero_copy_only=False).astype(np.float64, copy=False)
        others = batch.column(f"x{place}")
        columns[name] = numbers if others.null_count == len(others) else _mixed(numbers, _values(others))
    for name in ("score", "bundle_hash", "requested_at"):
        columns[name] = batch.column(name).to_pandas()
    return pd.DataFrame(columns)


def _values(texts: pa.Array) -> Any:
    """Python values of an array of JSON texts; each distinct text is read once."""
    coded = texts.dictionary_encode()
    values = np.empty(len(coded.dictionary) + 1, dtype=object)
    for place, text in enumerate(coded.dictionary.to_pylist()):
        value = json.loads(text)
        values[place] = text if isinstance(value, dict | list) else value
    return values[coded.indices.fill_null(len(values) - 1).to_numpy(zero_copy_only=False)]


def _mixed(numbers: Any, others: Any) -> Any:
    is_other = np.array([value is not None for value in others])
    return np.where(is_other, others, numbers.astype(object))


def _unmentioned(files: Sequence[Path], names: Sequence[str], asked: Mapping[str, datetime]) -> set[str]:
    sql = f"""SELECT DISTINCT unnest(json_keys(features)) AS name
        FROM ({files_relation(files, _TYPES)}) WHERE {_WITHIN}"""
    return set(names) - set(undisturbed(lambda: files, lambda: frame_of(sql, asked))["name"])
