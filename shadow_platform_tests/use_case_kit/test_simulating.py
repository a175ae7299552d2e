"""Tools of simulated worlds: chance that repeats, drift that starts when it says, rows as a source delivers them."""

import json
from datetime import date

import numpy as np
import pandas as pd

from shadow_platform.contracts.simulation import DriftInjection, SimulationPlan
from shadow_platform.use_case_kit.simulating import generator, intensities, json_rows, rows_received


def test_equal_seed_and_path_give_equal_chance_and_another_part_another() -> None:
    plan = SimulationPlan(seed=7)
    first = generator(plan, "logins", 3).random(5)
    assert (generator(plan, "logins", 3).random(5) == first).all()
    for other in (
        generator(plan, "logins", 4),
        generator(plan, "tickets", 3),
        generator(SimulationPlan(), "logins", 3),
    ):
        assert (other.random(5) != first).all()


def test_drifts_of_one_kind_add_up_to_at_most_one_and_others_do_not_count() -> None:
    start = date(2024, 3, 1)
    drifts = [DriftInjection(kind="concept", start=start, size=0.7)] * 2
    plan = SimulationPlan(drifts=(*drifts, DriftInjection(kind="label", start=start)))
    assert intensities(plan, "concept", date(2024, 2, 28), 4).tolist() == [0.0, 0.0, 1.0, 1.0]
    assert intensities(plan, "quality", date(2024, 2, 28), 4).tolist() == [0.0] * 4
    assert intensities(SimulationPlan(), "concept", start, 2).tolist() == [0.0, 0.0]


def test_a_source_delivers_the_rows_of_a_day_and_no_others() -> None:
    times = pd.to_datetime(["2024-01-01T23:59:59.999999", "2024-01-02T00:00:00.0", "2024-01-03T00:00:00.0"])
    frame = pd.DataFrame({"n": [1, 2, 3], "received_at": times})
    assert rows_received(frame, date(2024, 1, 2)) == [{"n": 2, "received_at": "2024-01-02T00:00:00.000000Z"}]
    assert rows_received(frame, date(2024, 1, 4)) == []


def test_missing_values_become_null_and_rows_are_json() -> None:
    frame = pd.DataFrame(
        {
            "at": pd.Series([pd.Timestamp("2024-01-01"), pd.NaT]),
            "number": [0.5, np.nan],
            "text": ["a", None],
            "count": [1, 2],
            "is_paid": [True, False],
        }
    )
    rows = json_rows(frame)
    assert rows == [
        {"at": "2024-01-01T00:00:00.000000Z", "number": 0.5, "text": "a", "count": 1, "is_paid": True},
        {"at": None, "number": None, "text": None, "count": 2, "is_paid": False},
    ]
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows
