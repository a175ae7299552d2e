"""Trainings in processes of their own, each of which may be made to die at a point of its work.

Belongs here: a home with events, an attempt at a training, dying at a named function. Does not belong here: assertions.
Upstream: tiny, the training assets. Downstream: tests of kills and races.
"""

import os
import pkgutil
import signal
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import dagster as dg
import pandas as pd

from shadow_platform.adapters.lake import Lake
from shadow_platform.assets.training import build_training_assets
from shadow_platform.contracts.layout import Layout
from shadow_platform.resources import PlatformResource
from shadow_platform_tests.tiny import FIRST_DAY
from shadow_platform_tests.tiny import USE_CASE as TINY

N_DAYS = 26
USE_CASE = replace(TINY, views=(), features=tuple(feature for feature in TINY.features if feature.view is None))
"""``tiny`` without its view: no feature store is needed, and what is tested here does not depend on one."""


@dataclass(frozen=True, slots=True)
class Death:
    """Where a process dies by SIGKILL.

    Attributes:
        what: what was done by then, and what was not.
        place: ``module:function`` or ``module:Class.method``.
        nth: of its calls.
    """

    what: str
    place: str
    when: Literal["before", "after"] = "before"
    nth: int = 1

    def await_it(self) -> None:
        """Let this process die there."""
        n_calls = 0
        module, _, name = self.place.partition(":")
        owner_name, _, attribute = name.rpartition(".")
        owner = pkgutil.resolve_name(f"{module}:{owner_name}") if owner_name else pkgutil.resolve_name(module)
        original: Callable[..., Any] = getattr(owner, attribute)

        def deadly(*arguments: Any, **named: Any) -> Any:
            nonlocal n_calls
            n_calls += 1
            if n_calls == self.nth and self.when == "before":
                _die()
            answer = original(*arguments, **named)
            if n_calls == self.nth:
                _die()
            return answer

        setattr(owner, attribute, deadly)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class TrainingHome:
    """A home with events, and the Dagster instance that knows its runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.platform = PlatformResource(shadow_home=str(folder))
        self.layout = Layout(folder)

    def make_data(self) -> "TrainingHome":
        """Events of ``N_DAYS``."""
        lake, source = Lake(self.layout), USE_CASE.source()
        for offset in range(N_DAYS):
            day = FIRST_DAY + timedelta(days=offset)
            for name, rows in source.received_on(day).items():
                kind = next(kind for kind in USE_CASE.events if kind.name == name)
                frame = pd.DataFrame(list(rows))[list(kind.schema.columns)]
                lake.write_events(USE_CASE, kind, day, kind.schema.validate(frame))
        with self.instance():
            return self

    def instance(self) -> dg.DagsterInstance:
        """Dagster's records; to be closed."""
        (self.folder / "dagster").mkdir(exist_ok=True)
        return dg.DagsterInstance.local_temp(str(self.folder / "dagster"))

    def train(self, *, role: str = "champion", days: int = N_DAYS, **config: Any) -> dict[str, Any]:
        """Metadata of a model, trained in this process on what was known ``days`` days after the first."""
        as_of = datetime(FIRST_DAY.year, FIRST_DAY.month, FIRST_DAY.day, tzinfo=UTC) + timedelta(days=days)
        ops = {"training_frame": {"as_of": as_of.isoformat()}, f"{role}_model": config}
        with self.instance() as instance:
            result = dg.materialize(
                build_training_assets(USE_CASE),
                selection=[dg.AssetKey([USE_CASE.name, name]) for name in ops],
                instance=instance,
                resources={"platform": self.platform},
                run_config={
                    "ops": {f"{USE_CASE.name}__{name}": {"config": values} for name, values in ops.items()},
                    "loggers": {"console": {"config": {"log_level": "ERROR"}}},
                },
            )
        (event,) = result.asset_materializations_for_node(f"{USE_CASE.name}__{role}_model")
        return {name: value.value for name, value in event.metadata.items()}
