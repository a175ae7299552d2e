"""A home on which the demo of a simulated product was played, and the truth beside it.

Upstream: warehouse, simulator. Downstream: tests of the products, ``benchmarks.products``.
"""

from pathlib import Path

import duckdb
import pandas as pd

from shadow_platform.contracts.simulation import Simulator
from shadow_platform.contracts.use_case import DemoPlan, UseCase
from shadow_platform.use_cases import load_use_case


class Played:
    """A home on which the demo of one product was played, and the truth beside it."""

    def __init__(self, name: str, home: Path) -> None:
        self.use_case: UseCase = load_use_case(name)
        self.home = home
        assert self.use_case.demo is not None
        assert self.use_case.simulation is not None
        self.plan: DemoPlan = self.use_case.demo
        self.simulator: Simulator = self.use_case.simulation.simulator()
        self.truth: pd.DataFrame = self.simulator.bayes(self.plan.serve_from, self.plan.serve_until)

    def sql(self, query: str) -> pd.DataFrame:
        with duckdb.connect(str(self.home / "warehouse.duckdb"), read_only=True) as connection:
            return connection.execute(query).df()

    def answers(self) -> pd.DataFrame:
        """Every answer of every model with the true probability and outcome of its request."""
        said = self.sql(
            """SELECT subject_id, requested_at, model_version, probability FROM predictions
               UNION ALL BY NAME
               SELECT subject_id, requested_at, challenger_version AS model_version,
                      challenger_probability AS probability
               FROM shadow_comparisons WHERE outcome = 'compared' AND challenger_version <> champion_version"""
        )
        truth = self.truth.rename(columns={"probability": "true_probability"})
        truth["requested_at"] = truth["requested_at"].dt.floor("ms")
        said["requested_at"] = pd.to_datetime(said["requested_at"], utc=True).dt.floor("ms")
        return said.merge(truth, on=["subject_id", "requested_at"], how="left", validate="many_to_one")
