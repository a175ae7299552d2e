"""The one encoding of feature values as the model's float32 matrix, used alike by training, service and shadow worker.

Belongs here: values to numbers. Does not belong here: which value a request or a view brings (serving), how a null is
imputed (training decides, the manifest says). Upstream: inputs of a manifest. Downstream: training, ``Bundle.encode``.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from shadow_platform.contracts.bundle import CategoricalInput, NumericInput
from shadow_platform.contracts.errors import BundleError

_FLOAT32_MAX = float(np.finfo(np.float32).max)

Inputs = Sequence[NumericInput | CategoricalInput]
Row = Mapping[str, Any]
Matrix = npt.NDArray[np.float32]
Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class Encoder:
    """Turns feature values into the model's float32 matrix.

    A missing value (absent, ``None``, NaN) becomes the imputed number, or code 0 of a categorical. A number that
    float32 cannot hold counts as missing. An unknown level is code 0 too, but is not counted as missing.
    """

    def __init__(self, inputs: Inputs) -> None:
        self._inputs = tuple(inputs)
        self._plan: tuple[tuple[str, float, dict[str, float] | None], ...] = tuple(
            (column.name, column.imputed, None)
            if isinstance(column, NumericInput)
            else (column.name, 0.0, {level: float(i) for i, level in enumerate(column.levels, start=1)})
            for column in self._inputs
        )

    def rows(self, rows: Sequence[Row]) -> tuple[Matrix, list[int]]:
        """Matrix of shape ``(rows, inputs)`` and the number of missing values per row."""
        encoded: list[list[float]] = []
        missing: list[int] = []
        for row in rows:
            values, n_missing = self._row(row)
            encoded.append(values)
            missing.append(n_missing)
        matrix = np.array(encoded, dtype=np.float32).reshape(len(encoded), len(self._plan))
        return matrix, missing

    def _row(self, row: Row) -> tuple[list[float], int]:
        values: list[float] = []
        n_missing = 0
        get = row.get
        for name, imputed, codes in self._plan:
            value = get(name)
            if codes is None:
                try:
                    is_known = -_FLOAT32_MAX <= value <= _FLOAT32_MAX  # type: ignore[operator]
                except TypeError as error:
                    if not is_missing_value(value):
                        raise _wrong_type(name, value, "a number") from error
                    is_known = False
                n_missing += not is_known
                values.append(float(value) if is_known else imputed)  # type: ignore[arg-type]
            elif isinstance(value, str):
                values.append(codes.get(value, 0.0))
            elif is_missing_value(value):
                n_missing += 1
                values.append(0.0)
            else:
                raise _wrong_type(name, value, "a string (a level)")
        return values, n_missing

    def frame(self, frame: pd.DataFrame) -> tuple[Matrix, Counts]:
        """Same as ``rows``, one column at a time."""
        matrix = np.empty((len(frame), len(self._plan)), dtype=np.float32)
        missing = np.zeros(len(frame), dtype=np.int64)
        for i, (name, imputed, codes) in enumerate(self._plan):
            if name not in frame:
                matrix[:, i] = imputed
                missing += 1
                continue
            column = frame[name]
            values, is_missing = _numbers(column, name, imputed) if codes is None else _codes(column, name, codes)
            matrix[:, i] = values
            missing += is_missing
        return matrix, missing


def is_missing_value(value: object) -> bool:
    """Whether a value is absent: ``None``, NaN or pandas' NA."""
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))


def _numbers(column: pd.Series, name: str, imputed: float) -> tuple[Floats, npt.NDArray[np.bool_]]:
    if isinstance(column.dtype, pd.CategoricalDtype) or pd.api.types.is_datetime64_any_dtype(column.dtype):
        raise _wrong_type(name, column.dtype, "a number")
    if column.dtype == object or pd.api.types.is_string_dtype(column.dtype):
        wrong = next((v for v in column if isinstance(v, str)), None)
        if wrong is not None:
            raise _wrong_type(name, wrong, "a number")
    values = pd.to_numeric(column, errors="raise").to_numpy(dtype=np.float64, na_value=np.nan)
    is_missing = ~(np.abs(values) <= _FLOAT32_MAX)
    return np.where(is_missing, imputed, values), is_missing


def _codes(column: pd.Series, name: str, codes: Mapping[str, float]) -> tuple[Floats, npt.NDArray[np.bool_]]:
    places, levels = pd.factorize(column.astype(object).to_numpy(), use_na_sentinel=True)
    for level in levels:
        if not isinstance(level, str):
            raise _wrong_type(name, level, "a string (a level)")
    table = np.array([*(codes.get(level, 0.0) for level in levels), 0.0], dtype=np.float64)
    return table[places], places == -1


def _wrong_type(name: str, value: object, expected: str) -> BundleError:
    return BundleError(
        f"feature {name!r} has value {value!r} ({type(value).__name__}), expected {expected} or null; "
        "correct the type where the feature is made (feature SQL or request)"
    )


def encode_rows(inputs: Inputs, rows: Sequence[Row]) -> tuple[Matrix, list[int]]:
    """Matrix and missing values per row, of rows as mappings; in the hot path use ``Bundle.encode``.

    >>> matrix, missing = encode_rows([NumericInput(name="x", imputed=2.0)], [{"x": 1}, {}])
    >>> matrix.tolist(), missing
    ([[1.0], [2.0]], [0, 1])
    """
    return Encoder(inputs).rows(rows)


def encode_frame(inputs: Inputs, frame: pd.DataFrame) -> tuple[Matrix, Counts]:
    """Matrix and missing values per row, of a frame; equal to ``encode_rows`` of its records."""
    return Encoder(inputs).frame(frame)
