"""Rules of a simulated use case: the same plan plays the same world, drift begins when it is said to, truth is true.

Belongs here: rules that need a simulator. Does not belong here: the statistics of one world. Upstream: small_world.
Downstream: the contract.
"""

from datetime import date, timedelta
from itertools import zip_longest
from typing import get_args

import pandas as pd

from shadow_platform.contracts.simulation import DriftInjection, DriftKind, SimulationPlan
from shadow_platform.testing.point_in_time import KEY
from shadow_platform.testing.rules import Rules
from shadow_platform.testing.small_world import SmallWorld
from shadow_platform.testing.tables import Rows, labels_of, received, requests_of

DAY = timedelta(days=1)
# Requests of one entity are not independent: this many of them count as one where a mean is judged.
CLUSTER_SIZE = 10
# Days before the start of a drift on which nothing may be different.
DAYS_BEFORE = 30
MAX_DEVIATIONS = 4


class SimulationRules(Rules):
    """The simulator can be trusted with what it says of itself."""

    def test_the_source_plays_the_default_plan(self, world: SmallWorld) -> None:
        default = world.simulation.default
        assert default.n_entities is not None
        assert default.drifts is not None
        assert world.simulation.simulator().plan == default
        assert getattr(self.use_case.source(), "plan", None) == default
        assert set(world.simulation.effects) == set(get_args(DriftKind))

    def test_the_same_seed_gives_the_same_rows_and_another_seed_others(self, world: SmallWorld) -> None:
        days = world.days[:5]
        first = self._rows(world, world.plan(), days)
        others = [self._rows(world, world.plan(seed=seed), days) for seed in (1, 2)]  # and forget what is remembered
        assert self._rows(world, world.plan(), days) == first
        assert first not in others
        assert others[0] != others[1]

    def test_drift_moves_nothing_before_its_start_and_something_after(self, world: SmallWorld) -> None:
        middle = world.n_days // 2
        start = world.days[middle]
        earlier, later = world.days[max(0, middle - DAYS_BEFORE) : middle], world.days[middle:]
        still = self._rows(world, world.plan(), earlier), self._rows(world, world.plan(), later)
        for kind in get_args(DriftKind):
            plan = world.plan(drifts=(DriftInjection(kind=kind, start=start, size=1.0),))
            moved = _first_difference(self._rows(world, plan, earlier), still[0])
            assert moved is None, f"{kind} drift is felt before {start}: {moved}"
            assert self._rows(world, plan, later) != still[1], f"{kind} drift is not felt from {start} on"

    def test_the_truth_names_the_requests_and_their_labels(self, world: SmallWorld) -> None:
        start, end = world.start + DAY, world.end - self.use_case.label.horizon
        truth = world.simulation.simulator(world.plan()).bayes(start.date(), end.date())
        requests = requests_of(self.use_case, world.tables, start, pd.Timestamp(end.date(), tz="UTC"))
        labels = labels_of(self.use_case, world.tables, requests, world.end)
        by_key = truth.set_index(KEY).sort_index()
        assert by_key.index.is_unique
        assert sorted(by_key.index) == sorted(requests.set_index(KEY).index)
        assert by_key["probability"].between(0, 1).all()
        known = labels.set_index(KEY)["label"]
        different = known[known != by_key["label"].reindex(known.index)]
        assert different.empty, f"{len(different)} of {len(known)} labels are not the truth"

    def test_the_true_probabilities_are_as_high_as_the_outcomes_are_frequent(self, world: SmallWorld) -> None:
        end = world.end - self.use_case.label.horizon
        truth = world.simulation.simulator(world.plan()).bayes((world.start + DAY).date(), end.date())
        probability = truth["probability"]
        deviation = (CLUSTER_SIZE * (probability * (1 - probability)).mean() / len(truth)) ** 0.5
        assert abs(truth["label"].mean() - probability.mean()) <= MAX_DEVIATIONS * deviation

    def _rows(self, world: SmallWorld, plan: SimulationPlan, days: list[date]) -> Rows:
        return received(world.simulation.simulator(plan), self.use_case.events, days)


def _first_difference(rows: Rows, expected: Rows) -> str | None:
    for kind in expected:
        for row, other in zip_longest(rows[kind], expected[kind]):
            if row != other:
                return f"{kind}: {row} instead of {other}"
    return None
