"""Two versions side by side: what differs, which is better, and how far to believe that.

Belongs here: the differences and what they are worth. Does not belong here: which one to promote: the gate decides that
on requests that both have scored (``domain.gates``). Upstream: bundles, cards, frame records. Downstream:
``shadow models compare``.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TypeVar

from shadow_platform.contracts.bundle import BundleManifest, CategoricalInput, NumericInput
from shadow_platform.contracts.model_card import FeatureImportance, MetricEstimate, ModelCard, SegmentMetrics
from shadow_platform.contracts.version_words import moment
from shadow_platform.contracts.versions import (
    FeatureComparison,
    FeatureStatus,
    ImportanceComparison,
    MetricComparison,
    Pair,
    Scalar,
    SegmentComparison,
    VersionComparison,
    VersionDetails,
)

HIGHER_IS_BETTER = frozenset({"roc_auc", "average_precision", "log_loss_gain", "f1", "accuracy", "precision", "recall"})
LOWER_IS_BETTER = frozenset({"log_loss", "brier", "calibration_error"})
DECLARED = ("kind", "view", "unit", "monotone")
LEARNED = ("imputed", "levels")

SAME_ROWS = (
    "both were evaluated on the same rows: their errors move together, so overlapping intervals do not prove them equal"
)
UNKNOWN_ROWS = (
    "whether both were evaluated on the same rows is not known, because a bundle does not say which frame it was "
    "trained on: a difference may come from the rows and not from the model"
)
OTHER_ROWS = (
    "they were evaluated on different rows: a difference may come from the days and not from the model; the gate "
    "compares versions on requests that both have scored"
)

Key = TypeVar("Key")
Estimates = Mapping[str, MetricEstimate]


def compare(a: VersionDetails, b: VersionDetails) -> VersionComparison:
    """What differs between two versions of one use case."""
    return VersionComparison(
        a=a.summary,
        b=b.summary,
        notes=tuple(_notes(a, b)),
        metrics=compare_metrics(_overall(a), _overall(b)),
        segments=tuple(_segments(a.card, b.card)),
        features=tuple(_features(a, b)),
        settings=_pairs(_settings(a), _settings(b)),
        parameters=tuple(
            sorted(
                _pairs(a.manifest.parameters, b.manifest.parameters), key=lambda pair: (pair.is_same is True, pair.name)
            )
        ),
        data=_recorded(_data(a), _data(b)),
        fingerprints=_recorded(a.manifest.fingerprints, b.manifest.fingerprints),
        importances=tuple(_importances(a.card, b.card)),
    )


def compare_metrics(a: Estimates, b: Estimates) -> tuple[MetricComparison, ...]:
    """Every metric of either side, in the order in which they come."""
    return tuple(_metric(name, a.get(name), b.get(name)) for name in _union(a, b))


def _metric(name: str, a: MetricEstimate | None, b: MetricEstimate | None) -> MetricComparison:
    difference = None if a is None or b is None or not math.isfinite(b.value - a.value) else b.value - a.value
    direction = 1 if name in HIGHER_IS_BETTER else -1 if name in LOWER_IS_BETTER else 0
    gain = direction * (difference or 0.0)
    return MetricComparison(
        name=name,
        a=a,
        b=b,
        difference=difference,
        better="b" if gain > 0 else "a" if gain < 0 else None,
        has_overlap=_have_overlap(a, b),
    )


def _have_overlap(a: MetricEstimate | None, b: MetricEstimate | None) -> bool | None:
    if a is None or b is None or a.low is None or a.high is None or b.low is None or b.high is None:
        return None
    return a.low <= b.high and b.low <= a.high


def _overall(details: VersionDetails) -> Estimates:
    """Metrics on all evaluation rows; without a card they have no interval."""
    for segment in details.card.segments if details.card else ():
        if segment.feature is None:
            return segment.metrics
    return {name: MetricEstimate(value=value, low=None, high=None) for name, value in details.manifest.metrics.items()}


def _notes(a: VersionDetails, b: VersionDetails) -> Iterable[str]:
    if a.summary.version == b.summary.version:
        yield f"both are version {a.summary.version}"
        return
    yield _note_on_rows(a.manifest, b.manifest)
    without_card = " and ".join(str(details.summary.version) for details in (a, b) if details.card is None)
    if without_card:
        yield (
            f"no model card in the bundle of version {without_card}, which is older than cards: intervals, segments, "
            "importances and units are not known; train again to have them"
        )
    without_record = " and ".join(str(details.summary.version) for details in (a, b) if details.frame is None)
    if without_record:
        yield f"no record of the partitions in the training frame of version {without_record}"


def _note_on_rows(a: BundleManifest, b: BundleManifest) -> str:
    if (a.evaluation_start, a.evaluation_end) != (b.evaluation_start, b.evaluation_end):
        return OTHER_ROWS
    (frame,) = _recorded({"data": a.fingerprints.get("data")}, {"data": b.fingerprints.get("data")})
    return {True: SAME_ROWS, False: OTHER_ROWS, None: UNKNOWN_ROWS}[frame.is_same]


def _segments(a: ModelCard | None, b: ModelCard | None) -> Iterable[SegmentComparison]:
    ours, theirs = _by_group(a), _by_group(b)
    for feature, level in _union(ours, theirs):
        one, other = ours.get((feature, level)), theirs.get((feature, level))
        yield SegmentComparison(
            feature=feature,
            level=level,
            n_a=one.n if one else None,
            n_b=other.n if other else None,
            metrics=compare_metrics(one.metrics if one else {}, other.metrics if other else {}),
        )


def _by_group(card: ModelCard | None) -> dict[tuple[str, str], SegmentMetrics]:
    segments = card.segments if card else ()
    return {(s.feature, s.level): s for s in segments if s.feature is not None and s.level is not None}


def _features(a: VersionDetails, b: VersionDetails) -> Iterable[FeatureComparison]:
    ours, theirs = _inputs(a), _inputs(b)
    for name in _union(ours, theirs):
        if name not in ours or name not in theirs:
            yield FeatureComparison(name=name, status="added" if name in theirs else "removed")
            continue
        # What only one side knows (its card) has not changed.
        known = [fact for fact in (*DECLARED, *LEARNED) if fact in ours[name] and fact in theirs[name]]
        pairs = _pairs({fact: ours[name][fact] for fact in known}, {fact: theirs[name][fact] for fact in known})
        changes = tuple(pair for pair in pairs if not pair.is_same)
        yield FeatureComparison(name=name, status=_status(changes), changes=changes)


def _status(changes: Sequence[Pair]) -> FeatureStatus:
    if any(change.name in DECLARED for change in changes):
        return "changed"
    return "refitted" if changes else "same"


def _inputs(details: VersionDetails) -> dict[str, dict[str, Scalar]]:
    """Facts about every input: what was learned from the manifest, the declaration from the card."""
    facts = {column.name: _learned(column) for column in details.manifest.inputs}
    for feature in details.card.features if details.card else ():
        if feature.name in facts:
            facts[feature.name].update(
                view=feature.view or feature.derivation, unit=feature.unit, monotone=feature.monotone
            )
    return facts


def _learned(column: NumericInput | CategoricalInput) -> dict[str, Scalar]:
    if isinstance(column, NumericInput):
        return {"kind": "numeric", "imputed": column.imputed}
    return {"kind": "categorical", "levels": ", ".join(column.levels)}


def _settings(details: VersionDetails) -> dict[str, Scalar]:
    manifest = details.manifest
    return {
        "model": manifest.model_name,
        "threshold": manifest.threshold,
        "seed": manifest.seed,
        "calibration slope": manifest.calibration.slope,
        "calibration intercept": manifest.calibration.intercept,
    }


def _data(details: VersionDetails) -> dict[str, Scalar]:
    manifest, frame = details.manifest, details.frame
    facts: dict[str, Scalar] = {
        "frame": manifest.fingerprints.get("data"),
        "trained as of": moment(manifest.trained_as_of),
        **_windows(details),
    }
    if frame is not None:
        facts |= {
            "frame rows": frame.n_rows,
            "requests": frame.n_requests,
            "imported labels": frame.n_imported_labels,
            "censored labels": frame.n_censored_labels,
            "queries": frame.queries,
            "partitions": frame.partitions_fingerprint,
        }
    return facts


def _windows(details: VersionDetails) -> dict[str, Scalar]:
    manifest, card = details.manifest, details.card
    if card is None:
        return {
            "fit rows": manifest.n_train,
            "evaluation window": _window(manifest.evaluation_start, manifest.evaluation_end),
            "evaluation rows": manifest.n_evaluation,
            "evaluation base rate": manifest.metrics.get("base_rate"),
        }
    facts: dict[str, Scalar] = {}
    for part in card.parts:
        facts[f"{part.name} window"] = _window(part.start, part.end)
        facts[f"{part.name} rows"] = part.n
        facts[f"{part.name} base rate"] = part.n_positive / part.n if part.n else None
    return facts


def _window(start: datetime, end: datetime) -> str:
    return f"{moment(start)} to {moment(end)}"


def _importances(a: ModelCard | None, b: ModelCard | None) -> list[ImportanceComparison]:
    """Every feature of either card, the one that matters most to either first."""
    ours, theirs = _ranked(a), _ranked(b)
    found = []
    for feature in _union(ours, theirs):
        rank_a, one = ours.get(feature, (None, None))
        rank_b, other = theirs.get(feature, (None, None))
        found.append(ImportanceComparison(feature=feature, a=one, b=other, rank_a=rank_a, rank_b=rank_b))
    return sorted(found, key=lambda pair: min(rank for rank in (pair.rank_a, pair.rank_b) if rank is not None))


def _ranked(card: ModelCard | None) -> dict[str, tuple[int, MetricEstimate]]:
    importances: Sequence[FeatureImportance] = card.importances if card else ()
    largest_first = sorted(importances, key=lambda importance: -importance.log_loss_increase.value)
    return {found.feature: (rank, found.log_loss_increase) for rank, found in enumerate(largest_first, start=1)}


def _pairs(a: Mapping[str, Scalar], b: Mapping[str, Scalar]) -> tuple[Pair, ...]:
    """What was chosen for each: a version that lacks one was made without it."""
    return tuple(
        Pair(name=name, a=a.get(name), b=b.get(name), is_same=a.get(name) == b.get(name)) for name in _union(a, b)
    )


def _recorded(a: Mapping[str, Scalar], b: Mapping[str, Scalar]) -> tuple[Pair, ...]:
    """What was recorded of each: what one of them lacks may be the same or not."""
    return tuple(
        pair if pair.a is not None and pair.b is not None else pair.model_copy(update={"is_same": None})
        for pair in _pairs(a, b)
    )


def _union(a: Iterable[Key], b: Iterable[Key]) -> list[Key]:
    """Keys of both, those of ``a`` first, each once."""
    return list(dict.fromkeys([*a, *b]))
