"""Products whose decisions people act on say how many of a day can be, and their cost is told for so many."""

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from shadow_platform.domain.gates.exposition import cost_at_capacity
from shadow_platform.use_cases import load_use_case

PER_DAY = 20


@pytest.mark.parametrize(("name", "capacity"), [("churn", 5), ("fraud", 8)])
def test_what_exceeds_the_capacity_of_a_day_is_not_acted_on(name: str, capacity: int) -> None:
    costs = load_use_case(name).costs
    assert costs is not None
    at = pd.date_range(datetime(2024, 7, 1, tzinfo=UTC), periods=2 * PER_DAY, freq=pd.Timedelta(days=1) / PER_DAY)
    sure = np.linspace(0.8, 0.99, len(at))
    pairs = pd.DataFrame({"requested_at": at, "probability": sure, "challenger_probability": 1 - sure, "weight": 1.0})

    found = cost_at_capacity(pairs.assign(label=True), costs)

    assert found is not None
    assert (found.capacity, found.n_days) == (capacity, 2)
    assert found.champion == costs.false_negative * (PER_DAY - capacity)
