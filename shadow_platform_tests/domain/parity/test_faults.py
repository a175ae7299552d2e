"""Each fault, alone, is found and named; without faults there is no alarm."""

from collections.abc import Callable
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shadow_platform.domain.parity import EXPECTED
from shadow_platform_tests.domain.parity.world import HOUR, START, TTL, VALUES, World, shifted, steady_rows

DAYS = [(START + timedelta(days=n)).date() for n in (-2, -1, 0)]
BEFORE, AFTER = START + timedelta(days=100), START + timedelta(days=300)
"""Wall-clock times before and after all answers, which are replays logged 200 days later."""
seeds = st.integers(0, 10_000)
AMBIGUOUS = 540
"""In this world some rows under another's time look like rows of their own time too."""


def stale(world: World) -> None:
    world.reached = lambda _: START - 6 * HOUR


def time_to_live_too_short(world: World) -> None:
    world.ttl = timedelta(hours=3)


def time_to_live_too_long(world: World) -> None:
    world.ttl = timedelta(days=3)
    is_old = world.rows["event_at"] < START - TTL
    world.rows = world.online = world.rows[is_old | (world.rows["user"] > "u5")]


def wrong_time_zone(world: World) -> None:
    world.online = shifted(world.rows, HOUR)


def wrong_time_zone_west(world: World) -> None:
    world.online = shifted(world.rows, timedelta(hours=-5))


def null_filled_with_zero(world: World) -> None:
    world.online = world.rows.assign(visits=world.rows["visits"].fillna(0.0))


def rows_created_late(world: World) -> None:
    is_late = world.rows.index % 3 == 0
    created = world.rows["created_at"] + timedelta(days=2)
    world.rows = world.rows.assign(created_at=world.rows["created_at"].mask(is_late, created))


def rows_landed_late(world: World) -> None:
    world.online = world.rows[world.rows.index % 3 != 0]
    world.made = [(day, at, "1") for day in DAYS for at in (BEFORE, AFTER)]


def rows_corrected_late(world: World) -> None:
    world.online = world.rows.assign(spent=world.rows["spent"] + 10)
    world.made = [(day, at, "1") for day in DAYS for at in (BEFORE, AFTER)]


def corrections_not_brought_online(world: World) -> None:
    world.online = world.rows.assign(spent=world.rows["spent"] + 10)
    world.made = [(day, at, "1") for day in DAYS for at in (BEFORE, BEFORE + HOUR)]


def stale_since_rows_without_values(world: World) -> None:
    is_known = world.rows["event_at"] >= START - 6 * HOUR
    world.rows = world.rows.assign(**{name: world.rows[name].where(is_known) for name in VALUES})
    world.online = world.rows[~is_known]


def steady(world: World) -> None:
    world.rows = world.online = steady_rows(world.seed)


def one_event_of_steady_rows_late(world: World) -> None:
    steady(world)
    is_after = (world.rows["event_at"] >= START + 12 * HOUR) & (world.rows["user"] < "u6")
    counted = {name: world.rows[name] + is_after for name in ("spent", "visits")}
    world.rows = world.rows.assign(**counted)
    world.made = [(day, at, "1") for day in DAYS for at in (BEFORE, AFTER)]


def one_event_of_steady_rows_not_brought_online(world: World) -> None:
    one_event_of_steady_rows_late(world)
    world.made = [(day, at, "1") for day in DAYS for at in (BEFORE, BEFORE + HOUR)]


def wrong_time_zone_of_steady_rows(world: World) -> None:
    steady(world)
    world.online = shifted(world.rows, HOUR)


def one_value_corrected_to_null_late(world: World) -> None:
    steady(world)
    is_corrected = (world.rows["event_at"] == START + 12 * HOUR) & (world.rows["user"] < "u6")
    world.rows = world.rows.assign(visits=world.rows["visits"].mask(is_corrected))
    world.made = [(day, at, "1") for day in DAYS for at in (BEFORE, AFTER)]


def one_value_corrected_to_null_not_brought_online(world: World) -> None:
    one_value_corrected_to_null_late(world)
    world.made = [(day, at, "1") for day in DAYS for at in (BEFORE, BEFORE + HOUR)]


def code_changed(world: World) -> None:
    world.online = world.rows.assign(spent=world.rows["spent"] * 1.5)
    world.made = [(day, at, version) for day in DAYS for at, version in ((BEFORE, "1"), (AFTER, "2"))]


def entities_lost(world: World) -> None:
    world.lost = frozenset({"u1", "u2", "u3"})


def values_broken_on_the_way(world: World) -> None:
    world.online = world.rows.assign(spent=np.arange(len(world.rows)) + 0.5)
    world.made = [(day, BEFORE, "1") for day in DAYS]


def derivation_changed(world: World) -> None:
    def halved(record: dict[str, object]) -> dict[str, object]:
        features = record["features"]
        assert isinstance(features, dict)
        return record | {"features": features | {"share": features["share"] and features["share"] / 2}}

    world.changed = halved


FAULTS: dict[Callable[[World], None], str] = {
    stale: "stale_online",
    time_to_live_too_short: "expired",
    time_to_live_too_long: "expired",
    wrong_time_zone: "time_shift",
    wrong_time_zone_west: "time_shift",
    null_filled_with_zero: "null_filled",
    rows_created_late: "late_data",
    rows_landed_late: "late_data",
    rows_corrected_late: "late_data",
    corrections_not_brought_online: "stale_online",
    stale_since_rows_without_values: "stale_online",
    one_event_of_steady_rows_late: "late_data",
    one_event_of_steady_rows_not_brought_online: "stale_online",
    wrong_time_zone_of_steady_rows: "time_shift",
    one_value_corrected_to_null_late: "late_data",
    one_value_corrected_to_null_not_brought_online: "stale_online",
    code_changed: "code_change",
    entities_lost: "default_used",
    values_broken_on_the_way: "unexplained",
    derivation_changed: "derived_differs",
}


@given(seed=seeds)
@settings(max_examples=8, deadline=None)
def test_without_a_fault_nothing_is_alarmed(seed: int) -> None:
    assert set(World(seed, n_requests=120).causes()) == {"same"}


@given(seed=seeds, delay=st.integers(1, 59))
@settings(max_examples=6, deadline=None)
def test_a_row_that_takes_less_than_the_refresh_to_come_online_is_no_alarm(seed: int, delay: int) -> None:
    world = World(seed, n_requests=120, reached=lambda at: at - timedelta(minutes=delay))

    assert set(world.causes()) <= set(EXPECTED)


@pytest.mark.parametrize(("fault", "cause"), FAULTS.items(), ids=[fault.__name__ for fault in FAULTS])
@given(seed=seeds)
@example(seed=AMBIGUOUS)
@settings(max_examples=4, deadline=None)
def test_an_injected_fault_is_named(fault: Callable[[World], None], cause: str, seed: int) -> None:
    world = World(seed)
    fault(world)

    found = world.causes()

    assert found.get(cause, 0) > 0
    assert set(found) - EXPECTED == {cause}
