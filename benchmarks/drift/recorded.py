"""Labelled requests of a use case with all their features, joined by the platform's own stages and kept as Parquet.

Belongs here: landing of events, the training frame, one model trained on what was known on its day. Does not belong
here: what is judged on them (``flights``, ``estimation``). Upstream: the ingest and training stages.
"""

import os
import tempfile
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pandas as pd

from benchmarks.retraining import Year, joined_frame
from shadow_platform.contracts.simulation import SimulationPlan
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.use_cases import load_use_case

FAMILY = "gradient_boosting"


def recorded(use_case: UseCase, frames: Path | None, name: str | None = None) -> Year:
    """All requests of a use case from its first partition to its last; joined once a folder ``frames``."""
    path = None if frames is None else frames / f"{name or use_case.name}.parquet"
    if path is not None and path.exists():
        return Year(use_case, pd.read_parquet(path), FAMILY)
    first, last = use_case.first_partition, use_case.last_partition
    assert last is not None
    with tempfile.TemporaryDirectory(prefix="drift-home-") as home:
        os.environ["SHADOW_HOME"] = home
        frame = joined_frame(use_case, first, last, midnight(last) + timedelta(days=1))
    if path is not None:
        frame.to_parquet(path)
    return Year(use_case, frame, FAMILY)


def played(name: str, plan: SimulationPlan) -> UseCase:
    """A simulated use case whose world plays a plan."""
    use_case = load_use_case(name)
    assert use_case.simulation is not None
    return replace(
        use_case, simulation=replace(use_case.simulation, default=plan.or_default(use_case.simulation.default))
    )


def midnight(day: date) -> datetime:
    """Start of a UTC day."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
