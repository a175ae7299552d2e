"""A trained model: fitted, judged, exported, registered, accounted for.

Upstream: the training frame. Downstream: deployment (aliases are set there, never here), model tables.
"""

import inspect
import json
import math
import sys
import time
from datetime import UTC, datetime
from importlib.metadata import version as package_version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import numpy as np
import pandas as pd

from shadow_platform.assets.training.frame import frame_in_force
from shadow_platform.contracts.bundle import BundleManifest
from shadow_platform.contracts.ports import RegisteredVersion
from shadow_platform.contracts.tables import MODEL_EXPERIMENTS, MODEL_VERSIONS
from shadow_platform.contracts.use_case import ModelSpec, Role, UseCase
from shadow_platform.contracts.verdicts import Outcome, ParityReport
from shadow_platform.domain import training
from shadow_platform.resources import PlatformResource

if TYPE_CHECKING:
    from shadow_platform.adapters.tracking import TrainingRun

PARITY_CHECK = "onnx_answers_as_scikit_learn_does"
REFERENCE_ROWS = 60_000
SELFTEST_ROWS = 20
ENVIRONMENT = ("scikit-learn", "numpy", "scipy", "skl2onnx", "onnxruntime")


class ModelConfig(dg.Config):
    """Which model, and why now.

    Attributes:
        model: name of one of the use case's models. Default: the first for the champion, the second for a challenger.
        trigger: bootstrap, drift, performance, schedule or manual. Default: bootstrap before the first deployment,
            manual afterwards.
        seed: of the model. Default: the training policy's.
    """

    model: str | None = None
    trigger: str | None = None
    seed: int | None = None


def build_model(use_case: UseCase, role: Role) -> dg.AssetsDefinition:
    """Asset of the champion or of the challenger."""
    key = dg.AssetKey([use_case.name, f"{role}_model"])
    default = use_case.models[min(("champion", "challenger").index(role), len(use_case.models) - 1)]

    @dg.asset(
        key=key,
        deps=[[use_case.name, "training_frame"]],
        group_name="training",
        kinds={"scikitlearn", "onnx", "mlflow"},
        owners=[use_case.owner],
        code_version="1",
        description=(
            f"A trained {role}: bundle, registered version and MLflow run.\n\n"
            "Grain: one model version. Key: version. Not partitioned: every training adds a version, and the same "
            "training gives the version it already has."
        ),
        check_specs=[
            dg.AssetCheckSpec(
                PARITY_CHECK,
                asset=key,
                blocking=True,
                description="99.99 % of the evaluation rows within 1e-5, none beyond 1e-3, no decision flipped.",
            )
        ],
    )
    def model(
        context: dg.AssetExecutionContext, config: ModelConfig, platform: PlatformResource
    ) -> dg.MaterializeResult:
        spec = use_case.model(config.model) if config.model else default
        step = _Training(context, platform, use_case, spec, role, config)
        with platform.training_run(context, use_case, {"role": role, "trigger": step.trigger}) as run:
            return step.materialize(run)

    return model


class _Training:
    """One training step: what its parts share."""

    def __init__(
        self,
        context: dg.AssetExecutionContext,
        platform: PlatformResource,
        use_case: UseCase,
        spec: ModelSpec,
        role: Role,
        config: ModelConfig,
    ) -> None:
        self.platform, self.use_case, self.spec, self.role = platform, use_case, spec, role
        self.seed = use_case.training.seed if config.seed is None else config.seed
        self.trigger = config.trigger or ("manual" if platform.manifest(use_case) else "bootstrap")
        self.fingerprint, self.as_of = frame_in_force(context, use_case)

    def materialize(self, run: "TrainingRun") -> dg.MaterializeResult:
        self.started = time.perf_counter()
        frame = self.platform.lake().read_frame(self.use_case, self.fingerprint)
        self.frame_rows = len(frame)
        trained = training.train(
            frame,
            self.use_case.features,
            self.spec,
            self.use_case.training,
            self.use_case.label.horizon,
            self.use_case.answer.threshold,
            self.as_of,
            self.seed,
            self.platform.bundles().encode,
        )
        onnx_bytes = self.platform.export_onnx(trained.estimator, len(trained.inputs))
        answered = self.platform.bundles().score(onnx_bytes, trained.calibration, trained.matrix)
        parity = training.parity(trained.probabilities, answered, self.use_case.answer.threshold)
        manifest = self._manifest(trained, parity)
        pictures, markdown = self._plots(trained)
        self._log(run, trained, manifest, pictures)
        registered = None
        if parity.outcome is Outcome.PASS:
            folder = self._write_bundle(manifest, onnx_bytes, frame, trained)
            tags = {"role": self.role, "trigger": self.trigger, "trained_as_of": self.as_of.isoformat()}
            registered = self.platform.registry().register(self.use_case.name, folder, run.run_id, tags)
        else:
            run.fail()
        self._account(run, manifest, registered)
        return self._result(run, manifest, registered, markdown)

    def _manifest(self, trained: training.Trained, parity: ParityReport) -> BundleManifest:
        return BundleManifest(
            use_case=self.use_case.name,
            model_name=self.spec.name,
            inputs=trained.inputs,
            calibration=trained.calibration,
            threshold=self.use_case.answer.threshold,
            trained_as_of=self.as_of,
            evaluation_start=trained.windows.evaluation.start,
            evaluation_end=trained.windows.evaluation.end,
            n_train=trained.n_fit,
            n_evaluation=len(trained.labels),
            metrics=trained.metrics,
            parity=parity,
            fingerprints=_fingerprints(self.use_case, self.spec, self.seed, self.fingerprint),
            seed=self.seed,
        )

    def _write_bundle(
        self, manifest: BundleManifest, onnx_bytes: bytes, frame: pd.DataFrame, trained: training.Trained
    ) -> Path:
        names = list(self.use_case.feature_names)
        rows = training.reference_rows(trained.part, REFERENCE_ROWS, self.seed)
        reference = frame.iloc[rows][names].assign(
            score=trained.scores[rows], requested_at=frame["requested_at"].iloc[rows]
        )
        judged = frame.loc[trained.part == training.EVALUATION, names]
        sample = judged.iloc[np.linspace(0, len(judged) - 1, SELFTEST_ROWS).astype(int)]
        selftest: list[dict[str, Any]] = [{str(k): v for k, v in row.items()} for row in sample.to_dict("records")]
        _, folder = self.platform.bundles().write(manifest, onnx_bytes, reference, [*selftest, {}])
        return folder

    def _plots(self, trained: training.Trained) -> tuple[dict[str, bytes], str]:
        labels, probabilities = trained.labels, trained.probabilities
        return self.platform.training_plots(
            f"{self.use_case.name}, {self.spec.name}",
            reliability=training.reliability(labels, probabilities),
            roc=training.roc(labels, probabilities),
            labels=labels,
            probabilities=probabilities,
        )

    def _log(
        self, run: "TrainingRun", trained: training.Trained, manifest: BundleManifest, pictures: dict[str, bytes]
    ) -> None:
        run.log_params(
            {
                "model": self.spec.name,
                "role": self.role,
                "trigger": self.trigger,
                "seed": self.seed,
                "trained_as_of": self.as_of.isoformat(),
                "n_train": manifest.n_train,
                "n_evaluation": manifest.n_evaluation,
                **_configuration(trained.estimator),
            }
        )
        run.log_metrics({**manifest.metrics, "parity_max_abs_diff": manifest.parity.max_abs_diff})
        run.set_tags({f"fingerprint.{name}": value for name, value in manifest.fingerprints.items()})
        for name, png in pictures.items():
            run.log_png(name, png)
        run.log_json("bundle.json", manifest.model_dump(mode="json"))
        run.log_model(trained.estimator)

    def _account(self, run: "TrainingRun", manifest: BundleManifest, registered: RegisteredVersion | None) -> None:
        lake, metrics = self.platform.lake(), _json(manifest.metrics)
        experiment = {
            "use_case": self.use_case.name,
            "run_id": run.run_id,
            "model_name": self.spec.name,
            "trained_at": datetime.now(UTC),
            "trained_as_of": self.as_of,
            "is_registered": registered is not None,
            "version": registered.version if registered else None,
            "archived_reason": None if registered else "ONNX model does not answer as the fitted one does",
            "trigger": self.trigger,
            "metrics": metrics,
            "parameters": _json(dict(manifest.parameters)),
            "fingerprints": _json(manifest.fingerprints),
            "frame_rows": self.frame_rows,
            "training_s": time.perf_counter() - self.started,
        }
        lake.append_rows(MODEL_EXPERIMENTS, self.use_case, [experiment])
        if registered:
            version = {
                "use_case": self.use_case.name,
                "version": registered.version,
                "model_name": registered.model_name,
                "bundle_hash": registered.bundle_hash,
                "run_id": registered.run_id,
                "created_at": registered.created_at,
                "trained_as_of": self.as_of,
                "metrics": metrics,
                "parameters": _json(dict(manifest.parameters)),
                "fingerprints": _json(manifest.fingerprints),
            }
            lake.append_rows(MODEL_VERSIONS, self.use_case, [version])

    def _result(
        self, run: "TrainingRun", manifest: BundleManifest, registered: RegisteredVersion | None, markdown: str
    ) -> dg.MaterializeResult:
        parity = manifest.parity
        metadata: dict[str, Any] = {
            "model": self.spec.name,
            "version": registered.version if registered else "not registered: parity failed",
            "bundle_hash": registered.bundle_hash if registered else "",
            "mlflow_run_id": run.run_id,
            "trained_as_of": self.as_of.isoformat(),
            "trigger": self.trigger,
            "frame": self.fingerprint,
            **manifest.metrics,
            "plots": dg.MetadataValue.md(markdown),
        }
        check = dg.AssetCheckResult(
            passed=parity.outcome is Outcome.PASS,
            check_name=PARITY_CHECK,
            metadata=parity.model_dump(mode="json"),
        )
        return dg.MaterializeResult(metadata=metadata, check_results=[check])


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


def _configuration(estimator: Any) -> dict[str, Any]:
    """Plain hyperparameters of the estimator and its parts."""
    parameters = estimator.get_params() if hasattr(estimator, "get_params") else {}
    plain = {name: value for name, value in parameters.items() if isinstance(value, str | int | float | bool)}
    return {f"estimator.{name}": value for name, value in plain.items()}


def _json(value: dict[str, Any]) -> str:
    """JSON without NaN, which JSON does not know."""
    is_nan = {name: isinstance(item, float) and math.isnan(item) for name, item in value.items()}
    return json.dumps({name: None if is_nan[name] else item for name, item in value.items()})
