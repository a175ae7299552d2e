"""The data quality asset on a real lake and bundle: every fault has its day, and is found by exactly its check."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import orjson
import pandas as pd
import pytest

from shadow_platform.adapters.bundle import Bundle, write_bundle
from shadow_platform.adapters.deployment import write_manifest
from shadow_platform.adapters.lake import Lake
from shadow_platform.assets.quality import build_quality_assets
from shadow_platform.contracts.deployment import DeployedModel, DeploymentManifest
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.tables import DATA_QUALITY, PREDICTIONS
from shadow_platform.contracts.use_case import DataQualityPolicy, Feature
from shadow_platform.resources import PlatformResource
from shadow_platform_tests.bento.bundles import line_bundle
from shadow_platform_tests.tiny import USE_CASE as TINY

REGION = Feature("région", "Where the visitor lives", kind="categorical", example="Île-de-France")
POLICY = DataQualityPolicy(max_silence=timedelta(hours=6), severities=(("volume", "error"),))
USE_CASE = replace(TINY, name="kiosk", features=(*TINY.features, REGION), data_quality=POLICY)
KEY = dg.AssetKey([USE_CASE.name, "data_quality"])
FIRST, N_CLEAN, PER_DAY = date(2024, 1, 1), 35, 500
ALL_REQUESTS = "requests"
Rows = list[dict[str, Any]]


def clean_requests(rng: np.random.Generator, day: date) -> Rows:
    """Requests of a day on which nothing is wrong."""
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    seconds = np.sort(rng.choice(86_400, PER_DAY, replace=False))
    rows = []
    for place, second in enumerate(seconds.tolist()):
        features = {
            "cart_value": round(float(rng.normal(50, 10)), 2) if rng.random() > 0.02 else None,
            "channel": str(rng.choice(["mail", "search", "shop"])),
            "visits_7d": float(rng.poisson(3)),
            "purchases_7d": float(rng.poisson(1)),
            "région": str(rng.choice(["Bretagne", "Île-de-France"])),
        }
        if rng.random() < 0.1:
            features |= {"visits_7d": None, "purchases_7d": None}
        subject, at = f"{day}-{place:04d}", start + timedelta(seconds=second)
        rows.append({"subject_id": subject, "requested_at": at, "features": features})
    return rows


def changed(share: float, change: Callable[[dict[str, Any]], object]) -> Callable[[Rows], Rows]:
    """A fault of the features of some requests, spread over the day."""

    def inject(rows: Rows) -> Rows:
        for row in rows[:: round(1 / share)]:
            change(row["features"])
        return rows

    return inject


FAULTS: dict[str, tuple[Callable[[Rows], Rows], set[tuple[str, str]]]] = {
    "values are missing": (changed(0.25, lambda f: f.update(cart_value=None)), {("missing", "cart_value")}),
    "numbers become text": (changed(0.02, lambda f: f.update(cart_value="49.90")), {("foreign", "cart_value")}),
    "a column is gone": (changed(1, lambda f: f.pop("channel")), {("foreign", "channel")}),
    "values leave their range": (changed(0.05, lambda f: f.update(cart_value=-1.0)), {("out_of_range", "cart_value")}),
    "a new category comes": (changed(0.2, lambda f: f.update(région="Provence-Alpes")), {("new_category", "région")}),
    "half the requests come": (lambda rows: rows[::2], {("volume", "")}),
    "nobody asks for hours": (
        lambda rows: [row for row in rows if not 9 <= row["requested_at"].hour < 16],
        {("silence", "")},
    ),
    "feature rows are too old": (
        changed(0.25, lambda f: f.update(visits_7d=None, purchases_7d=None)),
        {("stale", "visitor_history")},
    ),
    "requests are sent twice": (lambda rows: [*rows, *rows[::20]], {("duplicates", "")}),
    "nobody asks at all": (lambda rows: [], {("volume", ""), ("silence", "")}),
    "half the visits arrive": (lambda rows: rows, {("event_volume", "visits")}),
    "purchases stop arriving": (lambda rows: rows, {("event_silence", "purchases")}),
}
DAY_OF = {fault: FIRST + timedelta(days=N_CLEAN + place) for place, fault in enumerate(FAULTS)}
LAST = max(DAY_OF.values())


def write_requests(lake: Lake, day: date, rows: Rows) -> None:
    times = pd.to_datetime([row["requested_at"] for row in rows], utc=True).astype("datetime64[us, UTC]")
    known = {
        "use_case": USE_CASE.name,
        "request_id": [f"{day}-r{place}" for place in range(len(rows))],
        "subject_id": [row["subject_id"] for row in rows],
        "requested_at": times,
        "features": [orjson.dumps(row["features"]).decode() for row in rows],
    }
    lake.write_table(PREDICTIONS, USE_CASE, day, pd.DataFrame(known, columns=list(PREDICTIONS.column_names)))


def write_events(lake: Lake, kind: str, day: date, n: int, until_hour: int = 24) -> None:
    """Events of a kind, evenly through the day and none from an hour on."""
    declared = next(event for event in USE_CASE.events if event.name == kind)
    times = pd.Timestamp(day, tz="UTC") + pd.to_timedelta(np.arange(n) * 86_400 / n, unit="s").round("us")
    times = times[times.hour < until_hour]
    made = {name: [f"{name}-{day}-{place}" for place in range(len(times))] for name in declared.schema.columns}
    frame = pd.DataFrame(made).assign(event_at=times, received_at=times)
    for name in {"amount", "cart_value"} & set(frame.columns):
        frame[name] = 20.0
    lake.write_events(USE_CASE, declared, day, frame)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """Five clean weeks, then one fault a day, under a champion that was trained in December."""
    layout = Layout(tmp_path_factory.mktemp("home"))
    lake, rng = Lake(layout), np.random.default_rng(11)
    _deploy(layout, clean_requests(rng, date(2023, 12, 1)) + clean_requests(rng, date(2023, 12, 2)))
    fault_of = {day: fault for fault, day in DAY_OF.items()}
    for offset in range((LAST - FIRST).days + 1):
        day = FIRST + timedelta(days=offset)
        fault, rows = fault_of.get(day), clean_requests(rng, day)
        write_requests(lake, day, FAULTS[fault][0](rows) if fault else rows)
        write_events(lake, "visits", day, 240 if fault == "half the visits arrive" else 480)
        write_events(lake, "purchases", day, 96, 17 if fault == "purchases stop arriving" else 24)
    return layout


def _deploy(layout: Layout, trained_on: Rows) -> None:
    folder = layout.bundles / line_bundle(layout.bundles)
    model = (folder / "model.onnx").read_bytes()
    reference = pd.DataFrame([row["features"] for row in trained_on])
    digest, _ = write_bundle(layout.bundles, Bundle.load(folder).manifest, model, reference, [{"cart_value": 20.0}])
    champion = DeployedModel(version="1", bundle_hash=digest, model_name="line", since=datetime(2024, 1, 1, tzinfo=UTC))
    manifest = DeploymentManifest(
        use_case=USE_CASE.name, generation=1, champion=champion, written_at=datetime(2024, 1, 1, tzinfo=UTC)
    )
    write_manifest(layout.manifest(USE_CASE.name), manifest)


class Judged:
    """One run over some days: its table, its checks, its metadata."""

    def __init__(self, layout: Layout, first: date, last: date) -> None:
        tags = {"dagster/asset_partition_range_start": str(first), "dagster/asset_partition_range_end": str(last)}
        platform = PlatformResource(shadow_home=str(layout.home))
        with dg.DagsterInstance.ephemeral() as instance:
            result = dg.materialize(
                build_quality_assets(USE_CASE), resources={"platform": platform}, tags=tags, instance=instance
            )
            records = instance.fetch_materializations(KEY, limit=100).records
        self.success = result.success
        self.rows = Lake(layout).read_table(DATA_QUALITY, USE_CASE, first, last + timedelta(days=1))
        self.checks = {event.check_name: event for event in result.get_asset_check_evaluations()}
        self.metadata: dict[str, Mapping[str, Any]] = {
            str(record.partition_key): record.asset_materialization.metadata
            for record in records
            if record.asset_materialization
        }

    def failed_on(self, day: date) -> set[tuple[str, str]]:
        """What failed on a day: check and what it checked."""
        own = self.rows[(self.rows["day_at"].dt.date == day) & (self.rows["outcome"] == "fail")]
        return set(zip(own["check_name"], own["checked"], strict=True))


@pytest.fixture(scope="module")
def judged(home: Layout) -> Judged:
    """All days, judged in one run."""
    return Judged(home, FIRST, LAST)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found_on_its_day_by_exactly_its_check(judged: Judged, fault: str) -> None:
    assert judged.failed_on(DAY_OF[fault]) == FAULTS[fault][1]


def test_clean_weeks_raise_no_alarm(judged: Judged) -> None:
    clean = judged.rows[judged.rows["day_at"].dt.date < FIRST + timedelta(days=N_CLEAN)]

    assert len(clean) > 15 * N_CLEAN
    assert clean[clean["outcome"] == "fail"].to_dict("records") == []


def test_each_check_fails_with_the_severity_of_the_policy_and_names_its_offender(judged: Judged) -> None:
    severities = {name: event.severity.value for name, event in judged.checks.items()}
    offenders = {name: str(event.metadata["offenders"].value) for name, event in judged.checks.items()}

    assert len(judged.checks) == 10
    assert not any(event.passed for event in judged.checks.values())
    assert {name for name, severity in severities.items() if severity == "ERROR"} == {
        "values_are_of_their_kind",
        "request_volume_is_usual",
    }
    assert f"| {DAY_OF['a new category comes']} | région |" in offenders["categories_are_known"]
    assert "'Provence-Alpes'" in offenders["categories_are_known"]
    assert "visitor_history within 3 days" in offenders["feature_rows_are_found"]
    assert "250 requests on a" in offenders["request_volume_is_usual"]


def test_a_failing_check_stops_nothing(judged: Judged) -> None:
    assert judged.success


def test_what_was_found_stands_at_its_partition_and_the_last_one_has_the_picture(judged: Judged) -> None:
    day = str(DAY_OF["a column is gone"])

    assert judged.metadata[day]["failed"].value == 1
    assert "foreign: 500 of 500 requests do not name channel" in str(judged.metadata[day]["findings"].value)
    assert [d for d, metadata in judged.metadata.items() if "plot" in metadata] == [str(LAST)]
    assert "data:image/png;base64" in str(judged.metadata[str(LAST)]["plot"].value)


def test_until_two_weeks_are_known_volume_is_not_judged_and_alarms_nobody(home: Layout) -> None:
    early = Judged(home, FIRST, FIRST + timedelta(days=13))
    volume = early.rows[early.rows["check_name"].isin(["volume", "event_volume", "event_silence"])]
    check = early.checks["request_volume_is_usual"]

    assert set(volume["outcome"]) == {"insufficient"}
    assert volume["value"].isna().all()
    assert check.passed
    assert check.metadata["not_judged"].value == 14
    assert "14 of 14 were not judged" in str(check.description)


def test_a_day_that_is_judged_again_replaces_its_rows(home: Layout, judged: Judged) -> None:
    again = Judged(home, LAST, LAST)

    kept = judged.rows[judged.rows["day_at"].dt.date == LAST].drop(columns="evaluated_at")
    pd.testing.assert_frame_equal(again.rows.drop(columns="evaluated_at"), kept.reset_index(drop=True))


def test_without_a_champion_only_what_needs_its_reference_is_not_judged(tmp_path: Path) -> None:
    layout, rng = Layout(tmp_path / "new"), np.random.default_rng(3)
    write_requests(Lake(layout), FIRST, FAULTS["numbers become text"][0](clean_requests(rng, FIRST)))
    found = Judged(layout, FIRST, FIRST)
    by_check = found.rows.groupby("check_name")["outcome"].agg(set).to_dict()

    assert found.failed_on(FIRST) == {("foreign", "cart_value")}
    assert {check for check, outcomes in by_check.items() if outcomes == {"insufficient"}} == {
        *("missing", "new_category", "stale", "volume", "event_volume", "event_silence")
    }
    assert "no champion yet" in str(found.rows.set_index("check_name").loc["stale", "reason"])


def test_a_check_that_the_policy_leaves_out_does_not_exist() -> None:
    bare = replace(USE_CASE, data_quality=DataQualityPolicy(max_foreign=None, silence_alpha=None))
    names = {spec.name for asset in build_quality_assets(bare) for spec in asset.check_specs}

    assert len(names) == 7
    assert not names & {"values_are_of_their_kind", "events_keep_coming", "requests_keep_coming"}


def test_only_where_days_go_on_a_day_can_be_late() -> None:
    recorded = replace(USE_CASE, last_partition=LAST)
    policies = [build_quality_assets(of)[0].specs_by_key[KEY].freshness_policy for of in (USE_CASE, recorded)]

    assert policies[0] is not None
    assert policies[1] is None
