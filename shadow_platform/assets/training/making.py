"""From a frame and a recipe to a bundle: fit, export, compare, judge. The same recipe gives the same bundle for ever.

Belongs here: what the model assets and ``shadow models reproduce`` must do alike. Does not belong here: registering
(``model``), reading events (``frame``). Upstream: the training frame. Downstream: ``model``, the command line.
"""

import inspect
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import version as package_version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from shadow_platform.contracts.bundle import BundleManifest
from shadow_platform.contracts.use_case import ModelSpec, Parameter, UseCase
from shadow_platform.contracts.verdicts import ParityReport
from shadow_platform.domain import training
from shadow_platform.resources import PlatformResource

if TYPE_CHECKING:
    from shadow_platform.adapters.bundle import BundleStore

REFERENCE_ROWS = 60_000
SELFTEST_ROWS = 20
ENVIRONMENT = ("scikit-learn", "numpy", "scipy", "skl2onnx", "onnxruntime")


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
    """A model that was made, before anyone decided whether it becomes a version."""

    recipe: Recipe
    frame: pd.DataFrame
    trained: training.Trained
    onnx_bytes: bytes
    manifest: BundleManifest
    pictures: Mapping[str, bytes]
    markdown: str

    def write(self, bundles: "BundleStore", use_case: UseCase) -> tuple[str, Path]:
        """Hash and folder of the bundle."""
        names, part = list(use_case.feature_names), self.trained.part
        rows = training.reference_rows(part, REFERENCE_ROWS, self.recipe.seed)
        reference = self.frame.iloc[rows][names].assign(
            score=self.trained.scores[rows], requested_at=self.frame["requested_at"].iloc[rows]
        )
        judged = self.frame.loc[part == training.EVALUATION, names]
        sample = judged.iloc[np.linspace(0, len(judged) - 1, SELFTEST_ROWS).astype(int)]
        selftest: list[dict[str, Any]] = [{str(k): v for k, v in row.items()} for row in sample.to_dict("records")]
        return bundles.write(self.manifest, self.onnx_bytes, reference, [*selftest, {}])


def make(platform: PlatformResource, use_case: UseCase, recipe: Recipe) -> Made:
    """Fit the recipe's family on its frame, export it and judge it."""
    frame = platform.lake().read_frame(use_case, recipe.frame)
    trained = training.train(
        frame,
        use_case.features,
        recipe.spec,
        use_case.training,
        use_case.label.horizon,
        use_case.answer.threshold,
        recipe.as_of,
        recipe.seed,
        platform.bundles().encode,
    )
    onnx_bytes = platform.export_onnx(trained.estimator, len(trained.inputs))
    answered = platform.bundles().score(onnx_bytes, trained.calibration, trained.matrix)
    parity = training.parity(trained.probabilities, answered, use_case.answer.threshold)
    pictures, markdown = platform.training_plots(
        f"{use_case.name}, {recipe.spec.name}",
        reliability=training.reliability(trained.labels, trained.probabilities),
        roc=training.roc(trained.labels, trained.probabilities),
        labels=trained.labels,
        probabilities=trained.probabilities,
    )
    return Made(
        recipe=recipe,
        frame=frame,
        trained=trained,
        onnx_bytes=onnx_bytes,
        manifest=_manifest(use_case, recipe, trained, parity),
        pictures=pictures,
        markdown=markdown,
    )


def _manifest(use_case: UseCase, recipe: Recipe, trained: training.Trained, parity: ParityReport) -> BundleManifest:
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
        fingerprints=_fingerprints(use_case, recipe.spec, recipe.seed, recipe.frame),
        seed=recipe.seed,
    )


def _fingerprints(use_case: UseCase, spec: ModelSpec, seed: int, data: str) -> dict[str, str]:
    views = {view.name: [view.sql, view.ttl, view.lookback] for view in use_case.views}
    declared = [[feature.name, feature.kind, feature.view] for feature in use_case.features]
    queries = [use_case.requests_sql, use_case.label.sql, use_case.label.horizon]
    environment = {name: package_version(name) for name in ENVIRONMENT}
    return {
        "data": data,
        "features": training.fingerprint({"views": views, "features": declared, "queries": queries}),
        "code": training.fingerprint({"build": _source(spec.build), "training": _source(training)}),
        "configuration": training.fingerprint({"policy": use_case.training, "model": spec.name, "seed": seed}),
        "environment": training.fingerprint({**environment, "python": sys.version_info[:3]}),
    }


def _source(value: Any) -> str:
    try:
        return inspect.getsource(value)
    except (OSError, TypeError):
        return repr(getattr(value, "__qualname__", type(value)))
