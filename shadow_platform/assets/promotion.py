"""Promotion stage: which model serves, changed only by compare-and-swap and with an audit row.

Upstream: trained models, gate decisions. Downstream: the running service and shadow worker, through the manifest.
"""

import json
from collections.abc import Sequence

import dagster as dg

from shadow_platform.contracts.deployment import DeploymentManifest
from shadow_platform.contracts.errors import RegistryError
from shadow_platform.contracts.ports import RegisteredVersion
from shadow_platform.contracts.tables import GATE_DECISIONS, MODEL_TRANSITIONS
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.contracts.verdicts import Decision, GateDecision
from shadow_platform.domain.promotion import Action, Plan, in_order, next_challenger, plan
from shadow_platform.resources import PlatformResource


class PromotionConfig(dg.Config):
    """Whether to act.

    Attributes:
        promote_challenger: false reports what would be done and does nothing.
        decision_id: decision to act on. Default: the latest on each challenger in the shadow.
    """

    promote_challenger: bool = True
    decision_id: str | None = None


def build_promotion_assets(use_case: UseCase) -> list[dg.AssetsDefinition]:
    """Assets of the promotion stage."""
    return [_deployment(use_case), _promotion(use_case), _model_transitions(use_case)]


def _deployment(use_case: UseCase) -> dg.AssetsDefinition:
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
        challenger = next_challenger(versions, manifest, _rejected(platform, use_case))
        if challenger is not None:
            manifest = platform.deploy(
                use_case,
                "add_challenger",
                version=challenger.version,
                actor="bootstrap" if manifest.generation == 1 else "training",
                reason=f"newest version, {challenger.model_name}",
            )
        context.log.info("generation %d: champion %s", manifest.generation, manifest.champion.version)
        return dg.MaterializeResult(metadata=_deployed(manifest))

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


def _deployed(manifest: DeploymentManifest) -> dict[str, str | int]:
    return {
        "generation": manifest.generation,
        "champion": f"{manifest.champion.version} ({manifest.champion.model_name})",
        "challengers": ", ".join(f"{m.version} ({m.model_name})" for m in manifest.challengers) or "none",
        "previous": manifest.previous.version if manifest.previous else "none",
    }


def _promotion(use_case: UseCase) -> dg.AssetsDefinition:
    @dg.asset(
        key=[use_case.name, "promotion"],
        deps=[[use_case.name, "gate_decision"]],
        group_name="promotion",
        kinds={"mlflow", "bentoml"},
        owners=[use_case.owner],
        code_version="1",
        pool=f"{use_case.name}_deployment",
    )
    def promotion(
        context: dg.AssetExecutionContext, config: PromotionConfig, platform: PlatformResource
    ) -> dg.MaterializeResult:
        """What followed from the latest decisions: a new champion and its Bento, an archived challenger, or nothing.

        The alias is swapped only if the champion is still the one the decision was made against; the running service
        follows the manifest by itself. Aliases that an emergency left behind are moved first.
        """
        if config.promote_challenger:
            platform.reconcile(use_case)
        metadata: dict[str, str | int] = {}
        for decision in _decisions(platform, use_case, config.decision_id):
            found = plan(decision, platform.manifest(use_case))
            context.log.info("challenger %s: %s, %s", found.version, found.action, found.reason)
            metadata[f"action_{found.version}"] = found.action.value
            metadata[f"reason_{found.version}"] = found.reason
            if config.promote_challenger:
                metadata.update(_act(platform, use_case, found, decision.decision_id))
        manifest = platform.manifest(use_case)
        return dg.MaterializeResult(metadata={**metadata, **(_deployed(manifest) if manifest else {})})

    return promotion


def _decisions(platform: PlatformResource, use_case: UseCase, decision_id: str | None) -> list[GateDecision]:
    """The decision asked for, or the latest on each challenger, the best promotion first."""
    rows = platform.lake().read_table(GATE_DECISIONS, use_case).sort_values("decided_at")
    if decision_id is not None:
        rows = rows[rows["decision_id"].eq(decision_id)]
        if rows.empty:
            raise dg.Failure(
                f"gate decision {decision_id!r} is unknown; materialize gate_decision", allow_retries=False
            )
    else:
        manifest = platform.manifest(use_case)
        shadowing = [model.version for model in manifest.challengers] if manifest else []
        rows = rows[rows["challenger_version"].isin(shadowing)].groupby("challenger_version").tail(1)
    found = [
        GateDecision(
            decision_id=row["decision_id"],
            use_case=row["use_case"],
            champion_version=row["champion_version"],
            challenger_version=row["challenger_version"],
            as_of=row["as_of"].to_pydatetime(),
            decision=Decision(row["decision"]),
            criteria=tuple(json.loads(row["criteria"])),
            reason=row["reason"],
            fingerprints=json.loads(row["fingerprints"]),
        )
        for row in rows.to_dict("records")
    ]
    return in_order(found)


def _act(platform: PlatformResource, use_case: UseCase, found: Plan, decision_id: str) -> dict[str, str]:
    if found.action is Action.PROMOTE:
        platform.deploy(
            use_case,
            "promote",
            version=found.version,
            expected_champion=found.expected_champion,
            actor="gate",
            reason=found.reason,
            evidence_id=decision_id,
            probation_s=platform.settings.slo_probation_seconds,
        )
        return {"bento": platform.build_bento(use_case)}
    if found.action is Action.ARCHIVE:
        platform.deploy(
            use_case,
            "remove_challenger",
            version=found.version,
            actor="gate",
            reason=f"rejected: {found.reason}",
            evidence_id=decision_id,
        )
    return {}


def _model_transitions(use_case: UseCase) -> dg.AssetsDefinition:
    @dg.asset(
        key=[use_case.name, "model_transitions"],
        deps=[[use_case.name, "deployment"], [use_case.name, "promotion"]],
        group_name="promotion",
        kinds={"parquet"},
        owners=[use_case.owner],
        code_version="1",
    )
    def model_transitions(platform: PlatformResource) -> dg.MaterializeResult:
        """Every change of an alias, from the audit log, by people and machines alike.

        Grain: one row a change. Key: transition_id. Not partitioned: the log is small and read whole.
        """
        columns = MODEL_TRANSITIONS.column_names
        rows = [{name: record[name] for name in columns} for record in platform.transitions(use_case)]
        platform.lake().append_rows(MODEL_TRANSITIONS, use_case, rows)
        return dg.MaterializeResult(metadata={"dagster/row_count": len(rows)})

    return model_transitions
