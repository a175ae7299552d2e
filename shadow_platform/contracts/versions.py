"""Trained models as people look at them: one of many, one closely, two side by side, one with its whole descent.

Belongs here: the values that commands print and pages show. Does not belong here: how they are found or computed.
Upstream: registry, bundles, tables. Downstream: ``domain.versions`` makes them; command line and
``adapters.pages`` show them.
"""

from datetime import datetime
from typing import Literal

from shadow_platform.contracts.bundle import BundleManifest
from shadow_platform.contracts.lineage import FrameRecord
from shadow_platform.contracts.model_card import MetricEstimate, ModelCard
from shadow_platform.contracts.verdicts import Frozen

Scalar = bool | int | float | str | None
Side = Literal["a", "b"]
FeatureStatus = Literal["added", "removed", "changed", "refitted", "same"]


class VersionSummary(Frozen):
    """One trained model: a version of the registry, or a run that did not become one.

    Attributes:
        version: registry version; ``None`` for an archived run.
        created_at: time of registration, or of the training of an archived run.
        archived_reason: why a run did not become a version.
    """

    use_case: str
    version: str | None
    model_name: str
    bundle_hash: str | None
    run_id: str
    created_at: datetime
    trained_as_of: datetime | None
    aliases: tuple[str, ...] = ()
    tags: dict[str, str] = {}
    metrics: dict[str, float] = {}
    archived_reason: str | None = None


class VersionDetails(Frozen):
    """All that is kept of one version.

    Attributes:
        card: ``None`` in a bundle that is older than model cards.
        frame: ``None`` when the training frame has no record.
    """

    summary: VersionSummary
    manifest: BundleManifest
    card: ModelCard | None
    frame: FrameRecord | None


class RunRecord(Frozen):
    """What MLflow says of the run that trained a model."""

    run_id: str
    status: str
    started_at: datetime | None
    ended_at: datetime | None
    tags: dict[str, str]


class ServiceRecord(Frozen):
    """What one version answered as champion or as canary."""

    variant: str
    n_predictions: int
    n_days: int
    first_at: datetime
    last_at: datetime


class Pair(Frozen):
    """One fact about both versions; ``None`` where a version has no such fact.

    Attributes:
        is_same: whether both are equal; ``None`` when that is not known, because it is not recorded of one of them.
    """

    name: str
    a: Scalar
    b: Scalar
    is_same: bool | None


class MetricComparison(Frozen):
    """One metric of both versions.

    Attributes:
        difference: ``b`` minus ``a``.
        better: by the value alone; ``None`` when they are equal, one is missing, or the metric judges nothing.
        has_overlap: whether the intervals overlap, so that the difference proves nothing; ``None`` without intervals.
    """

    name: str
    a: MetricEstimate | None
    b: MetricEstimate | None
    difference: float | None
    better: Side | None
    has_overlap: bool | None


class SegmentComparison(Frozen):
    """Metrics of one group of evaluation rows under both versions; ``n`` is ``None`` where the group is unknown."""

    feature: str
    level: str
    n_a: int | None
    n_b: int | None
    metrics: tuple[MetricComparison, ...]


class FeatureComparison(Frozen):
    """One input of either version.

    Attributes:
        status: ``changed`` when its declaration differs, ``refitted`` when only what was learned from data does.
        changes: the facts that differ.
    """

    name: str
    status: FeatureStatus
    changes: tuple[Pair, ...] = ()


class ImportanceComparison(Frozen):
    """Log loss lost by shuffling one feature, under both versions, with its rank from 1."""

    feature: str
    a: MetricEstimate | None
    b: MetricEstimate | None
    rank_a: int | None
    rank_b: int | None


class VersionComparison(Frozen):
    """Two versions side by side.

    Attributes:
        notes: what to know before believing a difference.
        parameters: those that differ first.
    """

    a: VersionSummary
    b: VersionSummary
    notes: tuple[str, ...]
    metrics: tuple[MetricComparison, ...]
    segments: tuple[SegmentComparison, ...]
    features: tuple[FeatureComparison, ...]
    settings: tuple[Pair, ...]
    parameters: tuple[Pair, ...]
    data: tuple[Pair, ...]
    fingerprints: tuple[Pair, ...]
    importances: tuple[ImportanceComparison, ...]


class LineageNode(Frozen):
    """One thing a version comes from or led to, with what is known of it and what lies behind it."""

    kind: str
    name: str
    facts: dict[str, Scalar] = {}
    children: tuple["LineageNode", ...] = ()
