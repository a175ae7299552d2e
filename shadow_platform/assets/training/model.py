"""A trained model: searched for if asked, made, registered when it is good enough, accounted for either way.

Upstream: the training frame. Downstream: deployment (aliases are set there, never here), model tables.
"""

import time
from functools import partial
from typing import TYPE_CHECKING

import dagster as dg

from shadow_platform.assets.training.accounting import (
    Account,
    experiment_row,
    log_run,
    metadata_of,
    metric_rows,
    provenance_tags,
    version_row,
)
from shadow_platform.assets.training.asking import Asked, ModelConfig, Trigger, asked
from shadow_platform.assets.training.frame import frame_in_force
from shadow_platform.assets.training.making import Made, Recipe, make
from shadow_platform.assets.training.request import asked_of, note_what_holds
from shadow_platform.contracts.errors import FeatureStoreError
from shadow_platform.contracts.ports import RegisteredVersion
from shadow_platform.contracts.tables import MODEL_EXPERIMENTS, MODEL_METRICS, MODEL_VERSIONS
from shadow_platform.contracts.use_case import Parameter, Role, UseCase
from shadow_platform.contracts.verdicts import Outcome
from shadow_platform.domain import training
from shadow_platform.resources import PlatformResource

if TYPE_CHECKING:
    from shadow_platform.adapters.tracking import TrainingRun

PARITY_CHECK = "onnx_answers_as_scikit_learn_does"
QUALITY_CHECK = "the_model_keeps_the_limits_of_its_use_case"


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
        code_version="2",
        description=(
            f"A trained {role}: bundle, registered version and MLflow run.\n\n"
            "Grain: one model version. Key: version. Not partitioned: every training adds a version, and the same "
            "training gives the version it already has. A model that breaks a limit of its use case is archived: it "
            "stays in MLflow and in model_experiments with the reason, and becomes no version."
        ),
        check_specs=[
            dg.AssetCheckSpec(
                PARITY_CHECK,
                asset=key,
                blocking=True,
                description="99.99 % of the evaluation rows within 1e-5, none beyond 1e-3, no decision flipped.",
            ),
            dg.AssetCheckSpec(
                QUALITY_CHECK,
                asset=key,
                blocking=True,
                description="No limit of the quality policy, and no declared direction of a feature, is shown broken.",
            ),
        ],
    )
    def model(
        context: dg.AssetExecutionContext, config: ModelConfig, platform: PlatformResource
    ) -> dg.MaterializeResult:
        step = _Training(context, platform, use_case, role, config, asked(use_case, default, config))
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
        role: Role,
        config: ModelConfig,
        wanted: Asked,
    ) -> None:
        self.log, self.platform, self.use_case, self.role = context.log, platform, use_case, role
        self.config, self.spec, self.wanted = config, wanted.spec, wanted
        self.seed = use_case.training.seed if config.seed is None else config.seed
        usual = Trigger.manual if platform.manifest(use_case) else Trigger.bootstrap
        self.trigger = (config.trigger or usual).value
        self.frame = frame_in_force(context, use_case)
        self.tags_asked, self.note_what_holds = asked_of(context), partial(note_what_holds, context)

    def materialize(self, run: "TrainingRun") -> dg.MaterializeResult:
        """Make the model; register it if nothing speaks against it; account for it either way."""
        began = time.perf_counter()
        recipe = Recipe(self.spec, self.frame.fingerprint, self.frame.as_of, self.seed, self._parameters(run))
        made = make(self.platform, self.use_case, recipe)
        training_s = time.perf_counter() - began
        tags = {
            "role": self.role,
            "trigger": self.trigger,
            **self.tags_asked,
            **provenance_tags(made, self.frame.partitions_fingerprint, self.platform.code_state()),
        }
        not_kept = log_run(self.platform, run, made, tags)
        if not_kept:
            self.log.warning(not_kept)
        registered = self._registered(run, made, tags)
        account = Account(made, run.run_id, self.role, self.trigger, self.platform.now(), training_s, registered)
        self._append_rows(account)
        card = self.platform.layout.bundles / registered.bundle_hash / "card.html" if registered else None
        return dg.MaterializeResult(metadata=metadata_of(self.use_case, account, card), check_results=_checks(made))

    def _parameters(self, run: "TrainingRun") -> dict[str, Parameter]:
        """Hyperparameters given, and those a search found if one was asked for."""
        given = self.wanted.parameters
        if not self.wanted.search:
            return given
        policy, frame = self.use_case.training, self.platform.lake().read_frame(self.use_case, self.frame.fingerprint)
        objective = training.Objective(
            frame,
            self.use_case.features,
            self.spec,
            policy,
            self.use_case.label.horizon,
            self.frame.as_of,
            self.seed,
            self.platform.bundles().encode,
            self.use_case.costs,
        )
        found = self.platform.search_parameters(
            lambda tried: objective({**tried, **given}),
            self.wanted.search,
            self.spec.hyperparameters,
            seed=self.seed,
            n_trials=self.config.search_trials,
            timeout_s=self.config.search_seconds or None,
            progress=self.log.info,
        )
        run.log_file("search.csv", found.trials.to_csv(index=False).encode())
        run.log_metrics({"search_log_loss": found.log_loss, "search_default_log_loss": found.default_log_loss})
        return {**found.parameters, **given}

    def _registered(self, run: "TrainingRun", made: Made, tags: dict[str, str]) -> RegisteredVersion | None:
        if made.archived_reason is not None:
            self.log.warning("archived, no version: %s", made.archived_reason)
            run.fail()
            return None
        _, folder = made.write(self.platform, self.use_case, self.platform.bundles())
        registered = self.platform.registry().register(self.use_case.name, folder, run.run_id, tags)
        self._register_features(registered)
        self.note_what_holds(registered)
        return registered

    def _register_features(self, version: RegisteredVersion) -> None:
        """Name the version's features in Feast. The model is not lost for want of that: nothing is answered by it."""
        tags = {"model": version.model_name, "bundle": version.bundle_hash, "run_id": version.run_id}
        try:
            self.platform.feature_store(self.use_case).register_service(version.version, tags)
        except FeatureStoreError as error:
            self.log.warning("version %s, to be materialized again: %s", version.version, error)

    def _append_rows(self, account: Account) -> None:
        lake = self.platform.lake()
        if account.registered:
            row = version_row(self.use_case, account.made, account.registered)
            lake.append_rows(MODEL_VERSIONS, self.use_case, [row])
        lake.append_rows(MODEL_METRICS, self.use_case, metric_rows(self.use_case, account))
        lake.append_rows(MODEL_EXPERIMENTS, self.use_case, [experiment_row(self.use_case, account)])


def _checks(made: Made) -> list[dg.AssetCheckResult]:
    parity, broken = made.manifest.parity, [c for c in made.card.quality if c.outcome is Outcome.FAIL]
    return [
        dg.AssetCheckResult(
            passed=parity.outcome is Outcome.PASS,
            check_name=PARITY_CHECK,
            metadata=parity.model_dump(mode="json"),
        ),
        dg.AssetCheckResult(
            passed=not broken,
            check_name=QUALITY_CHECK,
            description="; ".join(criterion.reason for criterion in broken) or "every limit is kept",
            metadata={criterion.name: criterion.reason for criterion in made.card.quality},
        ),
    ]
