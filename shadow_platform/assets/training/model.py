"""A trained model: fitted, judged, exported, registered, accounted for.

Upstream: the training frame. Downstream: deployment (aliases are set there, never here), model tables.
"""

import json
import math
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import dagster as dg

from shadow_platform.assets.training.frame import frame_in_force
from shadow_platform.assets.training.making import Made, Recipe, make
from shadow_platform.contracts.ports import RegisteredVersion
from shadow_platform.contracts.tables import MODEL_EXPERIMENTS, MODEL_VERSIONS
from shadow_platform.contracts.use_case import ModelSpec, Role, UseCase
from shadow_platform.contracts.verdicts import Outcome
from shadow_platform.resources import PlatformResource

if TYPE_CHECKING:
    from shadow_platform.adapters.tracking import TrainingRun

PARITY_CHECK = "onnx_answers_as_scikit_learn_does"


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
        """Make the model; register it if its export answers alike; account for it either way."""
        started = time.perf_counter()
        recipe = Recipe(self.spec, self.fingerprint, self.as_of, self.seed)
        made = make(self.platform, self.use_case, recipe)
        seconds = time.perf_counter() - started
        self._log(run, made)
        registered = None
        if made.manifest.parity.outcome is Outcome.PASS:
            _, folder = made.write(self.platform.bundles(), self.use_case)
            tags = {"role": self.role, "trigger": self.trigger, "trained_as_of": self.as_of.isoformat()}
            registered = self.platform.registry().register(self.use_case.name, folder, run.run_id, tags)
        else:
            run.fail()
        self._account(run, made, registered, seconds)
        return self._result(run, made, registered)

    def _log(self, run: "TrainingRun", made: Made) -> None:
        manifest = made.manifest
        run.log_params(
            {
                "model": self.spec.name,
                "role": self.role,
                "trigger": self.trigger,
                "seed": self.seed,
                "trained_as_of": self.as_of.isoformat(),
                "n_train": manifest.n_train,
                "n_evaluation": manifest.n_evaluation,
                **_configuration(made.trained.estimator),
            }
        )
        run.log_metrics({**manifest.metrics, "parity_max_abs_diff": manifest.parity.max_abs_diff})
        run.set_tags({f"fingerprint.{name}": value for name, value in manifest.fingerprints.items()})
        for name, png in made.pictures.items():
            run.log_png(name, png)
        run.log_json("bundle.json", manifest.model_dump(mode="json"))
        run.log_model(made.trained.estimator)

    def _account(self, run: "TrainingRun", made: Made, registered: RegisteredVersion | None, seconds: float) -> None:
        manifest = made.manifest
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
            "frame_rows": len(made.frame),
            "training_s": seconds,
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

    def _result(self, run: "TrainingRun", made: Made, registered: RegisteredVersion | None) -> dg.MaterializeResult:
        manifest, parity = made.manifest, made.manifest.parity
        metadata: dict[str, Any] = {
            "model": self.spec.name,
            "version": registered.version if registered else "not registered: parity failed",
            "bundle_hash": registered.bundle_hash if registered else "",
            "mlflow_run_id": run.run_id,
            "trained_as_of": self.as_of.isoformat(),
            "trigger": self.trigger,
            "frame": self.fingerprint,
            **manifest.metrics,
            "plots": dg.MetadataValue.md(made.markdown),
        }
        check = dg.AssetCheckResult(
            passed=parity.outcome is Outcome.PASS,
            check_name=PARITY_CHECK,
            metadata=parity.model_dump(mode="json"),
        )
        return dg.MaterializeResult(metadata=metadata, check_results=[check])


def _configuration(estimator: Any) -> dict[str, Any]:
    """Plain hyperparameters of the estimator and its parts."""
    parameters = estimator.get_params() if hasattr(estimator, "get_params") else {}
    plain = {name: value for name, value in parameters.items() if isinstance(value, str | int | float | bool)}
    return {f"estimator.{name}": value for name, value in plain.items()}


def _json(value: dict[str, Any]) -> str:
    """JSON without NaN, which JSON does not know."""
    is_nan = {name: isinstance(item, float) and math.isnan(item) for name, item in value.items()}
    return json.dumps({name: None if is_nan[name] else item for name, item in value.items()})
