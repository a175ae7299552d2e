"""A home whose champion was trained on January and has answered requests since: what the drift assets look at.

Upstream: a real bundle, manifest and lake. Downstream: tests of the drift assets.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import orjson
import pandas as pd

from shadow_platform.adapters.bundle import Bundle, write_bundle
from shadow_platform.adapters.deployment import write_manifest
from shadow_platform.adapters.lake import Lake
from shadow_platform.assets.drift.verdict import build_drift_verdict, build_live_drift_verdict
from shadow_platform.contracts.deployment import DeployedModel, DeploymentManifest
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.tables import PREDICTIONS
from shadow_platform.contracts.use_case import DriftPolicy, UseCase
from shadow_platform.resources import PlatformResource
from shadow_platform_tests.bento.bundles import line_bundle
from shadow_platform_tests.bento.shop import USE_CASE as SHOP

POLICY = DriftPolicy(window=timedelta(days=7), min_rows=200)
USE_CASE = replace(SHOP, drift=POLICY)
FIRST, N_DAYS, PER_DAY = date(2024, 2, 1), 14, 100
SHIFTS_ON = FIRST + timedelta(days=7)
LAST = FIRST + timedelta(days=N_DAYS - 1)


def with_policy(**changes: Any) -> UseCase:
    """The use case with another drift policy."""
    return replace(USE_CASE, drift=replace(POLICY, **changes))


def requests(
    first: date, n_days: int, seed: int, shifts_on: date | None = None, *, per_day: int = PER_DAY, only_in: str = ""
) -> pd.DataFrame:
    """Requests of some days with their scores; carts grow by 40 from a day on, everywhere or in one channel."""
    rng = np.random.default_rng(seed)
    day = np.repeat(np.arange(n_days), per_day)
    is_late = np.zeros(len(day), dtype=bool) if shifts_on is None else day >= (shifts_on - first).days
    channels = rng.choice(["mail", "search", "shop"], len(day))
    grows = is_late & (channels == only_in) if only_in else is_late
    carts = rng.normal(np.where(grows, 90.0, 50.0), 15)
    start = pd.Timestamp(first, tz="UTC")
    return pd.DataFrame(
        {
            "cart_value": carts.round(2),
            "channel": channels,
            "score": 1 / (1 + np.exp(-(0.02 * carts - 1))),
            "requested_at": start + pd.to_timedelta(day, unit="D") + pd.to_timedelta(rng.random(len(day)), unit="D"),
        }
    )


def deploy(layout: Layout, reference: pd.DataFrame | None = None, *, slope: float = 0.02) -> str:
    """Hash of the champion put into service; its reference is January unless told."""
    folder = layout.bundles / line_bundle(layout.bundles, slope)
    model = (folder / "model.onnx").read_bytes()
    frozen = requests(date(2024, 1, 1), 28, 1) if reference is None else reference
    digest, _ = write_bundle(layout.bundles, Bundle.load(folder).manifest, model, frozen, [{"cart_value": 20.0}])
    now = datetime(2024, 2, 1, tzinfo=UTC)
    champion = DeployedModel(version="1", bundle_hash=digest, model_name="line", since=now)
    generation = int(slope * 1_000)
    manifest = DeploymentManifest(use_case=USE_CASE.name, generation=generation, champion=champion, written_at=now)
    write_manifest(layout.manifest(USE_CASE.name), manifest)
    return digest


def serve(layout: Layout, rows: pd.DataFrame, bundle_hash: str) -> Lake:
    """Write the requests' days of predictions anew."""
    lake, table = Lake(layout), predictions(rows, bundle_hash)
    for day, part in table.groupby(table["requested_at"].dt.date):
        lake.write_table(PREDICTIONS, USE_CASE, day, part)
    return lake


def predictions(rows: pd.DataFrame, bundle_hash: str) -> pd.DataFrame:
    """Rows of the predictions table that answer the requests."""
    names = [name for name in rows.columns if name not in ("score", "requested_at")]
    features = [orjson.dumps(row).decode() for row in rows[names].to_dict("records")]
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
    layout: Layout,
    days: Sequence[date],
    instance: dg.DagsterInstance,
    use_case: UseCase = USE_CASE,
    *,
    raises: bool = True,
) -> dg.ExecuteInProcessResult:
    """The asset drift_verdict of the days from the first to the last given."""
    tags = {"dagster/asset_partition_range_start": str(days[0]), "dagster/asset_partition_range_end": str(days[-1])}
    resources = {"platform": PlatformResource(shadow_home=str(layout.home))}
    verdict = build_drift_verdict(use_case)
    return dg.materialize([verdict], resources=resources, tags=tags, instance=instance, raise_on_error=raises)


def materialize_live(
    layout: Layout, end: str, instance: dg.DagsterInstance, use_case: UseCase = USE_CASE
) -> dg.ExecuteInProcessResult:
    """The asset live_drift_verdict of the hours that end at a time."""
    config = {"ops": {f"{use_case.name}__live_drift_verdict": {"config": {"end": end}}}}
    resources = {"platform": PlatformResource(shadow_home=str(layout.home))}
    live = build_live_drift_verdict(use_case)
    return dg.materialize([live], resources=resources, run_config=config, instance=instance)


def facts(instance: dg.DagsterInstance, asset: str = "drift_verdict") -> dict[str, dict[str, Any]]:
    """Metadata of the latest materialization by partition; of an asset without, under ``None``."""
    key = dg.AssetKey([USE_CASE.name, asset])
    records = instance.fetch_materializations(key, limit=100, ascending=True).records
    return {
        str(r.partition_key): {name: value.value for name, value in r.asset_materialization.metadata.items()}
        for r in records
        if r.asset_materialization
    }


def files_of(home: Path) -> set[str]:
    """Files of drift tables below a home."""
    return {str(path.relative_to(home)) for path in home.glob("tables/drift_*/**/*.parquet")}
