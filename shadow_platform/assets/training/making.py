"""From a frame and a recipe to a bundle: fit, export, compare, judge. The same recipe gives the same bundle for ever.

Belongs here: what the model assets and ``shadow models reproduce`` must do alike. Does not belong here: registering
(``model``), reading events (``frame``). Upstream: the training frame. Downstream: ``model``, the command line.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from shadow_platform.assets.training.judging import Judgement, judge, model_card
from shadow_platform.contracts.bundle import BundleManifest
from shadow_platform.contracts.model_card import ModelCard
from shadow_platform.contracts.use_case import ModelSpec, Parameter, UseCase
from shadow_platform.contracts.verdicts import ParityReport
from shadow_platform.domain import training
from shadow_platform.resources import PlatformResource

if TYPE_CHECKING:
    from shadow_platform.adapters.bundle import BundleStore

REFERENCE_ROWS = 60_000
SELFTEST_ROWS = 20


@dataclass(frozen=True, slots=True)
class Recipe:
    """What decides a bundle beside the use case and the code.

    Attributes:
        frame: fingerprint of the training frame.
        parameters: hyperparameters that differ from the family's own: those of a search, or of the version that is
            made again.
    """

    spec: ModelSpec
    frame: str
    as_of: datetime
    seed: int
    parameters: Mapping[str, Parameter] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Made:
    """A model that was made and judged, before anyone decided whether it becomes a version.

    Attributes:
        archived_reason: why it must not become one; ``None``: it may.
        pictures: PNG by name; ``markdown`` shows all of them.
    """

    recipe: Recipe
    frame: pd.DataFrame
    trained: training.Trained
    onnx_bytes: bytes
    manifest: BundleManifest
    card: ModelCard
    archived_reason: str | None
    pictures: Mapping[str, bytes]
    markdown: str

    def write(self, platform: PlatformResource, use_case: UseCase, bundles: "BundleStore") -> tuple[str, Path]:
        """Hash and folder of the bundle."""
        names, part = list(use_case.feature_names), self.trained.part
        rows = training.reference_rows(part, REFERENCE_ROWS, self.recipe.seed)
        reference = self.frame.iloc[rows][names].assign(
            score=self.trained.scores[rows], requested_at=self.frame["requested_at"].iloc[rows]
        )
        judged = self.frame.loc[part == training.EVALUATION, names]
        sample = judged.iloc[np.linspace(0, len(judged) - 1, SELFTEST_ROWS).astype(int)]
        selftest: list[dict[str, Any]] = [{str(k): v for k, v in row.items()} for row in sample.to_dict("records")]
        documents = platform.card_documents(self.card, self.pictures)
        return bundles.write(self.manifest, self.onnx_bytes, reference, [*selftest, {}], documents)


def make(platform: PlatformResource, use_case: UseCase, recipe: Recipe) -> Made:
    """Fit the recipe's family on its frame, export it and judge it."""
    with platform.one_blas_thread():
        return _make(platform, use_case, recipe)


def _make(platform: PlatformResource, use_case: UseCase, recipe: Recipe) -> Made:
    frame = platform.lake().read_frame(use_case, recipe.frame)
    trained = _trained(platform, use_case, recipe, frame)
    onnx_bytes = platform.export_onnx(trained.estimator, len(trained.inputs))
    score = partial(platform.bundles().score, onnx_bytes, trained.calibration)
    parity = training.parity(trained.probabilities, score(trained.matrix), use_case.answer.threshold)
    judgement = judge(use_case, frame, trained, score, recipe.seed)
    manifest = _manifest(platform, use_case, recipe, trained, parity)
    pictures, markdown = _pictures(platform, use_case, recipe, trained, judgement)
    return Made(
        recipe=recipe,
        frame=frame,
        trained=trained,
        onnx_bytes=onnx_bytes,
        manifest=manifest,
        card=model_card(use_case, recipe.spec, manifest, frame, trained, judgement),
        archived_reason=training.archived_reason(judgement.quality, parity),
        pictures=pictures,
        markdown=markdown,
    )


def _trained(platform: PlatformResource, use_case: UseCase, recipe: Recipe, frame: pd.DataFrame) -> training.Trained:
    return training.train(
        frame,
        use_case.features,
        recipe.spec,
        use_case.training,
        use_case.label.horizon,
        use_case.answer.threshold,
        recipe.as_of,
        recipe.seed,
        platform.bundles().encode,
        recipe.parameters,
        use_case.costs,
    )


def _pictures(
    platform: PlatformResource, use_case: UseCase, recipe: Recipe, trained: training.Trained, judgement: Judgement
) -> tuple[dict[str, bytes], str]:
    labels, probabilities = trained.labels, trained.probabilities
    return platform.pictures().training(
        f"{use_case.name}, {recipe.spec.name}",
        labels=labels,
        probabilities=probabilities,
        threshold=use_case.answer.threshold,
        reliability=training.reliability(labels, probabilities, use_case.training.confidence),
        roc=training.roc(labels, probabilities),
        precision_recall=training.precision_recall(labels, probabilities),
        gain=training.gain(labels, probabilities),
        segments=judgement.segments,
        importances=judgement.importances,
        confidence=use_case.training.confidence,
    )


def _manifest(
    platform: PlatformResource, use_case: UseCase, recipe: Recipe, trained: training.Trained, parity: ParityReport
) -> BundleManifest:
    return BundleManifest(
        use_case=use_case.name,
        model_name=recipe.spec.name,
        inputs=trained.inputs,
        calibration=trained.calibration,
        threshold=use_case.answer.threshold,
        trained_as_of=recipe.as_of,
        evaluation_start=trained.windows.evaluation.start,
        evaluation_end=trained.windows.evaluation.end,
        n_train=trained.n_fit,
        n_evaluation=len(trained.labels),
        metrics=trained.metrics,
        parity=parity,
        fingerprints=training.bundle_fingerprints(
            use_case,
            recipe.spec,
            trained.parameters,
            recipe.seed,
            recipe.as_of,
            data=recipe.frame,
            code=platform.code(training.SOURCES, recipe.spec.build, use_case.derivations),
            environment=platform.environment(trained.estimator),
        ),
        seed=recipe.seed,
        parameters=trained.parameters,
    )
