"""Labels of the tiny use case land on the day they became known, for answered requests too, imported ones as well."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest

from shadow_platform.adapters.lake import Lake
from shadow_platform.adapters.log import FileLogSink
from shadow_platform.assets.labels import build_label_assets
from shadow_platform.cli.importing import land_file
from shadow_platform.contracts.errors import NotEnoughData
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.tables import LABELS, PREDICTIONS
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.resources import PlatformResource
from shadow_platform_tests.cli.importing import LATER, corrections, first_labels, make_labels
from shadow_platform_tests.tiny import FIRST_DAY, USE_CASE

DAYS = 4
CENSORED = replace(USE_CASE, label=replace(USE_CASE.label, hidden_by="platform"))


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


def materialize(layout: Layout, use_case: UseCase = USE_CASE) -> dict[str, Any]:
    last = FIRST_DAY + timedelta(days=DAYS - 1)
    tags = {
        "dagster/asset_partition_range_start": FIRST_DAY.isoformat(),
        "dagster/asset_partition_range_end": last.isoformat(),
    }
    platform = PlatformResource(shadow_home=str(layout.home))
    asset = build_label_assets(use_case)[0]
    result = dg.materialize([asset], resources={"platform": platform}, tags=tags)
    return {k: v.value for k, v in result.asset_materializations_for_node(asset.op.name)[0].metadata.items()}


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


def test_labels_wait_for_the_days_they_look_back_on_and_are_then_right(layout: Layout, lake: Lake) -> None:
    """Without the purchases of the first day, silence would be taken for a negative answer, and stay."""
    kind = next(kind for kind in USE_CASE.events if kind.name == "purchases")
    lake.layout.events("tiny", "purchases", FIRST_DAY).unlink()

    with pytest.raises(NotEnoughData, match=f"events purchases: 1 of 2 days are missing, the first is {FIRST_DAY}"):
        make_labels(layout.home, first=1, last=1)
    assert lake.table_days(LABELS, USE_CASE) == []

    lake.write_events(USE_CASE, kind, FIRST_DAY, events()["purchases", FIRST_DAY])
    make_labels(layout.home, first=1, last=1)
    purchases = pd.concat(frame for (name, _), frame in events().items() if name == "purchases")
    negative = (
        lake.read_table(LABELS, USE_CASE)
        .query("not label")
        .merge(purchases, left_on="subject_id", right_on="visit_id", suffixes=("", "_event"))
    )
    assert (negative["received_at"] > negative["requested_at"] + USE_CASE.label.horizon).all()


def imported(rows: pd.DataFrame, layout: Layout, file: Path, use_case: UseCase = USE_CASE) -> None:
    rows.to_csv(file, index=False)
    platform = PlatformResource(shadow_home=str(layout.home))
    report = land_file(platform, use_case, file, None, LATER + timedelta(days=30))
    assert report.n_refused == 0


def test_imported_labels_join_the_day_they_became_known_and_are_counted(
    layout: Layout, lake: Lake, tmp_path: Path
) -> None:
    before = materialize(layout)
    imported(corrections(first_labels(lake, 7)), layout, tmp_path / "late.csv")

    after = materialize(layout)

    assert (before["imported"], after["imported"]) == (0, 7)
    assert after["dagster/row_count"] == before["dagster/row_count"] + 7
    rows = lake.read_table(LABELS, USE_CASE, LATER.date(), LATER.date() + timedelta(days=1))
    assert rows["source"].eq("import:late.csv").sum() == 7


def test_events_that_come_to_contradict_an_import_win_and_the_import_is_counted(
    layout: Layout, lake: Lake, tmp_path: Path
) -> None:
    materialize(layout)
    expected = lake.read_table(LABELS, USE_CASE)
    wrong = first_labels(lake, 3)
    for path in lake.files(LABELS, USE_CASE):
        path.unlink()
    imported(corrections(wrong, list(wrong["known_at"])), layout, tmp_path / "early.csv")

    assert materialize(layout)["contradicted"] == 3
    pd.testing.assert_frame_equal(expected, lake.read_table(LABELS, USE_CASE))


def answered(lake: Lake, rows: pd.DataFrame, **columns: Any) -> None:
    """Answers to the requests of some labels; unnamed columns are null, as in files older than the column."""
    frame = rows[["subject_id", "requested_at"]].assign(use_case="tiny", request_id=rows["subject_id"], **columns)
    for day, part in frame.groupby(frame["requested_at"].dt.date):
        lake.write_table(PREDICTIONS, "tiny", day, part.reindex(columns=list(PREDICTIONS.column_names)))


def test_where_a_positive_decision_hides_the_outcome_its_label_is_dropped_whatever_says_it(
    layout: Layout, lake: Lake, tmp_path: Path
) -> None:
    materialize(layout)
    rows, n_all = first_labels(lake, 40), len(lake.read_table(LABELS, USE_CASE))
    decided = [i % 2 == 0 for i in range(40)]
    explored = [{0: True, 2: False}.get(i % 4) for i in range(40)]
    answered(lake, rows, prediction=decided, is_explored=explored)
    imported(corrections(rows), layout, tmp_path / "labels.csv", CENSORED)
    hidden = set(rows["subject_id"][2::4])

    metadata = materialize(layout, CENSORED)

    assert metadata["censored"] == 2 * len(hidden)
    left = lake.read_table(LABELS, USE_CASE)
    assert hidden.isdisjoint(left["subject_id"])
    assert len(left) == n_all + 40 - 2 * len(hidden)


def logged(lake: Lake, rows: pd.DataFrame) -> None:
    """Positive decisions that were carried out, in the log alone."""
    answer = {
        **{"use_case": "tiny", "entities": {}, "features": {}, "schema_version": 3, "is_explored": False},
        **{"feature_sources": {"request": 0, "online": 0, "imputed": 4}, "model_version": "1", "bundle_hash": "x"},
        **{"variant": "champion", "propensity": 1.0, "probability": 0.8, "prediction": True, "threshold": 0.5},
    }
    sink = FileLogSink(lake.layout.log("predictions", "tiny"))
    for subject, at in zip(rows["subject_id"], rows["requested_at"], strict=True):
        own = {"request_id": subject, "subject_id": subject, "requested_at": at.isoformat()}
        sink.append(answer | own | {"logged_at": datetime.now(UTC).isoformat()})
    sink.close()


@pytest.mark.parametrize("n_tabled", [0, 2], ids=["none in the table", "some in the table"])
def test_a_decision_hides_its_outcome_from_the_moment_it_is_logged(layout: Layout, lake: Lake, n_tabled: int) -> None:
    materialize(layout)
    rows = first_labels(lake, 5)
    answered(lake, rows.head(n_tabled), prediction=True)
    logged(lake, rows)

    metadata = materialize(layout, CENSORED)

    assert metadata["censored"] == 5
    assert set(rows["subject_id"]).isdisjoint(lake.read_table(LABELS, USE_CASE)["subject_id"])


def test_answers_older_than_exploration_hide_their_labels_and_history_is_not_touched(
    layout: Layout, lake: Lake
) -> None:
    materialize(layout)
    every = lake.read_table(LABELS, USE_CASE)
    answered(lake, first_labels(lake, 5), prediction=True)

    materialize(layout, CENSORED)

    assert len(lake.read_table(LABELS, USE_CASE)) == len(every) - 5


def test_where_decisions_hide_nothing_no_label_is_dropped(layout: Layout, lake: Lake) -> None:
    materialize(layout)
    answered(lake, first_labels(lake, 5), prediction=True)

    assert materialize(layout)["censored"] == 0
