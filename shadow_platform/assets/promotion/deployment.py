"""What is deployed at first, and which versions shadow the champion.

Upstream: trained models. Downstream: gates, which judge what shadows; the running service and shadow worker.
"""

from collections.abc import Sequence

import dagster as dg

from shadow_platform.contracts.deployment import DeploymentManifest
from shadow_platform.contracts.errors import RegistryError
from shadow_platform.contracts.ports import RegisteredVersion
from shadow_platform.contracts.tables import GATE_DECISIONS
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.contracts.verdicts import Decision
from shadow_platform.domain.promotion import next_challenger
from shadow_platform.resources import PlatformResource


def build_deployment(use_case: UseCase) -> dg.AssetsDefinition:
    """The asset ``deployment``."""

    @dg.asset(
        key=[use_case.name, "deployment"],
        deps=[[use_case.name, "champion_model"], [use_case.name, "challenger_model"]],
        group_name="promotion",
        kinds={"mlflow"},
        owners=[use_case.owner],
        code_version="1",
        pool=f"{use_case.name}_deployment",
    )
    def deployment(context: dg.AssetExecutionContext, platform: PlatformResource) -> dg.MaterializeResult:
        """The first champion in service, and the newest untried version in the shadow beside those before.

        Never replaces a champion: that takes a gate decision. Repeating it changes nothing.
        """
        versions = platform.registry().versions(use_case.name)
        manifest = platform.manifest(use_case) or platform.deploy(
            use_case,
            "deploy_initial",
            version=platform.registry().alias(use_case.name, "champion") or _first_champion(use_case, versions),
            actor="bootstrap",
            reason=f"first deployment of {use_case.models[0].name}",
        )
        rollout = platform.rollout(use_case)
        rolling = None if rollout is None or rollout.state.is_end else rollout.version
        served = {row["to_version"] for row in platform.transitions(use_case) if row["alias"] == "champion"}
        challenger = next_challenger(versions, manifest, _rejected(platform, use_case), served, rolling)
        if challenger is not None:
            manifest = platform.deploy(
                use_case,
                "add_challenger",
                version=challenger.version,
                actor="bootstrap" if manifest.generation == 1 else "training",
                reason=f"newest version, {challenger.model_name}",
                patience=use_case.label.horizon + use_case.retrain.patience,
            )
        context.log.info("generation %d: champion %s", manifest.generation, manifest.champion.version)
        return dg.MaterializeResult(metadata=deployed(manifest))

    return deployment


def _first_champion(use_case: UseCase, versions: Sequence[RegisteredVersion]) -> str:
    family = use_case.models[0].name
    found = [version for version in versions if version.model_name == family]
    if not found:
        raise RegistryError(
            f"use case {use_case.name} has no registered {family} model; materialize champion_model first"
        )
    return found[-1].version


def _rejected(platform: PlatformResource, use_case: UseCase) -> set[str]:
    decisions = platform.lake().read_table(GATE_DECISIONS, use_case)
    return set(decisions.loc[decisions["decision"].eq(Decision.REJECT.value), "challenger_version"])


def deployed(manifest: DeploymentManifest) -> dict[str, str | int]:
    """What is deployed, as metadata."""
    return {
        "generation": manifest.generation,
        "champion": f"{manifest.champion.version} ({manifest.champion.model_name})",
        "challengers": ", ".join(f"{m.version} ({m.model_name})" for m in manifest.challengers) or "none",
        "previous": manifest.previous.version if manifest.previous else "none",
    }
