"""Labels of the tiny use case land on the day they became known, for answered requests too."""

from datetime import date, datetime, timedelta
from functools import cache

import dagster as dg
import pandas as pd
import pytest

from shadow_platform.adapters.lake import Lake
from shadow_platform.assets.labels import build_label_assets
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.tables import LABELS
from shadow_platform.resources import PlatformResource
from shadow_platform_tests.tiny import FIRST_DAY, USE_CASE

DAYS = 4
LABELS_ASSET = build_label_assets(USE_CASE)[0]


@cache
def events() -> dict[tuple[str, date], pd.DataFrame]:
    """Validated events of the first days by kind and receipt day."""
    source = USE_CASE.source()
    return {
        (kind.name, day): kind.schema.validate(
            pd.DataFrame(source.received_on(day)[kind.name])[list(kind.schema.columns)]
        )
        for day in (FIRST_DAY + timedelta(days=i) for i in range(DAYS))
        for kind in USE_CASE.events
    }


@pytest.fixture
def lake(layout: Layout) -> Lake:
    """Lake with the events of the first days."""
    made = Lake(layout)
    kinds = {kind.name: kind for kind in USE_CASE.events}
    for (kind, day), frame in events().items():
        made.write_events(USE_CASE, kinds[kind], day, frame)
    return made


def materialize(layout: Layout) -> None:
    last = FIRST_DAY + timedelta(days=DAYS - 1)
    tags = {
        "dagster/asset_partition_range_start": FIRST_DAY.isoformat(),
        "dagster/asset_partition_range_end": last.isoformat(),
    }
    platform = PlatformResource(shadow_home=str(layout.home))
    assert dg.materialize([LABELS_ASSET], resources={"platform": platform}, tags=tags).success


def test_each_request_has_one_label_on_the_day_it_became_known(layout: Layout, lake: Lake) -> None:
    materialize(layout)

    rows = lake.read_table(LABELS, USE_CASE)
    visits = pd.concat(frame for (kind, _), frame in events().items() if kind == "visits")
    last = visits["event_at"].max()
    due = visits[visits["event_at"] <= last.floor("D") + timedelta(days=1) - timedelta(hours=24)]
    assert not rows.duplicated(["subject_id", "requested_at"]).any()
    assert set(due["visit_id"]) <= set(rows["subject_id"])
    assert (rows["known_at"] >= rows["event_at"]).all()
    assert (rows["known_at"] <= rows["requested_at"] + timedelta(hours=24)).all()
    for day in lake.table_days(LABELS, USE_CASE):
        part = lake.read_table(LABELS, USE_CASE, day, day + timedelta(days=1))
        assert set(part["known_at"].dt.date) <= {day}


def test_a_bought_visit_is_known_at_the_purchase_and_no_earlier(layout: Layout, lake: Lake) -> None:
    materialize(layout)

    rows = lake.read_table(LABELS, USE_CASE)
    purchases = pd.concat(frame for (kind, _), frame in events().items() if kind == "purchases")
    known = rows[rows["label"]].merge(purchases, left_on="subject_id", right_on="visit_id", suffixes=("", "_event"))
    assert len(known) == int(rows["label"].sum()) > 100
    assert (known["known_at"] == known["received_at"]).all()


def test_a_repeat_gives_the_same_rows(layout: Layout, lake: Lake) -> None:
    materialize(layout)
    first = lake.read_table(LABELS, USE_CASE)
    materialize(layout)

    pd.testing.assert_frame_equal(first, lake.read_table(LABELS, USE_CASE))


def test_labels_do_not_change_when_later_events_arrive(layout: Layout, lake: Lake) -> None:
    materialize(layout)
    before = lake.read_table(LABELS, USE_CASE, FIRST_DAY, FIRST_DAY + timedelta(days=2))
    kind = next(kind for kind in USE_CASE.events if kind.name == "purchases")
    later = events()["purchases", FIRST_DAY + timedelta(days=3)].head(1).copy()
    visit = events()["visits", FIRST_DAY].iloc[0]
    later["visit_id"], later["event_id"] = visit["visit_id"], "purchase:again"
    lake.write_events(USE_CASE, kind, FIRST_DAY + timedelta(days=3), later)
    materialize(layout)

    pd.testing.assert_frame_equal(before, lake.read_table(LABELS, USE_CASE, FIRST_DAY, FIRST_DAY + timedelta(days=2)))
    assert isinstance(before["known_at"].iloc[0], datetime)
