"""How good a model that was made is, for whom and why, and whether that is enough: the model card.

Belongs here: handing evaluation rows to the measurements of ``domain.training`` and writing down what they say. Does
not belong here: fitting and export (``making``), registering (``model``). Upstream: ``making``. Downstream: the bundle.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from shadow_platform.contracts.bundle import BundleManifest, NumericInput
from shadow_platform.contracts.model_card import (
    FeatureImportance,
    FeatureSummary,
    ModelCard,
    PartSummary,
    SegmentMetrics,
)
from shadow_platform.contracts.use_case import Feature, ModelSpec, UseCase
from shadow_platform.contracts.verdicts import Criterion
from shadow_platform.domain import fairness, training

Score = Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the evaluation rows say of a model.

    Attributes:
        segments: the first is all rows.
        quality: limits that a version must keep.
    """

    segments: tuple[SegmentMetrics, ...]
    importances: tuple[FeatureImportance, ...]
    quality: tuple[Criterion, ...]


def judge(use_case: UseCase, frame: pd.DataFrame, trained: training.Trained, score: Score, seed: int) -> Judgement:
    """Judgement of a trained model on its evaluation rows.

    Args:
        score: probabilities of encoded rows, as the exported model answers.
    """
    rows = frame[trained.part == training.EVALUATION]
    days = rows["requested_at"].dt.floor("D").to_numpy()
    groups = _groups(use_case, rows)
    segments = training.segment_metrics(
        trained.labels,
        trained.probabilities,
        use_case.answer.threshold,
        groups,
        list(groups.columns),
        days,
        use_case.training,
        seed,
    )
    quality = training.quality(segments[0], use_case.quality)
    directions = training.monotonicity(use_case.features, trained.matrix, score)
    return Judgement(
        segments=segments,
        importances=training.importances(
            score,
            trained.matrix,
            trained.labels,
            use_case.feature_names,
            days,
            seed,
            confidence=use_case.training.confidence,
        ),
        quality=(*quality, *directions),
    )


def _groups(use_case: UseCase, rows: pd.DataFrame) -> pd.DataFrame:
    """One column of levels for each segment that the gate guards and each attribute that fairness compares."""
    columns: dict[str, pd.Series] = {name: rows[name] for name in use_case.gate.segments}
    for attribute in use_case.fairness.attributes if use_case.fairness else ():
        columns[attribute.name] = fairness.groups_of(rows[attribute.feature], attribute.edges)
    return pd.DataFrame(columns, index=rows.index)


def model_card(
    use_case: UseCase,
    spec: ModelSpec,
    manifest: BundleManifest,
    frame: pd.DataFrame,
    trained: training.Trained,
    judgement: Judgement,
) -> ModelCard:
    """The card of a judged model."""
    return ModelCard(
        use_case=use_case.name,
        title=use_case.title,
        description=use_case.description,
        owner=use_case.owner,
        intended_use=use_case.intended_use,
        limits=(*use_case.limits, *_hidden_labels(frame, trained)),
        label=use_case.label.name,
        label_description=use_case.label.description,
        label_horizon_s=use_case.label.horizon.total_seconds(),
        model_name=manifest.model_name,
        model_description=spec.description,
        parameters=manifest.parameters,
        seed=manifest.seed,
        threshold=manifest.threshold,
        costs=use_case.costs,
        calibration=manifest.calibration,
        trained_as_of=manifest.trained_as_of,
        parts=_parts(frame, trained),
        features=_features(use_case, manifest, frame[trained.part == training.FIT]),
        segments=judgement.segments,
        importances=judgement.importances,
        quality=judgement.quality,
        parity=manifest.parity,
        fingerprints=manifest.fingerprints,
    )


def _hidden_labels(frame: pd.DataFrame, trained: training.Trained) -> tuple[str, ...]:
    window = trained.windows.evaluation
    is_hidden = (trained.part == training.HIDDEN) & window.holds(frame["requested_at"])
    n_hidden, n = int(is_hidden.sum()), int(is_hidden.sum()) + len(trained.labels)
    if not n_hidden:
        return ()
    return (
        f"{n_hidden:,} of the {n:,} requests of the evaluation window have no label, because a decision hid their "
        "outcome; every metric here describes the others, and the fitted model learned from such others alone",
    )


def _parts(frame: pd.DataFrame, trained: training.Trained) -> tuple[PartSummary, ...]:
    windows: Mapping[str, training.Window] = {
        training.FIT: trained.windows.fit,
        training.CALIBRATION: trained.windows.calibration,
        training.EVALUATION: trained.windows.evaluation,
    }
    labels = frame["label"].fillna(False).to_numpy(dtype=bool)
    return tuple(
        PartSummary(
            name=name,
            start=window.start,
            end=window.end,
            n=int((trained.part == name).sum()),
            n_positive=int(labels[trained.part == name].sum()),
        )
        for name, window in windows.items()
    )


def _features(use_case: UseCase, manifest: BundleManifest, fit: pd.DataFrame) -> tuple[FeatureSummary, ...]:
    learned = {column.name: column for column in manifest.inputs}

    def summary(feature: Feature) -> FeatureSummary:
        column = learned[feature.name]
        return FeatureSummary(
            name=feature.name,
            description=feature.description,
            kind=feature.kind,
            unit=feature.unit,
            view=feature.view,
            derivation=feature.derivation,
            monotone=feature.monotone,
            null_rate=float(fit[feature.name].isna().mean()),
            imputed=column.imputed if isinstance(column, NumericInput) else None,
            n_levels=None if isinstance(column, NumericInput) else len(column.levels),
        )

    return tuple(summary(feature) for feature in use_case.features)
