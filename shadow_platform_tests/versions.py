"""Versions with cards and frame records of little models, made by hand and always the same.

Belongs here: what tests of looking at versions share. Does not belong here: assertions.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from shadow_platform.contracts.bundle import BundleManifest, Calibration
from shadow_platform.contracts.lineage import FrameRecord, PartitionSnapshot
from shadow_platform.contracts.model_card import (
    FeatureImportance,
    FeatureSummary,
    MetricEstimate,
    ModelCard,
    PartSummary,
    SegmentMetrics,
)
from shadow_platform.contracts.verdicts import Criterion, Outcome
from shadow_platform.contracts.versions import VersionDetails, VersionSummary
from shadow_platform_tests.trained import AS_OF, FEATURES, INPUTS, make_manifest

AT = datetime(2024, 2, 10, 12, tzinfo=UTC)


def make_summary(version: str | None = "1", **changes: Any) -> VersionSummary:
    """A version, registered as many hours after ``AT`` as its number says; an archived run without one."""
    values: dict[str, Any] = {
        "use_case": "tiny",
        "version": version,
        "model_name": "line",
        "bundle_hash": f"{int(version):064x}" if version else None,
        "run_id": f"run{version}",
        "created_at": AT + timedelta(hours=int(version or 0)),
        "trained_as_of": AS_OF,
        "tags": {"trigger": "drift"},
        "metrics": {"roc_auc": 0.7, "log_loss": 0.5},
    }
    return VersionSummary(**{**values, **changes})


def make_estimate(value: float, half: float | None = 0.02) -> MetricEstimate:
    """A metric with an interval of twice the half, or none."""
    return MetricEstimate(
        value=value, low=None if half is None else value - half, high=None if half is None else value + half
    )


def make_card(manifest: BundleManifest, **changes: Any) -> ModelCard:
    """Card of a manifest's model: two segments, importance of every input."""
    features = _features(manifest)
    metrics = {name: make_estimate(value) for name, value in manifest.metrics.items()}
    segments = [SegmentMetrics(feature=None, level=None, n=1_000, n_positive=300, metrics=metrics)]
    segments += [
        SegmentMetrics(feature="channel", level=level, n=500, n_positive=150, metrics=metrics)
        for level in ("mail", "<shop>")
    ]
    days = timedelta(days=1)
    values: dict[str, Any] = {
        "use_case": manifest.use_case,
        "title": "Purchases",
        "description": "Will they buy?",
        "owner": "team:tests",
        "intended_use": "Tests",
        "limits": ("Little data",),
        "label": "is_buyer",
        "label_description": "Bought",
        "label_horizon_s": 86_400.0,
        "model_name": manifest.model_name,
        "model_description": "",
        "parameters": manifest.parameters,
        "seed": manifest.seed,
        "threshold": manifest.threshold,
        "calibration": Calibration(slope=1.0, intercept=0.0),
        "trained_as_of": manifest.trained_as_of,
        "parts": (
            PartSummary(name="fit", start=AS_OF - 30 * days, end=AS_OF - 10 * days, n=3_000, n_positive=900),
            PartSummary(name="evaluation", start=AS_OF - 6 * days, end=AS_OF - days, n=1_000, n_positive=300),
        ),
        "features": features,
        "segments": tuple(segments),
        "importances": tuple(
            FeatureImportance(feature=feature.name, log_loss_increase=make_estimate(0.1 / place, 0.01))
            for place, feature in enumerate(features, start=1)
        ),
        "quality": (
            Criterion(name="roc_auc", outcome=Outcome.PASS, value=0.7, limit=0.55, n=1_000, reason="well above"),
        ),
        "parity": manifest.parity,
        "fingerprints": manifest.fingerprints,
    }
    return ModelCard(**{**values, **changes})


def _features(manifest: BundleManifest) -> tuple[FeatureSummary, ...]:
    inputs = {column.name: column for column in manifest.inputs}
    return tuple(
        FeatureSummary(
            name=feature.name,
            description=feature.description,
            kind=feature.kind,
            unit=feature.unit,
            view=None,
            monotone=None,
            null_rate=0.02,
            imputed=getattr(inputs[feature.name], "imputed", None),
            n_levels=len(getattr(inputs[feature.name], "levels", ())) or None,
        )
        for feature in FEATURES
        if feature.name in inputs
    )


def make_frame_record(**changes: Any) -> FrameRecord:
    """Record of a frame made of ten days of events, the fifth of which is missing, and the definitions."""
    days = [date for n in range(10) if n != 4 for date in [f"2024-01-{n + 1:02}"]]
    partitions = [
        PartitionSnapshot(
            asset="tiny/events",
            partition=day,
            code_version="2",
            data_version="d",
            run_id="r",
            materialized_at=AT,
        )
        for day in days
    ]
    partitions.append(
        PartitionSnapshot(
            asset="tiny/feature_definitions",
            partition="",
            code_version=None,
            data_version=None,
            run_id=None,
            materialized_at=None,
        )
    )
    values: dict[str, Any] = {
        "use_case": "tiny",
        "fingerprint": "d",
        "as_of": AS_OF,
        "n_rows": 4_000,
        "n_requests": 4_100,
        "n_imported_labels": 0,
        "n_censored_labels": 3,
        "queries": "q",
        "partitions": tuple(partitions),
        "partitions_fingerprint": "p",
    }
    return FrameRecord(**{**values, **changes})


def make_details(version: str = "1", has_card: bool = True, **changes: Any) -> VersionDetails:
    """All of a version; further arguments change its manifest."""
    manifest = make_manifest(**{"inputs": INPUTS, **changes})
    return VersionDetails(
        summary=make_summary(version, model_name=manifest.model_name, metrics=manifest.metrics),
        manifest=manifest,
        card=make_card(manifest) if has_card else None,
        frame=make_frame_record(),
    )
