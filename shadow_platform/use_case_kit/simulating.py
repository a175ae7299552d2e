"""Tools of simulated worlds: reproducible chance, the strength of drift day by day, and rows as a source delivers them.

Belongs here: what every simulator needs. Does not belong here: any world. Upstream: contracts. Downstream: simulators.
"""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any
from zlib import crc32

import numpy as np
import numpy.typing as npt
import pandas as pd

from shadow_platform.contracts.simulation import DriftKind, SimulationPlan

Floats = npt.NDArray[np.float64]


def generator(plan: SimulationPlan, *path: str | int) -> np.random.Generator:
    """Chance of one part of the world: equal for equal seed and path, whatever else was drawn before.

    >>> plan = SimulationPlan(seed=7)
    >>> bool(generator(plan, "logins", 3).random() == generator(plan, "logins", 3).random())
    True
    """
    words = [crc32(part.encode()) if isinstance(part, str) else part for part in path]
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([plan.seed, *words])))


def intensities(plan: SimulationPlan, kind: DriftKind, first: date, n_days: int) -> Floats:
    """Strength of one kind of drift on each of ``n_days`` days, shape ``(n_days,)``, at most 1."""
    days = [first + timedelta(days=n) for n in range(n_days)]
    of_kind = [drift for drift in plan.drifts or () if drift.kind == kind]
    return np.array([min(1.0, sum(drift.intensity(day) for drift in of_kind)) for day in days])


def rows_received(frame: pd.DataFrame, day: date) -> list[dict[str, Any]]:
    """Rows of a frame, sorted by its naive UTC column ``received_at``, that were received on a day; JSON-ready.

    Times become RFC 3339 text in microseconds, NaN and NaT become null.
    """
    received = frame["received_at"].to_numpy()
    start, end = np.datetime64(day, "us"), np.datetime64(day + timedelta(days=1), "us")
    part = frame.iloc[int(np.searchsorted(received, start)) : int(np.searchsorted(received, end))]
    return json_rows(part)


def json_rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of a frame as mappings of JSON values; naive times count as UTC."""
    columns: Mapping[str, Sequence[Any]] = {str(name): _json_values(frame[name]) for name in frame.columns}
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _json_values(column: "pd.Series[Any]") -> list[Any]:
    if column.dtype.kind == "M":
        texts = np.datetime_as_string(column.to_numpy(dtype="datetime64[us]"))
        return [None if text == "NaT" else f"{text}Z" for text in texts]
    if column.dtype.kind == "f":
        return [None if value != value else value for value in column.tolist()]
    return [None if value is None or value is pd.NA or value != value else value for value in column.tolist()]
