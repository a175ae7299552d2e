"""The drift assets on a real lake and bundle: verdict rows, facts for the sensor, check, report."""

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
from shadow_platform.adapters.reports import ReportResult
from shadow_platform.assets.drift import build_drift_assets, served_features
from shadow_platform.contracts.deployment import DeployedModel, DeploymentManifest
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.tables import DRIFT_METRICS, DRIFT_VERDICTS, PREDICTIONS
from shadow_platform.contracts.use_case import DriftPolicy
from shadow_platform.resources import PlatformResource
from shadow_platform_tests.bento.bundles import line_bundle
from shadow_platform_tests.bento.shop import USE_CASE as SHOP

USE_CASE = replace(SHOP, drift=DriftPolicy(window=timedelta(days=7), min_rows=200))
KEY = dg.AssetKey([USE_CASE.name, "drift_verdict"])
FIRST, N_DAYS, PER_DAY = date(2024, 2, 1), 14, 100
SHIFTS_ON = FIRST + timedelta(days=10)


class QuietPlatform(PlatformResource):
    """The platform resource with a report that takes no time."""

    report_error: str = ""

    def drift_report(self, use_case: Any, reference: pd.DataFrame, current: pd.DataFrame, path: Path) -> ReportResult:
        if self.report_error:
            return ReportResult(None, {"channel": "null in every row of the window"}, self.report_error)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{len(reference)} {len(current)}")
        return ReportResult(path, {})


def _requests(first: date, n_days: int, seed: int, shifts_on: date | None = None) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    day = np.repeat(np.arange(n_days), PER_DAY)
    is_late = np.zeros(len(day), dtype=bool) if shifts_on is None else day >= (shifts_on - first).days
    carts = rng.normal(np.where(is_late, 90.0, 50.0), 15)
    start = pd.Timestamp(first, tz="UTC")
    return pd.DataFrame(
        {
            "cart_value": carts.round(2),
            "channel": rng.choice(["mail", "search", "shop"], len(day)),
            "score": 1 / (1 + np.exp(-(0.02 * carts - 1))),
            "requested_at": start + pd.to_timedelta(day, unit="D") + pd.to_timedelta(rng.random(len(day)), unit="D"),
        }
    )


@pytest.fixture
def bundle_hash(layout: Layout) -> str:
    """Champion in service whose reference is January."""
    folder = layout.bundles / line_bundle(layout.bundles)
    model = (folder / "model.onnx").read_bytes()
    reference = _requests(date(2024, 1, 1), 28, 1)
    digest, _ = write_bundle(layout.bundles, Bundle.load(folder).manifest, model, reference, [{"cart_value": 20.0}])
    now = datetime(2024, 2, 1, tzinfo=UTC)
    champion = DeployedModel(version="1", bundle_hash=digest, model_name="line", since=now)
    manifest = DeploymentManifest(use_case=USE_CASE.name, generation=1, champion=champion, written_at=now)
    write_manifest(layout.manifest(USE_CASE.name), manifest)
    return digest


@pytest.fixture
def lake(layout: Layout, bundle_hash: str) -> Lake:
    """Two weeks of predictions; carts are bigger from the eleventh day on."""
    made = Lake(layout)
    rows = _requests(FIRST, N_DAYS, 2, SHIFTS_ON)
    table = predictions(rows, bundle_hash)
    for day, part in table.groupby(table["requested_at"].dt.date):
        made.write_table(PREDICTIONS, USE_CASE, day, part)
    return made


def predictions(rows: pd.DataFrame, bundle_hash: str) -> pd.DataFrame:
    """Rows of the predictions table that answer the requests."""
    features = [orjson.dumps(row).decode() for row in rows[["cart_value", "channel"]].to_dict("records")]
    times = rows["requested_at"].astype("datetime64[us, UTC]")
    known = {
        "use_case": USE_CASE.name,
        "request_id": [f"r{i:05d}" for i in range(len(rows))],
        "subject_id": [f"s{i:05d}" for i in range(len(rows))],
        "requested_at": times,
        "logged_at": times,
        "model_version": "1",
        "bundle_hash": bundle_hash,
        "variant": "champion",
        "propensity": 1.0,
        "is_fallback": False,
        "probability": rows["score"],
        "prediction": rows["score"] >= 0.5,
        "threshold": 0.5,
        "latency_ms": 1.0,
        "features_from_request": 2,
        "features_from_online": 0,
        "features_imputed": 0,
        "feature_age_s": np.nan,
        "features": features,
    }
    return pd.DataFrame(known, columns=list(PREDICTIONS.column_names))


def materialize(
    layout: Layout, first: date, last: date, instance: dg.DagsterInstance, **platform: Any
) -> dg.ExecuteInProcessResult:
    tags = {"dagster/asset_partition_range_start": str(first), "dagster/asset_partition_range_end": str(last)}
    resource = QuietPlatform(shadow_home=str(layout.home), **platform)
    assets = build_drift_assets(USE_CASE)
    return dg.materialize(assets, resources={"platform": resource}, tags=tags, instance=instance)


def facts(instance: dg.DagsterInstance) -> dict[str, dict[str, Any]]:
    """Metadata of the latest verdict materialization by partition."""
    records = instance.fetch_materializations(KEY, limit=100, ascending=True).records
    return {
        str(r.partition_key): {name: value.value for name, value in r.asset_materialization.metadata.items()}
        for r in records
        if r.asset_materialization
    }


@pytest.fixture
def instance() -> Any:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def test_every_day_of_a_range_has_its_own_verdict_in_metadata_and_tables(
    layout: Layout, lake: Lake, bundle_hash: str, instance: dg.DagsterInstance
) -> None:
    last = FIRST + timedelta(days=N_DAYS - 1)
    result = materialize(layout, FIRST, last, instance)

    assert result.success
    found = facts(instance)
    outcomes = {day: fact["outcome"] for day, fact in found.items()}
    assert outcomes["2024-02-01"] == "insufficient"
    assert outcomes["2024-02-08"] == "pass"
    assert outcomes["2024-02-14"] == "fail"
    assert found["2024-02-14"]["window_start"] == "2024-02-08T00:00:00+00:00"
    assert found["2024-02-14"]["window_end"] == "2024-02-15T00:00:00+00:00"
    assert "feature_drift" in found["2024-02-14"]["rules_fired"]
    assert "data:image/png;base64" in found["2024-02-14"]["plot"]
    assert "plot" not in found["2024-02-13"]
    verdicts = lake.read_table(DRIFT_VERDICTS, USE_CASE)
    assert len(verdicts) == N_DAYS
    assert set(verdicts["evaluation_id"]) == {fact["evaluation_id"] for fact in found.values()}
    assert set(verdicts["reference_fingerprint"]) == {bundle_hash}
    metrics = lake.read_table(DRIFT_METRICS, USE_CASE)
    judged = verdicts[verdicts["outcome"] != "insufficient"]
    assert metrics.groupby("evaluation_id").size().to_dict() == dict.fromkeys(judged["evaluation_id"], 3)


def test_a_failing_verdict_fails_the_check_but_not_the_run(
    layout: Layout, lake: Lake, instance: dg.DagsterInstance
) -> None:
    last = FIRST + timedelta(days=N_DAYS - 1)
    result = materialize(layout, last, last, instance)
    check = next(e for e in result.get_asset_check_evaluations() if e.check_name == "drift_verdict_passes")
    assert result.success
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert "cart_value: median" in str(check.description)


def test_an_insufficient_window_is_a_warning(layout: Layout, lake: Lake, instance: dg.DagsterInstance) -> None:
    result = materialize(layout, FIRST, FIRST, instance)
    check = next(iter(result.get_asset_check_evaluations()))
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)


def test_judging_again_gives_the_same_evaluation_and_no_second_row(
    layout: Layout, lake: Lake, instance: dg.DagsterInstance
) -> None:
    day = FIRST + timedelta(days=12)
    ids = []
    for _ in range(2):
        materialize(layout, day, day, instance)
        ids.append(facts(instance)[str(day)]["evaluation_id"])
    assert ids[0] == ids[1]
    assert len(lake.read_table(DRIFT_VERDICTS, USE_CASE)) == 1


def test_only_the_last_day_of_a_range_gets_a_report_and_its_verdict_row_names_it(
    layout: Layout, lake: Lake, instance: dg.DagsterInstance
) -> None:
    materialize(layout, FIRST, FIRST + timedelta(days=8), instance)
    rows = lake.read_table(DRIFT_VERDICTS, USE_CASE).sort_values("window_end")
    assert rows["report_path"].dropna().tolist() == ["reports/shop/drift/2024-02-09.html"]
    assert rows["report_path"].iloc[-1] == "reports/shop/drift/2024-02-09.html"
    assert (layout.home / "reports/shop/drift/2024-02-09.html").exists()


def test_a_failing_report_changes_no_verdict_and_fails_no_run(
    layout: Layout, lake: Lake, instance: dg.DagsterInstance
) -> None:
    last = FIRST + timedelta(days=8)
    result = materialize(layout, last, last, instance, report_error="MemoryError")
    assert result.success
    assert lake.read_table(DRIFT_VERDICTS, USE_CASE)["outcome"].tolist() == ["pass"]
    report = result.asset_materializations_for_node(f"{USE_CASE.name}__drift_report")[0]
    assert report.metadata["error"].value == "MemoryError"
    assert report.metadata["skipped_columns"].value == "channel: null in every row of the window"


def test_the_threshold_of_the_environment_is_in_force_only_when_set(
    layout: Layout, lake: Lake, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = FIRST + timedelta(days=N_DAYS - 1)
    materialize(layout, last, last, instance)
    assert "drift_score" in facts(instance)[str(last)]["rules_fired"]
    monkeypatch.setenv("DRIFT_THRESHOLD", "0.9")
    materialize(layout, last, last, instance)
    assert "drift_score" not in facts(instance)[str(last)]["rules_fired"]


def test_without_a_champion_the_run_says_what_to_do(layout: Layout, instance: dg.DagsterInstance) -> None:
    with pytest.raises(dg.Failure, match="run the job shop_train first"):
        materialize(layout, FIRST, FIRST, instance)


def test_scores_of_another_bundle_and_unlogged_features_are_left_out() -> None:
    rows = predictions(_requests(FIRST, 1, 3), "old")
    rows.loc[rows.index[:40], "bundle_hash"] = "new"
    rows["features"] = ['{"cart_value": 5, "unknown": 1}'] * len(rows)
    served = served_features(rows, USE_CASE, "new")
    assert served["score"].notna().sum() == 40
    assert list(served.columns) == ["cart_value", "score", "requested_at"]


def test_no_predictions_at_all_are_insufficient(layout: Layout, bundle_hash: str, instance: dg.DagsterInstance) -> None:
    assert materialize(layout, FIRST, FIRST, instance, report_error="nothing").success
    assert facts(instance)[str(FIRST)]["outcome"] == "insufficient"
