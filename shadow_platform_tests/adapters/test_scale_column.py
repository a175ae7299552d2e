"""One setting moves features to servers that many machines share, and nothing about them changes."""

from datetime import date, timedelta
from threading import Thread

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shadow_platform.adapters.feature_store import FeastStore, ray_cluster, ray_work
from shadow_platform.adapters.feature_store.objects import published
from shadow_platform.adapters.feature_store.online import PlainValue
from shadow_platform.adapters.lake import Lake
from shadow_platform.contracts.errors import FeatureStoreError
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.ports import LOCAL_STORES, FeatureStores
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

pytestmark = pytest.mark.processes

N_DAYS = 4
USERS = [f"u{n}" for n in range(40)]
END = START + timedelta(days=N_DAYS)


def rows_of(day: int) -> pd.DataFrame:
    """A day's rows, some created late, some without values."""
    random = np.random.default_rng([7, day])
    n_rows = 300
    rows = history(
        *[
            (str(user), 24 * day + float(hour), visits if visits > 5 else None, str(device))
            for user, hour, visits, device in zip(
                random.choice(USERS, n_rows),
                random.integers(0, 24, n_rows),
                random.integers(0, 100, n_rows).astype(float),
                random.choice(["ios", "web"], n_rows),
                strict=True,
            )
        ]
    )
    late = pd.to_timedelta(np.arange(n_rows) % 5 * 40, unit="min")
    return rows.assign(created_at=rows["created_at"] + late).drop_duplicates(["user", "event_at"])


@pytest.fixture
def columns(layout: Layout, scale_stores: FeatureStores, monkeypatch: pytest.MonkeyPatch) -> list[FeastStore]:
    """Both columns over the same partitions of four days; Ray works on slices of fifty."""
    monkeypatch.setattr(ray_work, "ROWS_A_SLICE", 50)
    lake = Lake(layout)
    days = [START.date() + timedelta(days=day) for day in range(N_DAYS)]
    for number, day in enumerate(days):
        lake.write_features(USE_CASE, HISTORY, day, rows_of(number))
    lake.write_features(USE_CASE, PLANS, days[0], plans(("s1", 1, 4.5)))
    opened = [FeastStore(layout, REPOSITORY, USE_CASE, stores) for stores in (LOCAL_STORES, scale_stores)]
    for store in opened:
        store.apply()
        store.publish(HISTORY, days)
        store.publish(PLANS, days[:1])
    return opened


def test_both_columns_know_the_same_history(columns: list[FeastStore]) -> None:
    random = np.random.default_rng(3)
    seconds = random.integers(0, 86_400 * (N_DAYS + 1), 400)
    requests = pd.DataFrame(
        {
            "user": random.choice([*USERS, "nobody"], 400),
            "shop": random.choice(["s1", "s2"], 400),
            "requested_at": pd.to_datetime(START) + pd.to_timedelta(seconds, unit="s"),
        }
    )
    local, scale = (store.historical(requests) for store in columns)
    pd.testing.assert_frame_equal(local, scale)
    assert 100 < local["visits"].notna().sum() < 400


def test_both_columns_bring_the_same_rows_online(columns: list[FeastStore]) -> None:
    middle = START + timedelta(days=2, hours=7)
    entities = [{"user": user, "shop": "s1"} for user in [*USERS, "nobody"]]
    for start, end in ((START, middle), (middle - HOUR, END)):
        local, scale = (store.materialize(start, end) for store in columns)
        assert local == scale
        assert columns[0].online().read(entities) == columns[1].online().read(entities)
    assert local["history"] == len(USERS)


def test_feasts_own_engine_would_have_written_the_same(columns: list[FeastStore], layout: Layout) -> None:
    """An independent witness: Feast's local engine and its messages, in a home of its own."""
    home = Layout(layout.home.with_name("witness"))
    home.features(USE_CASE.name, "history").parent.mkdir(parents=True)
    for view in ("history", "plans"):
        home.features(USE_CASE.name, view).symlink_to(layout.features(USE_CASE.name, view))
    repository = layout.home.with_name("repository")
    repository.mkdir()
    ours = (REPOSITORY / "feature_store.yaml").read_text(encoding="utf-8")
    engine = "  type: shadow_platform.adapters.feature_store.engine.LatestComputeEngine\n"
    assert engine in ours
    (repository / "feature_store.yaml").write_text(ours.replace(engine, "  type: local\n"), encoding="utf-8")
    witness = FeastStore(home, repository, USE_CASE)
    witness.apply()
    witness.materialize(START, END)
    columns[1].materialize(START, END)
    entities = [{"user": user, "shop": "s1"} for user in USERS]
    assert witness.online().read(entities) == columns[1].online().read(entities)


def test_a_published_partition_is_the_one_here_and_goes_with_it(columns: list[FeastStore], layout: Layout) -> None:
    local, scale = columns
    first, second = START.date(), START.date() + timedelta(days=1)
    assert local.publish(HISTORY, [first]) == 0
    assert scale.publish(HISTORY, [first, second, first]) == 2
    layout.features("shop", "history", first).unlink()
    assert scale.publish(HISTORY, [first, date(2030, 1, 1)]) == 0
    assert scale.stores.features_url is not None
    there = published(scale.stores.features_url, "shop", "history")
    assert list(there.files) == [START.date() + timedelta(days=day) for day in (1, 2, 3)]
    names = list(rows_of(1).columns)
    read = there.read(list(there.files.values())[:1], names).to_pandas()
    pd.testing.assert_frame_equal(
        read, pd.read_parquet(layout.features("shop", "history", second))[names], check_dtype=False
    )


def test_ray_outlives_the_thread_that_asked_first(columns: list[FeastStore]) -> None:
    """The kernel ends Ray's processes with the thread that started them, so that none of ours may."""
    import ray

    ray.shutdown()
    asked = pd.DataFrame({"user": ["u1"], "shop": ["s1"], "requested_at": [END]})
    found: list[pd.DataFrame] = []
    first = Thread(target=lambda: found.append(columns[0].historical(asked)))
    first.start()
    first.join()
    pd.testing.assert_frame_equal(columns[1].historical(asked), found[0])
    pd.testing.assert_frame_equal(columns[1].historical(asked), found[0])


class SlowRay:
    """Comes up at the second time of asking."""

    n_asked = 0

    def init(self, *_: object, **__: object) -> None:
        self.n_asked += 1
        if self.n_asked == 1:
            raise RuntimeError("timed out during startup")


def test_ray_that_did_not_come_up_in_its_time_is_started_once_more_and_a_cluster_elsewhere_is_not() -> None:
    here, elsewhere = SlowRay(), SlowRay()

    ray_cluster._start(here, None)
    with pytest.raises(FeatureStoreError, match=r"Ray at ray:6379 does not answer: timed out.*; correct RAY_ADDRESS"):
        ray_cluster._start(elsewhere, "ray:6379")

    assert (here.n_asked, elsewhere.n_asked) == (2, 1)


VALUES = st.none() | st.floats() | st.text()


@settings(max_examples=100, deadline=None)
@given(values=st.dictionaries(st.text(), VALUES))
def test_plain_values_are_packed_as_feasts_messages_are(values: dict[str, PlainValue]) -> None:
    from feast.protos.feast.types.Value_pb2 import Value

    from shadow_platform.adapters.feature_store.packing import pack, pack_plain, unpack

    def message(value: PlainValue) -> Value:
        if value is None or value != value:
            return Value()
        return Value(string_val=value) if isinstance(value, str) else Value(double_val=value)

    messages = {name: message(value) for name, value in values.items()}
    assert unpack(*pack_plain(values)) == messages == unpack(*pack(messages))
