"""What is left when a materialization dies by SIGKILL at any of its steps: views that serve, and work to go on with."""

import signal
from pathlib import Path

import pytest

from shadow_platform.adapters.feature_store import FeastStore
from shadow_platform.adapters.lake import Lake
from shadow_platform.contracts.layout import Layout
from shadow_platform_tests.adapters.feature_rows import (
    HISTORY,
    HOUR,
    PLANS,
    REPOSITORY,
    START,
    USE_CASE,
    history,
    plans,
)
from shadow_platform_tests.chaos.trainings import Death
from shadow_platform_tests.forked import ended, started

pytestmark = [pytest.mark.processes, pytest.mark.timeout(600)]

USERS = [f"u{n}" for n in range(50)]
STORE = "shadow_platform.adapters.feature_store"
WRITE = f"{STORE}.sqlite:GuardedSqliteOnlineStore.plain_write"
PROOF = f"{STORE}.materializing:Materializer._stored_moments"
DEATHS = (
    (Death("nothing begun", "feast:FeatureStore.materialize"), 10.0, 1.0),
    (Death("view marked, nothing written", WRITE), 10.0, 1.0),
    (Death("half of the rows, not committed", f"{STORE}.sqlite:pack_plain", nth=25), 10.0, 1.0),
    (Death("rows written, view marked", WRITE, "after"), 20.0, 1.0),
    (Death("one view done, the next marked", WRITE, nth=2), 20.0, 1.0),
    (
        Death("all written, the last not proved", PROOF, nth=2),
        20.0,
        2.0,
    ),
)
"""Where it dies, and the visits and the rating that are served then."""


def opened(folder: Path) -> FeastStore:
    return FeastStore(Layout(folder), REPOSITORY, USE_CASE)


def materialize(folder: Path, death: Death) -> None:
    death.await_it()
    opened(folder).materialize(START, START + 3 * HOUR)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home whose views serve the rows of the first hour; those of the second are not online yet."""
    folder = tmp_path / "home"
    lake, store = Lake(Layout(folder)), opened(folder)
    rows = [(user, hour, 10.0 * hour, "ios") for user in USERS for hour in (1, 2)]
    lake.write_features(USE_CASE, HISTORY, START.date(), history(*rows))
    lake.write_features(USE_CASE, PLANS, START.date(), plans(("s1", 1, 1.0), ("s1", 2, 2.0)))
    store.apply()
    store.materialize(START, START + HOUR)
    return folder


@pytest.mark.parametrize(("death", "visits", "rating"), DEATHS, ids=[death.what for death, *_ in DEATHS])
def test_views_serve_after_a_kill_and_the_next_run_repairs(
    home: Path, death: Death, visits: float, rating: float
) -> None:
    import feast

    process = started(materialize, home, death)
    assert ended(process) == -signal.SIGKILL
    store = opened(home)
    entities = [{"user": user, "shop": "s1"} for user in USERS]
    served = store.online().read(entities)
    assert {row["history"].values["visits"] for row in served} == {visits}
    assert {row["plans"].values["rating"] for row in served} == {rating}
    assert store.materialize(START, START + 3 * HOUR) == {"history": len(USERS), "plans": 1}
    assert {row["history"].values["visits"] for row in store.online().read(entities)} == {20.0}
    sdk = feast.FeatureStore(config=store.config)
    assert sdk.get_online_features(["shop_history:visits"], entities[:1]).to_dict()["visits"] == [20.0]
